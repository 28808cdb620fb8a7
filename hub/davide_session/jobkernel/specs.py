"""Kernelspecs of kernels with a job of their own: each of the site's kernels, once for each offer."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from traitlets import Instance, Unicode

from davide_session.jobkernel.offers import Offer, read_offers

PROVISIONER = "davide-job"


class WithJobs(KernelSpecManager):
    """Kernelspecs, and those with jobs: these are made from the ones that are installed, and are nowhere on a disk.

    Attributes
    ----------
    site_facts
        The file with what a student may know of the site; empty for none.
    site_kernels
        The folder with the site's kernels. The users' own run in their sessions only.
    """

    site_facts: Any = Unicode(config=True)
    site_kernels: Any = Unicode(config=True)
    _offers: Any = Instance(tuple, allow_none=True)

    def find_kernel_specs(self) -> dict[str, str]:
        """Return where each kernel's files are, by its name."""
        found: dict[str, str] = super().find_kernel_specs()
        return found | {name: found[base] for name, (base, _) in self._derived(found).items()}

    def get_kernel_spec(self, kernel_name: str) -> Any:
        """Return a kernelspec.

        Raises
        ------
        NoSuchKernel
            If there is none of that name.
        """
        base, offer = self._derived(super().find_kernel_specs()).get(kernel_name, (kernel_name, None))
        spec = super().get_kernel_spec(base)
        if offer is None:
            return spec
        spec = copy.copy(spec)
        spec.display_name = f"{spec.display_name} · {offer.title}"
        provisioner = {"provisioner_name": PROVISIONER, "config": {"offer": offer.as_json()}}
        spec.metadata = spec.metadata | {"kernel_provisioner": provisioner}
        return spec

    def _derived(self, found: dict[str, str]) -> dict[str, tuple[str, Offer]]:
        site = [name for name, folder in found.items() if Path(folder).parent == Path(self.site_kernels)]
        return {f"{base}.{offer.name}": (base, offer) for base in site for offer in self._known_offers()}

    def _known_offers(self) -> tuple[Offer, ...]:
        if self._offers is None:
            # Once: what changes while a session runs is for the next one.
            try:
                self._offers = read_offers(Path(self.site_facts)) if self.site_facts else ()
            except (OSError, ValueError) as error:
                self.log.warning("%s", error)
                self._offers = ()
        return self._offers  # type: ignore[no-any-return]
