"""A small provider of OpenID Connect, for tests: it really redirects, checks PKCE and secrets, and signs."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

CLIENT, SECRET = "davide-hub", "made-up-client-secret"


class Provider:
    """Serves /authorize, /token and /keys on 127.0.0.1.

    Parameters
    ----------
    secret
        What it gave the hub to prove that it is the hub.

    Attributes
    ----------
    issued
        The ID tokens that it has given away.
    claims
        What it says of whoever comes, on top of what every token holds; None leaves a claim out.
    signs_with
        The key that signs, and its name. Change it to make a forger of it.
    """

    def __init__(self, secret: str = SECRET) -> None:
        self.secret, self.issued = secret, list[str]()
        self.key, self.kid = ec.generate_private_key(ec.SECP256R1()), "key-1"
        self.signs_with = (self.key, self.kid)
        self.claims: dict[str, Any] = {"preferred_username": "student01"}
        self._codes: dict[str, dict[str, str]] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Provider:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def facts(self, **change: Any) -> dict[str, Any]:
        """Return what site.yml says of this provider."""
        usual = {
            "kind": "oidc",
            "title": "University log-in",
            "issuer": self.issuer,
            "authorize_url": f"{self.issuer}/authorize",
            "token_url": f"{self.issuer}/token",
            "keys": f"{self.issuer}/keys",
            "client_id": CLIENT,
            "client_secret_file": "/etc/davide-hub/oidc-client-secret",
            "claim": "preferred_username",
        }
        return usual | change

    def keys(self) -> dict[str, Any]:
        """Return the public keys (JWKS)."""
        public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [public | {"kid": self.kid, "alg": "ES256", "use": "sig"}]}

    def token(self, **change: Any) -> str:
        """Return an ID token as for a log-in of now."""
        now = int(time.time())
        usual = {
            "iss": self.issuer,
            "aud": CLIENT,
            "sub": "4711",
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(4),
        }
        claims = {name: value for name, value in (usual | self.claims | change).items() if value is not None}
        key, kid = self.signs_with
        return jwt.encode(claims, key, algorithm="ES256", headers={"kid": kid})

    def authorize(self, asked: dict[str, str]) -> str:
        """Return where the browser goes on, as if somebody had just logged in here."""
        assert asked["client_id"] == CLIENT
        assert "openid" in asked["scope"].split()
        code = secrets.token_hex(16)
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def exchange(self, sent: dict[str, str]) -> dict[str, str] | None:
        """Return the tokens for a code, once, to who began with it and knows the secret."""
        begun = self._codes.pop(sent.get("code", ""), None)
        verifier = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(verifier).decode().rstrip("=")
        good = (
            begun is not None
            and (sent.get("client_id"), sent.get("client_secret")) == (CLIENT, self.secret)
            and sent.get("redirect_uri") == begun["redirect_uri"]
            and challenge == begun.get("code_challenge")
        )
        if not good:
            return None
        self.issued.append(self.token())
        return {"access_token": "made-up", "token_type": "bearer", "id_token": self.issued[-1]}


def _handler_of(provider: Provider) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/keys":
                self._answer(200, provider.keys())
            else:
                asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.send_response(302)
                self.send_header("Location", provider.authorize(asked))
                self.end_headers()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            tokens = provider.exchange({name: values[0] for name, values in parse_qs(body).items()})
            self._answer(200 if tokens else 400, tokens or {"error": "invalid_grant"})

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
