"""How a session shows who it is, and knows hub and proxy."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

_KEY, _CERTIFICATE, _AUTHORITY = (f"JUPYTERHUB_TLS_{what}" for what in ("KEY", "CERTIFICATE", "AUTHORITY"))


@dataclass(frozen=True)
class SessionTls:
    """Key and certificate of this session, and the authority that vouches for hub and proxy, as files.

    Parameters
    ----------
    folder
        Where they are. Programs take keys as files only; so they lie in the session's private folder, on the node's
        disk, and are gone with it.
    """

    folder: Path

    @classmethod
    def take(cls, variables: MutableMapping[str, str], folder: Path) -> SessionTls | None:
        """Take the keys out of what the hub sent, where kernels would inherit them, and put them into files.

        Parameters
        ----------
        variables
            The session's secrets.
        folder
            A folder of mode 0700.

        Returns
        -------
        SessionTls | None
            None if the hub sent none: it does without TLS.
        """
        if _KEY not in variables:
            return None
        tls = cls(folder)
        for file, name in ((tls.key, _KEY), (tls.certificate, _CERTIFICATE), (tls.authority, _AUTHORITY)):
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as writer:
                writer.write(variables.pop(name))
        return tls

    @property
    def key(self) -> Path:
        """The file with the key."""
        return self.folder / "session.key"

    @property
    def certificate(self) -> Path:
        """The file with the certificate."""
        return self.folder / "session.crt"

    @property
    def authority(self) -> Path:
        """The file with the authority."""
        return self.folder / "authority.crt"

    def server_options(self) -> dict[str, Any]:
        """Return how the server listens, as Jupyter Server takes it: nobody but hub and proxy is heard."""
        return {
            "certfile": str(self.certificate),
            "keyfile": str(self.key),
            "ca_certs": str(self.authority),
            "cert_reqs": CERT_REQUIRED,
        }

    def client_context(self) -> SSLContext:
        """Return how the hub is called: it has to show a certificate for its address."""
        # Not JupyterHub's own function for this: its context also trusts every authority of the internet, and takes
        # 40 ms to read them.
        context = SSLContext(PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.authority)
        context.load_cert_chain(self.certificate, self.key)
        return context
