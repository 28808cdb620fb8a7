"""Certificates by which hub, proxy and sessions know each other.

Two authorities, so that nobody takes one kind for the other. `gate` vouches for the hub and the proxy; it is all that a
session trusts, so no other session enters it, nor passes for the hub. `sessions` vouches for sessions, each under a
name of its own: a route leads to that name, and whoever listens on a node in its place can't show it.
A broker on another host than the hub's has a third one, which vouches for these two and nobody else.

Keys are on the curve P-256: one is made in 0.04 ms, where RSA would hold up the hub for 100 ms.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_SERVER, SSLContext

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from davide_hub.broker.tls import HUB_NAME

# .internal belongs to nobody and never will (ICANN, 2024): such a name leads nowhere but where the proxy takes it.
DOMAIN = "sessions.internal"

_YEAR = timedelta(days=365)
# Nodes' clocks may be wrong.
_EARLIER = timedelta(days=1)
# A month in the queue, a month of running, and some.
_OF_A_SESSION = timedelta(days=90)
_OF_A_HOST = 10 * _YEAR
_RENEWED_BEFORE = _YEAR
# Some browsers believe in none that lasts longer than 825 days.
_OF_A_TRIAL = timedelta(days=800)


def session_host(node: str, key: str) -> str:
    """Return the name of a session in a route: who it is, and the node where it is.

    The certificate is made before the node is known, so it holds for one more label before the session's name: the
    node's, in which `--` stands for a dot (`facts` allows no node with `--` in its name). The proxy reads the node
    from it (session_names.cjs); whether it is the session that listens there, the certificate says.
    """
    return f"{node.replace('.', '--')}.{key}.{DOMAIN}"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_text(self) -> str:
        """The certificate, as PEM."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def key_text(self) -> str:
        """The key, as PEM."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.key, for root alone until it is given to somebody, and NAME.crt."""
        for suffix, text, mode in ((".key", self.key_text, 0o600), (".crt", self.certificate_text, 0o644)):
            draft = folder / f".{name}{suffix}"
            draft.unlink(missing_ok=True)
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
            draft.replace(folder / f"{name}{suffix}")

    @classmethod
    def read(cls, folder: Path, name: str) -> Pair:
        """Return what `write` wrote; raises OSError or ValueError."""
        key = load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{folder / name}.key: not a key on an elliptic curve")
        return cls(x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes()), key)


def make_authority(name: str) -> Pair:
    """Return a new authority, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), _name(name), key, _OF_A_HOST)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(authority=True), critical=True)
    return Pair(builder.sign(key, SHA256()), key)


def sign(authority: Pair, name: str, alternatives: list[x509.GeneralName], valid: timedelta) -> Pair:
    """Return a new certificate of an authority, good for both ends of a connection.

    Parameters
    ----------
    authority
        Who vouches.
    name
        For whom, as people read it.
    alternatives
        For whom, as programs compare it. Empty for who only ever calls others.
    valid
        For how long.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(name), authority.certificate.subject, key, valid)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(authority=False), critical=True)
    both = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    builder = builder.add_extension(both, critical=False)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(issuer, critical=False)
    return Pair(builder.sign(authority.key, SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def prepare(folder: Path, address: str) -> list[str]:
    """Make what is missing or has served its time of authorities and certificates; return the names of what was made.

    Parameters
    ----------
    folder
        Where they are kept. The caller decides who may read it.
    address
        The hub's address or name, as nodes and proxy reach it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[str] = []
    gate, _ = (_kept_or_new_authority(folder, name, made) for name in ("gate", "sessions"))
    hosts: dict[str, list[x509.GeneralName]] = {"hub": [_general_name(address)], "proxy": []}
    for name, alternatives in hosts.items():
        _keep_or_sign(folder, name, gate, alternatives, made)
    known = "".join((folder / f"{name}.crt").read_text() for name in ("gate", "sessions"))
    file = folder / "known.crt"
    # Not touched where nothing changed: the proxy would be restarted for it, and cut every user's connections.
    if not file.exists() or file.read_text() != known:
        file.write_text(known)
        made.append("known")
    return made


def prepare_broker(folder: Path, address: str) -> list[str]:
    """Make what is missing or has served its time between a hub and its broker on another host; return what was made.

    Parameters
    ----------
    folder
        Where it is kept, on the broker's host: the authority's key never leaves it.
    address
        The broker's address or name, as the hub reaches it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    made: list[str] = []
    authority = _kept_or_new_authority(folder, "authority", made)
    ends: dict[str, list[x509.GeneralName]] = {
        "broker": [_general_name(address)],
        "hub": [x509.DNSName(HUB_NAME)],
    }
    for name, alternatives in ends.items():
        _keep_or_sign(folder, name, authority, alternatives, made)
    return made


def _keep_or_sign(
    folder: Path, name: str, authority: Pair, alternatives: list[x509.GeneralName], made: list[str]
) -> None:
    if not _still_good(folder, name, authority, alternatives):
        sign(authority, f"DAVIDE Hub: {name}", alternatives, _OF_A_HOST).write(folder, name)
        made.append(name)


def prepare_trial(certificate: Path, key: Path, host: str) -> list[str]:
    """Make what browsers are shown where nobody vouches for the site; return the names of what was made.

    The authority that vouches for it lies beside the certificate, as authority.crt.

    Parameters
    ----------
    certificate, key
        Where they are to lie: NAME.crt and NAME.key in one folder.
    host
        The name that people type. The certificate is for it and for one more name before it: a user's.
    """
    if key != certificate.with_suffix(".key"):
        raise ValueError(
            f"a trial's key lies beside its certificate: write {certificate.with_suffix('.key')}, not {key}"
        )
    folder, made = certificate.parent, list[str]()
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    authority = _kept_or_new_authority(folder, "authority", made)
    names: list[x509.GeneralName] = [x509.DNSName(host), x509.DNSName(f"*.{host}")]
    if not _still_good(folder, certificate.stem, authority, names):
        sign(authority, f"DAVIDE Hub at {host}, for trials", names, _OF_A_TRIAL).write(folder, certificate.stem)
        made.append(certificate.stem)
    return made


def _kept_or_new_authority(folder: Path, name: str, made: list[str]) -> Pair:
    try:
        authority = Pair.read(folder, name)
    except FileNotFoundError:
        authority = make_authority(f"DAVIDE Hub: {name}")
        authority.write(folder, name)
        made.append(name)
    return authority


def _still_good(folder: Path, name: str, authority: Pair, alternatives: list[x509.GeneralName]) -> bool:
    try:
        certificate = Pair.read(folder, name).certificate
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception:  # noqa: BLE001 - missing, damaged, or of an authority before this one: all are made anew
        return False
    try:
        found = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        found = []
    return found == alternatives and certificate.not_valid_after_utc > datetime.now(UTC) + _RENEWED_BEFORE


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)


@dataclass(frozen=True)
class HubCertificates:
    """What the hub uses of the folder that `prepare` made.

    Parameters
    ----------
    folder
        That folder.
    """

    folder: Path

    def server_context(self) -> SSLContext:
        """Return how the hub listens: it shows its certificate, and hears the proxy and sessions alone."""
        # Not JupyterHub's own function for this: its context also trusts every authority of the internet.
        context = SSLContext(PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "hub.crt", self.folder / "hub.key")
        context.load_verify_locations(self.folder / "known.crt")
        context.verify_mode = CERT_REQUIRED
        return context

    def for_session(self, key: str) -> dict[str, str]:
        """Return what a session needs to show who it is and to know hub and proxy, as variables. The hub keeps none."""
        pair = sign(self._sessions, f"{key}.{DOMAIN}", [x509.DNSName(f"*.{key}.{DOMAIN}")], _OF_A_SESSION)
        return {
            "JUPYTERHUB_TLS_KEY": pair.key_text,
            "JUPYTERHUB_TLS_CERTIFICATE": pair.certificate_text,
            "JUPYTERHUB_TLS_AUTHORITY": self._gate,
        }

    @cached_property
    def _sessions(self) -> Pair:
        return Pair.read(self.folder, "sessions")

    @cached_property
    def _gate(self) -> str:
        return (self.folder / "gate.crt").read_text()
