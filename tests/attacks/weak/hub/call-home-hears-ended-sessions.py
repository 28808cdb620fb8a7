"""Nothing is revoked when a session ends, and who has ended is heard like who has just begun."""

from davide_hub.callhome import CallHomeHandler
from davide_hub.spawner import DavideSpawner

_true_clear = DavideSpawner.clear_state
_true_session = CallHomeHandler._own_session


def _clear(self):
    digest = self.token_digest
    _true_clear(self)
    self.token_digest = digest


def _own_session(self):
    if self.current_user is not None:
        for name in list(self.current_user.orm_spawners):
            self.current_user.get_spawner(name)  # taken up again if it was forgotten
    return _true_session(self)


DavideSpawner.clear_state = _clear
DavideSpawner._revoke_token = lambda _self: None
# JupyterHub then keeps the token for the next start.
DavideSpawner.will_resume = True
CallHomeHandler._own_session = _own_session
