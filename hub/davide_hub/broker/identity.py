"""Who somebody is by an ID token of OpenID Connect: its signature is verified here, where the ticket is given.

The hub carries the token over and can't make one. The provider's keys come from a file of root's or from the
provider itself; which claim names the account, and how, is a fact of the site.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from davide_hub.broker.accounts import CannotTell, NotAllowed
from davide_hub.facts import OidcLogin

# Signatures by public keys only: a shared secret, or none at all, is something that others could make.
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_REQUIRED = ["iss", "aud", "sub", "exp", "iat"]
# Clocks differ; and a token is for the log-in that is going on, not for one of an hour ago.
_LEEWAY_SECONDS = 60
_FRESH_SECONDS = 600
_KEYS_SECONDS = 300
_ACCOUNT = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


@dataclass
class Identities:
    """Turns ID tokens into names of accounts.

    Parameters
    ----------
    clock
        Seconds since 1970.
    """

    clock: Callable[[], float] = time.time
    _used: dict[str, float] = field(default_factory=dict, init=False)
    _clients: dict[str, jwt.PyJWKClient] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def account(self, login: OidcLogin, token: str) -> str:
        """Return the account that a token names.

        Parameters
        ----------
        login
            The site's facts: whose tokens, for whom, and what they say.
        token
            As the provider signed it. Untrusted.

        Raises
        ------
        NotAllowed
            If the token is not valid here, was used before, or names no account.
        CannotTell
            If the provider's keys can't be had.
        """
        claims = self._verified(login, token)
        name = _account_of(login, claims)
        self._use_up(token, float(claims["exp"]))
        return name

    def _verified(self, login: OidcLogin, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._key(login, token),
                algorithms=_ALGORITHMS,
                audience=login.client_id,
                issuer=login.issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.PyJWTError as error:
            # The kind of fault is for the journal's reader; the token itself stands nowhere.
            raise _invalid(login, type(error).__name__) from None
        if claims.get("azp", login.client_id) != login.client_id:
            raise _invalid(login, "it was made for another service")
        if self.clock() - float(claims["iat"]) > _FRESH_SECONDS:
            raise _invalid(login, "it is too old")
        return claims

    def _key(self, login: OidcLogin, token: str) -> jwt.PyJWK:
        if login.keys.startswith("/"):
            return _from_file(Path(login.keys), jwt.get_unverified_header(token).get("kid"))
        with self._lock:
            client = self._clients.setdefault(
                login.keys, jwt.PyJWKClient(login.keys, lifespan=_KEYS_SECONDS, timeout=10)
            )
        try:
            return client.get_signing_key_from_jwt(token)
        except jwt.PyJWKClientConnectionError:
            raise CannotTell(f"the keys at {login.keys} can't be had") from None

    def _use_up(self, token: str, expires: float) -> None:
        digest = hashlib.sha256(token.encode()).hexdigest()
        now = self.clock()
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until + _LEEWAY_SECONDS > now}
            if digest in self._used:
                raise NotAllowed("This log-in was used already. Log in again.")
            self._used[digest] = expires


def _invalid(login: OidcLogin, why: str) -> NotAllowed:
    return NotAllowed(f"The log-in by {login.title} is not valid here ({why}). Log in again.")


def _from_file(path: Path, kid: str | None) -> jwt.PyJWK:
    try:
        keys = jwt.PyJWKSet.from_json(path.read_text()).keys
    except (OSError, jwt.PyJWTError, ValueError) as error:
        raise CannotTell(f"{path} holds no keys ({type(error).__name__}); give it the provider's JWKS") from None
    for key in keys:
        if key.key_id == kid or (kid is None and len(keys) == 1):
            return key
    raise jwt.InvalidKeyError("no such key")


def _account_of(login: OidcLogin, claims: dict[str, Any]) -> str:
    value = claims.get(login.claim)
    if not isinstance(value, str):
        raise NotAllowed(f"{login.title} does not tell who you are on the cluster: it sent no {login.claim}.")
    if login.claim == "email" and claims.get("email_verified") is not True:
        raise NotAllowed(f"{login.title} has not verified your address. Have it verified there, then log in again.")
    name = _listed(login).get(value, "") or _plain(login, value)
    if not _ACCOUNT.fullmatch(name):
        raise NotAllowed(f"{value!a:.100} is no account of the cluster. Ask its support to add you.")
    return name


def _listed(login: OidcLogin) -> dict[str, str]:
    if login.accounts_file is None:
        return {}
    try:
        listed = json.loads(Path(login.accounts_file).read_text())
        return {str(one): str(name) for one, name in listed.items()}
    except (OSError, ValueError, AttributeError):
        raise CannotTell(f'{login.accounts_file} holds no accounts; write {{"a.b@example.org": "ab"}}') from None


def _plain(login: OidcLogin, value: str) -> str:
    if login.domain is None:
        return value
    name, _, domain = value.rpartition("@")
    return name if domain == login.domain else ""
