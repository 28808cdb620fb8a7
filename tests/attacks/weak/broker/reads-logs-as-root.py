"""Root itself reads the end of a session's log, wherever a link leads."""

from pathlib import Path

from davide_hub.broker import in_user, owner


def log_end(account, key):
    path = Path(in_user.session_folder(str(account.home), key), "session.log")
    return path.read_text(errors="replace")[-4096:] if path.exists() else ""


owner.log_end = log_end
