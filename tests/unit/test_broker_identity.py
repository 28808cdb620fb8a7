"""ID tokens: the broker lets in whom the provider has signed for, and nobody else."""

from __future__ import annotations

import base64
import hmac
import json
import time
from pathlib import Path
from types import SimpleNamespace

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from davide_hub.broker import audit, verbs
from davide_hub.broker.accounts import Account, CannotTell, NotAllowed, WrongPassword
from davide_hub.broker.identity import Identities
from davide_hub.broker.keep import Tickets
from davide_hub.broker.protocol import Ban, Identity, Login
from davide_hub.broker.standing import UNKNOWN, Standing
from davide_hub.broker.verbs import SiteFile
from davide_hub.facts import FactsError, OidcLogin, load_site
from pydantic import SecretStr
from support.broker import verbs_over
from support.provider import CLIENT, Provider

SITE = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"


@pytest.fixture(scope="module")
def running():
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(running):
    """Return the provider as it was at the start."""
    running.claims = {"preferred_username": "student01"}
    running.signs_with = (running.key, running.kid)
    return running


def facts(provider, **change) -> OidcLogin:
    return OidcLogin(**provider.facts(**change))


def account(provider, token=None, **change) -> str:
    return Identities().account(facts(provider, **change), token or provider.token())


def test_a_signed_token_names_the_account(provider):
    assert account(provider) == "student01"


def test_the_keys_may_lie_in_a_file_of_roots(provider, tmp_path):
    (tmp_path / "keys.json").write_text(json.dumps(provider.keys()))
    assert account(provider, keys=str(tmp_path / "keys.json")) == "student01"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://login.example.org"},
        {"aud": "another-service"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": int(time.time()) - 3600},
        {"iat": int(time.time()) - 3600},
        {"iat": int(time.time()) + 3600},
        {"nbf": int(time.time()) + 3600},
        {"exp": None},
        {"iat": None},
        {"sub": None},
        {"aud": None},
        {"preferred_username": None},
        {"preferred_username": ["student01"]},
        {"preferred_username": "../root"},
        {"preferred_username": "student01\n"},
        {"preferred_username": ""},
    ],
)
def test_a_token_that_is_not_for_this_log_in_is_refused(provider, change):
    with pytest.raises(NotAllowed) as refused:
        account(provider, provider.token(**change))
    assert str(refused.value).isprintable()


def _part(content: object) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def forged(provider, kind: str) -> str:
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    match kind:
        case "no signature":
            return jwt.encode(claims, None, algorithm="none", headers={"kid": provider.kid})
        case "a shared secret":
            # By hand: PyJWT would not take a public key for a secret, and neither may we.
            public = provider.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            text = f"{_part({'alg': 'HS256', 'kid': provider.kid})}.{_part(claims)}"
            return f"{text}.{_encoded(hmac.digest(public, text.encode(), 'sha256'))}"
        case "another key":
            return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": provider.kid})
        case "an unknown key":
            return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", headers={"kid": "mine"})
        case "a changed claim":
            head, _, tail = provider.token().split(".")
            body = jwt.encode(claims | {"preferred_username": "root"}, "x" * 64, "HS256").split(".")[1]
            return f"{head}.{body}.{tail}"
        case _:
            return "not.a.token"


@pytest.mark.parametrize(
    "kind", ["no signature", "a shared secret", "another key", "an unknown key", "a changed claim", "no token at all"]
)
@pytest.mark.parametrize("place", ["file", "address"])
def test_a_forged_token_is_refused(provider, tmp_path, kind, place):
    (tmp_path / "keys.json").write_text(json.dumps(provider.keys()))
    change = {"keys": str(tmp_path / "keys.json")} if place == "file" else {}
    with pytest.raises(NotAllowed, match="University log-in is not valid here"):
        account(provider, forged(provider, kind), **change)


def test_a_token_lets_in_once(provider):
    identities, token = Identities(), provider.token()
    assert identities.account(facts(provider), token) == "student01"
    with pytest.raises(NotAllowed, match="used already"):
        identities.account(facts(provider), token)


@pytest.mark.parametrize(
    ("claims", "change", "name"),
    [
        ({"email": "ann@example.org", "email_verified": True}, {"claim": "email", "domain": "example.org"}, "ann"),
        ({"uid": "ann"}, {"claim": "uid"}, "ann"),
        ({"upn": "a.b@example.org"}, {"claim": "upn", "accounts_file": True}, "student07"),
    ],
)
def test_the_site_says_how_a_claim_names_an_account(provider, tmp_path, claims, change, name):
    (tmp_path / "accounts.json").write_text('{"a.b@example.org": "student07"}')
    if "accounts_file" in change:
        change = change | {"accounts_file": str(tmp_path / "accounts.json")}
    provider.claims = claims
    assert account(provider, **change) == name


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "ann@example.org", "email_verified": False},
        {"email": "ann@example.org", "email_verified": "true"},
        {"email": "ann@example.org"},
        {"email": "ann@elsewhere.org", "email_verified": True},
        {"email": "ann@example.org@elsewhere.org", "email_verified": True},
        {"email": "ann", "email_verified": True},
    ],
)
def test_an_address_counts_when_it_is_verified_and_of_the_sites_domain(provider, claims):
    provider.claims = claims
    with pytest.raises(NotAllowed):
        account(provider, claim="email", domain="example.org")


def test_keys_that_cannot_be_had_are_no_refusal(provider, tmp_path):
    with pytest.raises(CannotTell, match="can't be had"):
        account(provider, keys="http://127.0.0.1:9/keys")
    with pytest.raises(CannotTell, match="holds no keys"):
        account(provider, keys=str(tmp_path / "missing"))


# -- the facts


def test_a_provider_on_an_open_line_is_refused_with_the_fix(tmp_path, provider):
    site = yaml.safe_load(SITE.read_text())
    site["site"]["login"] = provider.facts(token_url="http://login.example.org/token")
    (tmp_path / "site.yml").write_text(yaml.safe_dump(site))
    with pytest.raises(FactsError, match=r"site.login.token_url: .*write https://"):
        load_site(tmp_path / "site.yml")


def test_a_kind_of_log_in_that_does_not_exist_is_refused(tmp_path):
    site = yaml.safe_load(SITE.read_text())
    site["site"]["login"] = {"kind": "saml"}
    (tmp_path / "site.yml").write_text(yaml.safe_dump(site))
    with pytest.raises(FactsError, match=r"site\.login"):
        load_site(tmp_path / "site.yml")


# -- the verb


@pytest.fixture
def broker(tmp_path, provider, monkeypatch):
    """Return verbs of a site that logs in at the provider; student01 is the only account."""

    def find(name):
        if name != "student01":
            raise WrongPassword
        return Account(name, 3001, 2000, Path("/home"), "/bin/bash")

    monkeypatch.setattr(verbs, "find_account", find)
    monkeypatch.setattr(verbs, "check_membership", lambda *_: None)
    site = yaml.safe_load(SITE.read_text())
    site["site"]["login"] = provider.facts()
    (tmp_path / "site.yml").write_text(yaml.safe_dump(site))
    keeper = SimpleNamespace(tickets=Tickets(tmp_path / "tickets"))
    return verbs_over(tmp_path, SiteFile(tmp_path / "site.yml"), keeper)


def identify(broker, provider, **change):
    return broker.answer(Identity(token=SecretStr(provider.token(**change)), address="192.0.2.7"))


def test_a_token_gives_the_ticket_and_a_line_in_the_trail(broker, provider, tmp_path):
    assert identify(broker, provider).value == "student01"
    assert broker.tickets.holds("student01", 3001)
    (line,) = audit.read(tmp_path / "audit")
    assert (line["verb"], line["user"], line["address"]) == ("identity", "student01", "192.0.2.7")
    assert line["login"] == broker.tickets.login_of("student01")


def test_somebody_without_an_account_gets_a_sentence(broker, provider):
    refusal = identify(broker, provider, preferred_username="ann")
    assert refusal.sentence == "There is no account ann on the cluster. Ask its support to add you."
    assert not broker.tickets.holders()


@pytest.mark.parametrize(
    ("standing", "kind"), [(Standing("refused", "Your account has expired."), "not_allowed"), (UNKNOWN, "busy")]
)
def test_an_account_that_is_refused_or_unknown_gets_no_ticket(broker, provider, standing, kind):
    broker.watch.look = lambda users: dict.fromkeys(users, standing)
    assert identify(broker, provider).kind == kind
    assert not broker.tickets.holders()


def test_a_banned_user_gets_no_ticket(broker, provider):
    broker.answer(Ban(user="student01"), 0)
    assert "closed this service" in identify(broker, provider).sentence


def test_a_site_has_one_way_to_log_in(broker, provider, tmp_path):
    assert broker.answer(Login(user="student01", password=SecretStr("x"))).kind == "not_allowed"
    broker.site_file = SiteFile(SITE)
    assert identify(broker, provider).kind == "not_allowed"


def test_a_token_is_not_shown_by_what_is_printed(provider):
    token = provider.token()
    assert token not in repr(Identity(token=SecretStr(token)))
