"""What is kept, and where it lies on a host."""

from __future__ import annotations

from pathlib import Path

from davide_hub.broker.audit import FOLDER as AUDIT
from davide_hub.facts import OidcLogin, Site
from davide_hub.operate import BROKER_TLS, SITE, STATE, TLS

BROKER = Path("/var/lib/davide-broker")
# Of the hub's folder these two alone; whatever else lies there, the hub can do without. A PostgreSQL (site.database)
# is backed up by its own host.
DATABASE, COOKIE_SECRET = "jupyterhub.sqlite", "jupyterhub_cookie_secret"
# What browsers are shown. Of a trial's certificate also who vouches for it.
FRONT = ("certificate", "certificate-key", "trial-authority", "trial-authority-key")


def places(site: Site, root: Path = Path("/")) -> dict[str, Path]:
    """Return the folders and files that are kept, by their names in a backup.

    Parameters
    ----------
    site
        The site's facts.
    root
        The top of the host; another one in tests.
    """
    settings = SITE.parent
    certificate, key = Path(site.hub.certificate), Path(site.hub.certificate_key)
    found = {
        "hub": STATE,
        "broker": BROKER,
        "audit": AUDIT,
        "tls": TLS,
        "broker-tls": BROKER_TLS,
        "site.yml": SITE,
        "proxy.env": settings / "proxy.env",
        "database.pgpass": settings / "database.pgpass",
        "metrics-token": settings / "metrics-token",
        "announcement.json": settings / "announcement.json",
        "drain.json": settings / "drain.json",
        "jupyterhub_config.d": settings / "jupyterhub_config.d",
        "templates": settings / "templates",
        **dict(zip(FRONT, (certificate, key, *_authority(certificate)), strict=True)),
    }
    if isinstance(site.login, OidcLogin):
        found["login-secret"] = Path(site.login.client_secret_file)
        if site.login.accounts_file:
            found["login-accounts"] = Path(site.login.accounts_file)
    return {name: root / path.relative_to("/") for name, path in found.items()}


def _authority(certificate: Path) -> tuple[Path, Path]:
    return certificate.with_name("authority.crt"), certificate.with_name("authority.key")
