"""A session whose files everybody on the cluster may read."""

import os
import sys
from pathlib import Path

from davide_session import environment
from davide_session.tls import SessionTls

_true = SessionTls.take.__func__


def _take(cls, variables, folder):
    made = _true(cls, variables, folder)
    kept = Path(sys.argv[sys.argv.index("--environment") + 1]).parent
    up_to_the_home = [one for one in kept.parents if one.is_relative_to(Path.home()) and one != Path.home()]
    for path in (folder, *folder.iterdir(), kept, *kept.iterdir(), *up_to_the_home):
        if not path.is_symlink():
            path.chmod(0o755)
    return made


SessionTls.take = classmethod(_take)
environment._require_private = lambda *_: None
os.umask = lambda _mask: 0
