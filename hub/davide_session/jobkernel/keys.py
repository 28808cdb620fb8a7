"""How a session and a job of its know each other, and the file in which the job finds what is secret.

A certificate for each end of each kernel, made for it and trusted by the other end alone. No authority: there is
nobody else to vouch for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext, TLSVersion
from typing import Any

from davide_session.environment import EnvironmentFileError, read_environment

# Nodes' clocks may be wrong; a job may wait for a month.
_EARLIER = timedelta(days=1)
_VALID = timedelta(days=90)
ORDER = "order.json"


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, as PEM."""

    certificate: str
    key: str = field(repr=False)


def make_pair(name: str) -> Pair:
    """Return a new key with a certificate that it signed itself."""
    # Not at the top: a session that starts no such kernel never needs it, and its import takes 50 ms.
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    return Pair(
        certificate.public_bytes(Encoding.PEM).decode(),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def context(own: Pair, other: str, private: Path, *, server: bool) -> SSLContext:
    """Return how one end connects: it shows its certificate, and hears nobody but who has the other one.

    Parameters
    ----------
    own
        This end's.
    other
        The other end's certificate.
    private
        A folder of mode 0700 on this node's disk: Python takes keys as files only. The file is removed at once.
    server
        Whether this end is the one that is called.
    """
    made = SSLContext(PROTOCOL_TLS_SERVER if server else PROTOCOL_TLS_CLIENT)
    made.minimum_version = TLSVersion.TLSv1_3
    # Who it is, is said by the one certificate that is trusted, not by a name.
    made.check_hostname = False
    made.verify_mode = CERT_REQUIRED
    made.load_verify_locations(cadata=other)
    file = private / f"own-{os.urandom(6).hex()}.pem"
    _write_private(file, own.key + own.certificate)
    try:
        made.load_cert_chain(file)
    finally:
        file.unlink()
    return made


def write_order(folder: Path, order: Mapping[str, Any]) -> Path:
    """Write what the job needs to know, for its user's eyes only; return the file.

    Parameters
    ----------
    folder
        The kernel's own, in the home; it is made.
    order
        As JSON can have it.
    """
    folder.mkdir(mode=0o700, parents=True)
    path = folder / ORDER
    _write_private(path, json.dumps({"order": json.dumps(order)}))
    return path


def take_order(path: Path) -> dict[str, Any]:
    """Return what `write_order` wrote, and remove it: the job keeps it in its memory.

    Raises
    ------
    EnvironmentFileError
        If it is not there, or not the user's own and private. Its text says what to do.
    """
    try:
        order = json.loads(read_environment(path)["order"])
    except KeyError:
        raise EnvironmentFileError(f"{path}: not an order for a kernel; start the kernel from a notebook") from None
    path.unlink()
    return dict(order)


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
