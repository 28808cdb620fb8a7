"""How a session keeps its kernels: as Jupyter Server does, and it can end after a kernel that did not start."""

from __future__ import annotations

from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager


class SessionKernelManager(AsyncMappingKernelManager):  # type: ignore[misc]
    """Jupyter Server's, without starts that failed among those on the way.

    jupyter_client 8.10 leaves them there, and at the end of the server finds no such kernel: that server would go on
    for ever, without kernels. Here a start without a free GPU is refused, so it would happen every day.
    """

    async def shutdown_all(self, now: bool = False) -> None:
        """End all kernels."""
        for kernel, start in list(self._pending_kernels.items()):
            if start.done() and kernel not in self:
                del self._pending_kernels[kernel]
        await super().shutdown_all(now=now)
