"""A kernel's channels over Unix sockets: as the kernel has them, and as its session sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

# As connection files number them where the transport is ipc.
PORTS = {"shell": 1, "iopub": 2, "stdin": 3, "hb": 4, "control": 5}
# A message of each kind comes from pages; iopub only leads there.
REQUESTS = ("shell", "control", "stdin")
_ARRIVED = 0.2


def connection_info(folder: Path, key: str, scheme: str) -> dict[str, Any]:
    """Return what a connection file says for a kernel whose sockets lie in `folder`."""
    ports = {f"{name}_port": number for name, number in PORTS.items()}
    return ports | {"transport": "ipc", "ip": str(folder / "kernel"), "key": key, "signature_scheme": scheme}


def address(info: Mapping[str, Any], channel: str) -> str:
    """Return where a channel is."""
    if info["transport"] != "ipc":
        raise ValueError("kernels with jobs of their own need KernelManager.transport = 'ipc'")
    return f"ipc://{info['ip']}-{info[f'{channel}_port']}"


Forward = Callable[[str, list[bytes]], None]
Room = Callable[[], Any]


class Channels:
    """Sockets, and what reads them.

    Parameters
    ----------
    forward
        Gets the channel's name and the frames of each message that comes.
    room
        Is waited for before the next message is read.
    """

    def __init__(self, forward: Forward, room: Room) -> None:
        self._forward, self._room = forward, room
        self._context = zmq.asyncio.Context()
        self._sockets: dict[str, Any] = {}
        self._readers: list[asyncio.Task[None]] = []

    def connect(self, info: Mapping[str, Any], identity: bytes) -> None:
        """Be a client of a kernel. With one name on all channels, so that it can ask on stdin who asked on shell."""
        for channel in (*REQUESTS, "iopub"):
            socket = self._context.socket(zmq.SUB if channel == "iopub" else zmq.DEALER)
            if channel == "iopub":
                socket.subscribe(b"")
            else:
                socket.identity = identity
            socket.rcvhwm = socket.sndhwm = 0 if channel != "iopub" else 10_000
            # The kernel is only just starting, and its user waits.
            socket.reconnect_ivl = 20
            socket.connect(address(info, channel))
            self._add(channel, socket)

    def serve(self, info: Mapping[str, Any]) -> None:
        """Be a kernel for clients, now or still. The heartbeat is answered here.

        Jupyter removes the sockets' files at each restart, and ZeroMQ those of a socket that is closed, some time
        later: perhaps after another was bound there. So they are bound once, under names that Jupyter does not know.
        """
        for channel in (*REQUESTS, "iopub", "hb"):
            known = Path(address(info, channel).removeprefix("ipc://"))
            own = known.with_name(f"{known.name}.own")
            if channel not in self._sockets:
                socket = self._context.socket(zmq.PUB if channel == "iopub" else zmq.ROUTER)
                socket.rcvhwm = socket.sndhwm = 0
                if channel != "iopub":
                    # A page that lost its connection comes back under its old name: it takes over, as with ipykernel.
                    socket.router_handover = 1
                socket.bind(f"ipc://{own}")
                self._add(channel, socket)
            known.unlink(missing_ok=True)
            known.symlink_to(own.name)

    def send(self, channel: str, frames: list[bytes]) -> None:
        """Send a message. Nothing waits for it: the sockets hold any number."""
        if channel in self._sockets:
            self._sockets[channel].send_multipart(frames)

    async def drained(self) -> None:
        """Wait until all that has arrived is forwarded; for a kernel that has ended."""
        for channel, socket in self._sockets.items():
            while channel != "hb" and await socket.poll(_ARRIVED * 1000 if channel == "iopub" else 0):
                await asyncio.sleep(0)

    def close(self, linger_ms: int = 0) -> None:
        """Close all sockets."""
        for reader in self._readers:
            reader.cancel()
        for socket in self._sockets.values():
            socket.close(linger=linger_ms)
        self._readers, self._sockets = [], {}

    def end(self) -> None:
        """Close all, for good."""
        self.close(200)
        self._context.term()

    def _add(self, channel: str, socket: Any) -> None:
        self._sockets[channel] = socket
        if channel == "hb":
            self._readers.append(asyncio.create_task(_echo(socket)))
        elif not (channel == "iopub" and socket.type == zmq.PUB):
            self._readers.append(asyncio.create_task(self._read(channel, socket)))

    async def _read(self, channel: str, socket: Any) -> None:
        while True:
            frames = await socket.recv_multipart()
            self._forward(channel, frames)
            await self._room()


async def _echo(socket: Any) -> None:
    while True:
        await socket.send_multipart(await socket.recv_multipart())
