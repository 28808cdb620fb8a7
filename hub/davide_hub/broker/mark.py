"""The mark that every job of this hub carries in its comment, and that nobody else can make.

`davide-hub:HUB:KEY:MAC`: which hub, which session, and an HMAC over both and the job's owner under a key that
only root can read. So a job is known to be ours whatever became of the hub's database; a copied mark is worth
nothing on another user's job, and nothing for another session.
"""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from davide_hub.broker.keep import read, write

PREFIX = "davide-hub"
_MARK = re.compile(rf"{PREFIX}:([0-9a-f]{{8}}):([a-z0-9][a-z0-9-]{{0,63}}):([0-9a-f]{{32}})")


@dataclass(frozen=True)
class Marker:
    """Makes marks and knows its own.

    Attributes
    ----------
    hub
        This hub's name among the hubs of the cluster: 8 hexadecimal digits.
    key
        The secret under the HMAC.
    """

    hub: str
    key: bytes

    def mark(self, session_key: str, uid: int) -> str:
        """Return the comment for a session's job."""
        return f"{PREFIX}:{self.hub}:{session_key}:{self._mac(session_key, uid)}"

    def session_of(self, comment: str, uid: int) -> str | None:
        """Return the session that a job's comment names, or None if the mark is not ours or not this owner's."""
        found = _MARK.fullmatch(comment)
        if found is None or found[1] != self.hub:
            return None
        return found[2] if hmac.compare_digest(found[3], self._mac(found[2], uid)) else None

    def _mac(self, session_key: str, uid: int) -> str:
        return hmac.new(self.key, f"{self.hub}:{session_key}:{uid}".encode(), sha256).hexdigest()[:32]


def load_marker(path: Path) -> Marker:
    """Return the marker kept in `path`; make one at the first start.

    Raises
    ------
    ValueError
        If the file is damaged. A new key would disown every session that runs, so that is for a person to decide.
    """
    if not path.exists():
        write(path, {"hub": secrets.token_hex(4), "key": secrets.token_hex(32)})
    kept = read(path)
    try:
        return Marker(str(kept["hub"]), bytes.fromhex(kept["key"]))
    except (KeyError, ValueError) as error:
        problem = f"{path} is damaged; restore it from the backup, or remove it when no session runs"
        raise ValueError(problem) from error
