"""How a session's JupyterLab is set up: here and nowhere else (no file of the user or of the node)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from traitlets.config import Config

from davide_session.local_kernels import NAME
from davide_session.tls import SessionTls

# By name, so that a package that brings a server extension along does not start it in every session:
# jupyter_lsp and notebook_shim come with JupyterLab and would cost start time for nothing.
EXTENSIONS = {"jupyterlab": True, "jupyter_server_terminals": True}


@dataclass(frozen=True)
class Place:
    """Where a session runs, and with what."""

    home: Path
    private: Path
    software: Path
    kernel: str
    course: str
    tls: SessionTls | None = None

    @property
    def kernels(self) -> list[str]:
        """The folders with kernelspecs: the site's, then the user's own."""
        return [
            str(self.software / "share/jupyter/kernels"),
            str(self.home / ".local/share/jupyter/kernels"),
        ]

    @property
    def start(self) -> str:
        """The page that JupyterLab opens with: the course's first page, or its folder, as far as they are there."""
        folder = self.home / self.course
        first_page = next(iter(sorted(folder.glob("00_*.ipynb"))), folder)
        return quote(f"/lab/tree/{first_page.relative_to(self.home)}") if first_page.exists() else "/lab"


def settings(place: Place) -> Config:
    """Return JupyterLab's settings for a session at `place`."""
    config = Config()
    config.ServerApp.root_dir = str(place.home)
    config.ServerApp.default_url = place.start

    if place.tls:
        config.ServerApp.ssl_options = place.tls.server_options()

    config.ServerApp.kernel_spec_manager_class = "davide_session.server.SessionKernels"
    config.ServerApp.kernel_manager_class = "davide_session.kernel_manager.SessionKernelManager"
    # The server's own Python is no kernel: it has none of a lesson's libraries.
    config.SessionKernels.ensure_native_kernel = False
    config.SessionKernels.kernel_dirs = place.kernels
    # Kernels with a Slurm job of their own, where the site offers them (site.kernel_jobs).
    config.SessionKernels.site_kernels = place.kernels[0]
    config.SessionKernels.site_facts = str(place.software / "handouts/site.json")
    config.MultiKernelManager.default_kernel_name = place.kernel
    config.SessionKernels.expected_kernel = place.kernel
    # Unix sockets in the private folder: others on the node can't even connect to them.
    config.KernelManager.transport = "ipc"
    # For every kernelspec that names no other, the users' own too.
    config.KernelProvisionerFactory.default_provisioner_name = NAME
    # SQLite on a shared file system blocks or breaks; what a notebook may show is decided afresh in each
    # session.
    config.NotebookNotary.db_file = str(place.private / "nbsignatures.db")

    # A user's settings and workspaces are data and stay where JupyterLab has them; code comes from here only.
    config.LabApp.app_dir = str(Path(sys.prefix, "share/jupyter/lab"))
    config.LabApp.labextensions_path = [str(Path(sys.prefix, "share/jupyter/labextensions"))]
    # Compute nodes have no internet, and the environment is read-only.
    config.LabApp.extension_manager = "readonly"
    config.LabApp.news_url = None
    config.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
    return config
