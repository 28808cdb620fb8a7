"""Where a session runs is what the caller says: in the body, in a header, or by where the call comes from."""

from davide_hub.callhome import CallHomeHandler
from davide_hub.spawner import DavideSpawner

_true_peer = CallHomeHandler._peer


def _peer(self):
    body = self.get_json_body()
    return body.get("node") or self.request.headers.get("X-Real-IP") or _true_peer(self)


async def call_home(self, port, address):
    self._note_server(await self.nodes.name_of(address) or address, port)
    return True


CallHomeHandler._peer = _peer
DavideSpawner.call_home = call_home
