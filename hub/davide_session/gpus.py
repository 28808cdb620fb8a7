"""Names and use of the session's own GPUs, from NVIDIA's management library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Gpu:
    """One GPU, or a part of one.

    Attributes
    ----------
    use_percent
        How much of the last second something was being computed; None for parts of a GPU, of which nobody knows.
    """

    name: str
    use_percent: int | None
    memory_bytes: int
    memory_used_bytes: int


@dataclass(frozen=True)
class GpuNews:
    """What is known of the session's GPUs.

    Attributes
    ----------
    state
        "read"; or why there are none to be shown: "none" (the session has no GPU), "no-driver", "silent".
    """

    state: str
    gpus: tuple[Gpu, ...] = ()

    @property
    def at_work(self) -> bool:
        """Whether something is being computed."""
        return any(gpu.use_percent for gpu in self.gpus)


def own_gpus(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs that Slurm gave the job, as CUDA_VISIBLE_DEVICES names them."""
    visible = environment.get("CUDA_VISIBLE_DEVICES", "")
    return [] if visible == "NoDevFiles" else [word for word in visible.split(",") if word]


class Gpus:
    """The GPUs that Slurm gave the job.

    Parameters
    ----------
    environment
        The job's variables. Slurm renumbers GPUs where it hides the others' devices, and so does the library:
        a number in CUDA_VISIBLE_DEVICES means the same to both.
    driver
        The file that a loaded driver shows.
    """

    def __init__(self, environment: Mapping[str, str], driver: Path = _DRIVER) -> None:
        self._own = own_gpus(environment)
        self._driver = driver
        self._nvml: Any = None

    def read(self) -> GpuNews:
        """Ask the driver. This may take seconds, where the driver is not kept awake."""
        if not self._own:
            return GpuNews("none")
        if not self._driver.exists():
            return GpuNews("no-driver")
        try:
            # Not at the top: sessions on nodes without GPUs never need it.
            nvml = self._nvml or importlib.import_module("pynvml")
            if self._nvml is None:
                nvml.nvmlInit()
                self._nvml = nvml
            return GpuNews("read", tuple(_read(nvml, _handle(nvml, own)) for own in self._own))
        except Exception:  # noqa: BLE001 - its errors are many; of the next look it may be known again
            self._nvml = None
            return GpuNews("silent")


def _handle(nvml: Any, own: str) -> Any:
    return nvml.nvmlDeviceGetHandleByIndex(int(own)) if own.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(own)


def _read(nvml: Any, handle: Any) -> Gpu:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        use = int(nvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except nvml.NVMLError_NotSupported:
        use = None
    return Gpu(nvml.nvmlDeviceGetName(handle), use, int(memory.total), int(memory.used))
