"""A session's token goes on working when the session has ended."""

from davide_hub.spawner import DavideSpawner
from jupyterhub.user import User

_true = User.stop


async def _stop(self, server_name=""):
    self.spawners[server_name].api_token = ""  # by it, JupyterHub finds what it removes
    return await _true(self, server_name)


User.stop = _stop
DavideSpawner._revoke_token = lambda _self: None
