"""How a hub and a broker on another host know each other; what they show makes `certificates.prepare_broker`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_CLIENT, PROTOCOL_TLS_SERVER, SSLContext, TLSVersion

FOLDER = Path("/etc/davide-hub/broker-tls")
# Whoever's certificate has this name, and no other, is the hub.
HUB_NAME = "hub.broker.internal"


def broker_context(folder: Path) -> SSLContext:
    """Return how the broker listens: without a certificate of its authority nobody gets as far as a request."""
    context = _context(folder, "broker", PROTOCOL_TLS_SERVER)
    context.num_tickets = 0  # each connection shows its certificate anew
    return context


def hub_context(folder: Path) -> SSLContext:
    """Return how the hub calls: it believes nobody but that authority, and only under the broker's address."""
    files = [folder / name for name in ("hub.crt", "hub.key", "authority.crt")]
    return _kept(folder, tuple(file.stat().st_mtime_ns for file in files))


# Reading them takes a millisecond of the hub's loop; and new ones need no restart.
@lru_cache(maxsize=1)
def _kept(folder: Path, _written: tuple[int, ...]) -> SSLContext:
    return _context(folder, "hub", PROTOCOL_TLS_CLIENT)


def _context(folder: Path, name: str, protocol: int) -> SSLContext:
    # No other authority, none of the internet's either.
    context = SSLContext(protocol)
    context.minimum_version = TLSVersion.TLSv1_3
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    context.load_verify_locations(folder / "authority.crt")
    context.verify_mode = CERT_REQUIRED
    return context


@dataclass(frozen=True)
class FarSocket:
    """Where a broker on another host listens, and what the hub shows it.

    Parameters
    ----------
    address, port
        Where.
    folder
        The hub's certificate and key, and the authority.
    """

    address: str
    port: int
    folder: Path = FOLDER

    async def open(self, limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect; raises OSError, as any connection does."""
        context = hub_context(self.folder)
        return await asyncio.open_connection(
            self.address, self.port, limit=limit, ssl=context, server_hostname=self.address
        )
