"""The call home: a session's server says that it listens, and the hub stops waiting at once."""

from __future__ import annotations

import hmac
from typing import Any

from jupyterhub.apihandlers import APIHandler
from jupyterhub.user import User
from tornado import web

from davide_hub.spawner import DavideSpawner, digest

PATH = r"/api/davide/call-home"
_PORTS = range(1024, 65536)


class OwnSessionHandler(APIHandler):  # type: ignore[misc]
    """What a session says of itself."""

    def _own_session(self) -> DavideSpawner:
        # The token itself is the proof; a browser's cookie, even of the same user, is none.
        presented = digest(self.get_auth_token() or "")
        if isinstance(self.current_user, User):
            for spawner in self.current_user.spawners.values():
                if spawner.token_digest and hmac.compare_digest(spawner.token_digest, presented):
                    found: DavideSpawner = spawner
                    return found
        raise web.HTTPError(403, "this is for a session's own token")


class CallHomeHandler(OwnSessionHandler):
    """Takes a port from the session's own token, and nothing else from anybody."""

    async def post(self) -> None:
        """Note the port. 204 is "noted"; 503 is "ask again in a moment".

        409 is "not from there". The spawner finds out whether Slurm has started another server, or somebody plays.
        """
        spawner = self._own_session()
        port = self._port(self.get_json_body())
        if spawner.port not in (0, port):
            spawner.other_port = port
            raise web.HTTPError(409, "this session has called home already, from another port")
        if not await spawner.call_home(port, self._peer()):
            raise web.HTTPError(503, "it is not known on which node this job runs; call again")
        self.set_status(204)

    def _peer(self) -> str:
        # Not request.remote_ip: JupyterHub lets a header tell that one.
        return str(self.request.connection.context.address[0])

    @staticmethod
    def _port(body: Any) -> int:
        port = body.get("port") if isinstance(body, dict) and set(body) == {"port"} else None
        if type(port) is not int or port not in _PORTS:
            raise web.HTTPError(400, f'the body is to be {{"port": N}}, N from {_PORTS[0]} to {_PORTS[-1]}')
        return port
