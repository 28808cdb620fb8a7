"""A stand-in for the hub's API, NOT a JupyterHub: just what a starting session asks, answered from a table.

The real hub is tested on the local cluster.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ssl import SSLContext

USER = "student01"
TOKEN = "made-up-session-token"
STRANGERS_TOKEN = "made-up-token-of-somebody-else"

_SCOPES = {
    TOKEN: (USER, [f"access:servers!server={USER}/"]),
    STRANGERS_TOKEN: ("student02", ["access:servers!server=student02/"]),
}


class FakeHub:
    """Serves /hub/api on 127.0.0.1 and remembers what it was asked.

    Attributes
    ----------
    calls
        Bodies of the accepted call-homes.
    ended
        Paths of the sessions that were to be ended.
    activity
        Times of last activity that were told.
    uses
        What was told of the use of GPUs.
    failures
        How many call-homes to answer with 503 first, as a hub that is starting would.
    tls
        How to listen, if not on plain HTTP.
    """

    def __init__(self, failures: int = 0, port: int = 0, tls: SSLContext | None = None) -> None:
        self.calls: list[dict[str, object]] = []
        self.ended: list[str] = []
        self.activity: list[str] = []
        self.uses: list[dict[str, object]] = []
        self.failures = failures
        self.heard = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self.port = self._server.server_port
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.api_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/hub/api"

    def __enter__(self) -> "FakeHub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def environment(self) -> dict[str, str]:
        """Return the variables that a hub would give to a session."""
        return {
            "JUPYTERHUB_API_TOKEN": TOKEN,
            "JUPYTERHUB_API_URL": self.api_url,
            "JUPYTERHUB_ACTIVITY_URL": f"{self.api_url}/users/{USER}/activity",
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"/user/{USER}/oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": json.dumps([f"access:servers!server={USER}/"]),
            "JUPYTERHUB_OAUTH_ACCESS_SCOPES": json.dumps([f"access:servers!server={USER}/"]),
            "JUPYTERHUB_SERVER_NAME": "",
            "JUPYTERHUB_SERVICE_PREFIX": f"/user/{USER}/",
            "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:0/user/student01/",
            "JUPYTERHUB_USER": USER,
        }


def _handler_of(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            user = self._user()
            if self.path.startswith("/hub/api/user") and user:
                name, scopes = user
                self._answer(200, {"kind": "user", "name": name, "admin": False, "groups": [], "scopes": scopes})
            else:
                self._answer(403, {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self._user() != _SCOPES[TOKEN]:
                self._answer(403, {})
            elif self.path == "/hub/api/davide/call-home":
                self._call_home(body)
            elif self.path == "/hub/api/davide/gpu-use":
                hub.uses.append(body)
                self._answer(204, {})
            else:
                hub.activity.append(body["last_activity"])
                self._answer(200, {})

        def do_DELETE(self) -> None:
            if self._user() != _SCOPES[TOKEN] or hub.failures > 0:
                self._answer(503 if self._user() else 403, {})
                return
            hub.ended.append(self.path)
            self._answer(202, {})

        def _call_home(self, body: dict[str, object]) -> None:
            if hub.failures > 0:
                hub.failures -= 1
                self._answer(503, {})
                return
            hub.calls.append(body)
            hub.heard.set()
            self._answer(200, {})

        def _user(self) -> tuple[str, list[str]] | None:
            return _SCOPES.get(self.headers.get("Authorization", "").removeprefix("token "))

        def _answer(self, status: int, body: object) -> None:
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
