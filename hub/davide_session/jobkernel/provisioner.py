"""The entry point for Jupyter: a kernel that is a Slurm job of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jupyter_client.provisioning.provisioner_base import KernelProvisionerBase
from traitlets import Dict, Float, Unicode

from davide_session.jobkernel.front import Front
from davide_session.jobkernel.offers import Offer
from davide_session.jobkernel.present import session_kernels
from davide_session.jobkernel.slurm_job import Charge
from davide_session.jobkernel.wanted import Wanted

if TYPE_CHECKING:
    from davide_hub.slurm import SlurmView

_FOLDER = ".local/share/davide-hub/kernels"

T = TypeVar("T")


class _Loop:
    """An event loop that goes on while the server's own is busy, or is not running at all (blocking clients)."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="davide-kernel-jobs", daemon=True).start()
        self._view: SlurmView | None = None

    def view(self) -> SlurmView:
        """Return what Slurm says: one view, so that one question serves all kernels of a session."""
        if self._view is None:
            from davide_session.jobkernel.asking import SlurmView

            self._view = SlurmView()
        return self._view

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something there, and return what came of it."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


_loop: _Loop | None = None


def _shared_loop() -> _Loop:
    global _loop
    if _loop is None:
        _loop = _Loop()
    return _loop


class JobProvisioner(KernelProvisionerBase):
    """Starts a kernel as a Slurm job, and stands for it.

    Attributes
    ----------
    offer
        What the job asks for: an `Offer`, from the kernelspec.
    python
        The Python that runs the supervisor; it needs this package.
    lost_seconds
        After how long without its session a kernel's job ends.
    """

    offer: Any = Dict(config=True)
    python: Any = Unicode(sys.executable, config=True)
    lost_seconds: Any = Float(300.0, config=True)

    _front: Front | None = None
    _stopped = True
    _cwd = ""

    @property
    def has_process(self) -> bool:
        """Whether there is a kernel, or one is to come."""
        return self._front is not None and not self._stopped

    async def poll(self) -> int | None:
        """Return the kernel's exit status, None while it runs."""
        return self._front.poll() if self._front is not None else 0

    async def wait(self) -> int | None:
        """Wait until the kernel has ended; return its exit status."""
        while (code := await self.poll()) is None:
            await asyncio.sleep(0.1)
        self._stopped = True
        return code

    async def send_signal(self, signum: int) -> None:
        """Send the kernel a signal."""
        # Jupyter interrupts before it stops a kernel, and before it starts one again.
        stops = bool(self.parent.shutting_down)
        await self._do(lambda front: front.signal(signum, stops=stops))

    async def kill(self, restart: bool = False) -> None:  # noqa: ARG002 - Jupyter's, here and in the next two
        """End the kernel's process at once. Its job is kept until `cleanup`: it may be started again."""
        await self._kill(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:  # noqa: ARG002
        """End the kernel's process."""
        await self._kill(signal.SIGTERM)

    async def shutdown_requested(self, restart: bool = False) -> None:  # noqa: ARG002
        """Note that the kernel was told to go."""
        await self._do(lambda front: front.stopping())

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Make the connection file, and what is to be run; raises RuntimeError where that can't be."""
        manager = self.parent
        if manager.transport != "ipc":
            raise RuntimeError("kernels with jobs of their own need KernelManager.transport = 'ipc'")
        extra = kwargs.pop("extra_arguments", [])
        named = kwargs.get("env", {}).get("JPY_SESSION_NAME", "")
        manager.write_connection_file(jupyter_session=named)
        self.connection_info = manager.get_connection_info()
        values = {"resource_dir": self.kernel_spec.resource_dir, "prefix": sys.prefix}
        cmd = [_filled(word, values) for word in [*self.kernel_spec.argv, *extra]]
        return dict(await super().pre_launch(cmd=cmd, **kwargs))

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Start the kernel in its job, or submit one; return where its channels are."""
        self._cwd = str(kwargs.get("cwd") or Path.home())
        loop = _shared_loop()
        if self._front is None:
            self._front = await loop.run(self._made(cmd, kwargs.get("env", {}), loop.view))
        await loop.run(self._front.launch(self.connection_info))
        self._stopped = False
        return self.connection_info

    async def cleanup(self, restart: bool = False) -> None:
        """End the kernel's job, unless the kernel is about to be started again in it."""
        if self._front is not None and not restart:
            front, self._front = self._front, None
            self._stopped = True
            await _shared_loop().run(front.finish())

    def resolve_path(self, path: str) -> str | None:
        """Return where a file of the kernel's is: the home is the same on all nodes."""
        file = Path(path).expanduser()
        file = file if file.is_absolute() else (Path(self._cwd) / file).resolve()
        return str(file) if file.exists() else None

    async def get_provisioner_info(self) -> dict[str, Any]:
        """Return what is known of the kernel's job."""
        job = self._front.job if self._front is not None else ""
        return dict(await super().get_provisioner_info()) | {"job": job}

    async def _kill(self, number: int) -> None:
        if self._front is not None:
            await _shared_loop().run(self._front.kill(number))

    async def _do(self, what: Any) -> None:
        front = self._front
        if front is None:
            return

        async def done() -> None:
            what(front)

        await _shared_loop().run(done())

    async def _made(self, cmd: list[str], env: dict[str, str], view: Callable[[], SlurmView]) -> Front:
        info = self.connection_info
        key: Any = info["key"]  # bytes, whatever its type says
        # Not the session's own variables: they hold its tokens, and name its node and its GPUs.
        own = {name: env[name] for name in (*self.kernel_spec.env, "JPY_SESSION_NAME") if name in env}
        wanted = Wanted(
            kernel_id=self.kernel_id,
            kernel_name=self.parent.kernel_name,
            language=self.kernel_spec.language,
            offer=Offer(**self.offer),
            argv=cmd,
            env=own,
            cwd=self._cwd,
            key=key.decode() if isinstance(key, bytes) else key,
            scheme=info["signature_scheme"],
            folder=Path.home() / _FOLDER / self.kernel_id,
            private=Path(os.environ.get("JUPYTER_RUNTIME_DIR", tempfile.gettempdir())),
            python=self.python,
            charge=Charge.of_session(os.environ),
            lost_seconds=self.lost_seconds,
        )
        return Front(wanted, view, self.log)


async def keep_kernel(kernel: str) -> bool:
    """Keep a kernel whose job is about to end for lack of use; return whether there is such a kernel."""
    front = session_kernels().get(kernel)
    if front is None:
        return False

    async def kept() -> None:
        front.keep()

    await _shared_loop().run(kept())
    return True


def _filled(word: str, values: dict[str, str]) -> str:
    for name, value in values.items():
        word = word.replace(f"{{{name}}}", value)
    return word
