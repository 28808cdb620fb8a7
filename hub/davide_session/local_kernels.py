"""How a session starts its own kernels: as Jupyter does, each with GPUs of its own, and warm where it can be."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from davide_session.leases import Lease, Leases, session_leases
from davide_session.warm import order_for, session_parents
from davide_session.wishes import wish_of

# The name under which hub/pyproject.toml offers this to jupyter_client, and settings.py chooses it.
NAME = "davide-local"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


class SessionProvisioner(LocalProvisioner):
    """Jupyter's own provisioner, with a lease on GPUs for as long as a kernel runs.

    A first start without a free GPU is refused in a sentence, which JupyterLab shows in the notebook. A restart never
    is: there JupyterLab would show nothing. It keeps what it can get, and the page says what it lacks.
    """

    _had: tuple[str, ...] = ()
    _was_started = False

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Take a lease, and start the process with it."""
        leases = session_leases()
        if not leases.are_kept:
            return await self._start(cmd, **kwargs)
        lease = await self._take(leases, kwargs["env"])
        try:
            # An empty list hides all of them.
            kwargs["env"][_VISIBLE] = ",".join(lease.gpus)
            info = await self._start(cmd, **kwargs)
        except BaseException:
            leases.give_back(lease.kernel)
            raise
        process: Any = self.process
        leases.began(lease.kernel, lambda: process.poll() is not None)
        self._had, self._was_started = lease.gpus, True
        return info

    async def _start(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        folder = str(kwargs.get("cwd") or Path.cwd())
        notebook = str(Path(*self._notebook(kwargs["env"])))
        order = order_for(self.kernel_spec, cmd, kwargs["env"], folder, notebook)
        # Whoever wants to read what it prints, or anything else of Popen, gets a child.
        is_plain = not kwargs.keys() - {"env", "cwd", "extra_arguments", "kernel_id"}
        process = await session_parents().fork(order) if order and is_plain else None
        if process is None:
            return await super().launch_kernel(cmd, **kwargs)
        self.process: Any = process
        # It has made a group of its own before it said that it runs.
        self.pid = self.pgid = process.pid
        self.cwd = folder
        return self.connection_info

    def _notebook(self, environment: dict[str, str]) -> tuple[str, str]:
        """Return the folder of all notebooks, and the notebook."""
        # As Jupyter Server tells each kernel; at a restart by the notebook's present name.
        notebook = environment.get("JPY_SESSION_NAME", "")
        return getattr(getattr(self.parent, "parent", None), "root_dir", "") or str(Path.cwd()), notebook

    async def _take(self, leases: Leases, environment: dict[str, str]) -> Lease:
        root, notebook = self._notebook(environment)
        # A notebook may be large, and all others wait for this thread.
        wish = await asyncio.to_thread(wish_of, Path(root, notebook))
        path = os.path.relpath(notebook, root) if notebook.startswith("/") else notebook
        wanted = Lease(str(self.kernel_id), self.kernel_spec.display_name, path, wish)
        return await leases.take(wanted, self._had, anyhow=self._was_started)

    async def shutdown_requested(self, restart: bool = False) -> None:
        """Keep the lease, if the kernel is about to come back."""
        await super().shutdown_requested(restart)
        if restart:
            session_leases().restarts(str(self.kernel_id))

    async def cleanup(self, restart: bool = False) -> None:
        """Give the GPUs back, unless the kernel is about to come back."""
        leases = session_leases()
        if restart:
            leases.restarts(str(self.kernel_id))
        else:
            leases.give_back(str(self.kernel_id))
        await super().cleanup(restart)
