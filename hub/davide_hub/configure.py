"""From the site's facts to JupyterHub's settings, one small function per subject."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from davide_hub import callhome, handlers
from davide_hub.auth import BrokerAuthenticator, Door, OidcAuthenticator
from davide_hub.broker.client import BrokerClient
from davide_hub.certificates import HubCertificates
from davide_hub.facts import FactsError, OidcLogin, Site
from davide_hub.nodes import Nodes
from davide_hub.proof import Proof
from davide_hub.routes import SENTINEL
from davide_hub.slurm import SlurmView
from davide_hub.spawner import DavideSpawner

STATE = Path("/var/lib/davide-hub")
TLS = Path("/etc/davide-hub/tls")
BROKER = Path("/run/davide-broker/broker.sock")
# A site's own templates, used before ours.
TEMPLATES = Path("/etc/davide-hub/templates")
# templates/ and static/ lie in the wheel beside this file, and in a checkout one folder up.
_PAGES = next(folder for folder in Path(__file__).resolve().parents if (folder / "templates").is_dir())


def configure(
    c: Any, site: Site, *, state: Path = STATE, tls: Path = TLS, broker: Path = BROKER, templates: Path = TEMPLATES
) -> None:
    """Set everything that DAVIDE Hub sets.

    Parameters
    ----------
    c
        JupyterHub's configuration object.
    site
        The site's facts.
    state, tls, broker, templates
        Where the hub keeps what it must not lose, the certificates, the broker's socket, and the site's own templates.
    """
    client = BrokerClient(broker)
    _network(c, site, HubCertificates(tls))
    _state(c, state)
    _login(c, site, client)
    _sessions(c, site, client)
    _pages(c, site, templates)


def _network(c: Any, site: Site, certificates: HubCertificates) -> None:
    hub = site.hub
    c.JupyterHub.bind_url = f"http://:{hub.port}"
    # Compute nodes call this address; the proxy, on the same host, uses it too.
    c.JupyterHub.hub_bind_url = f"https://{hub.address}:{hub.api_port}"
    c.DavideHub.certificates = certificates
    DavideSpawner.certificates = certificates
    # The proxy is a unit of its own: a restart of the hub drops no connection.
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{hub.proxy_api_port}"
    c.ConfigurableHTTPProxy.extra_routes = {SENTINEL: c.JupyterHub.hub_bind_url}


def _state(c: Any, state: Path) -> None:
    c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub.sqlite"
    c.JupyterHub.cookie_secret_file = f"{state}/jupyterhub_cookie_secret"
    # Sessions outlive the hub.
    c.JupyterHub.cleanup_servers = False


def _login(c: Any, site: Site, client: BrokerClient) -> None:
    kind: type[Door] = BrokerAuthenticator
    if isinstance(site.login, OidcLogin):
        kind = OidcAuthenticator
        _provider(c, site, site.login)
    c.JupyterHub.authenticator_class = kind
    settings = c[kind.__name__]
    settings.broker = client
    # The broker lets in the members of the site's group, and nobody else comes this far.
    settings.allow_all = True
    settings.admin_users = set(site.admins)
    # Who was turned out is asked to log in again within half a minute, whatever the cookie says.
    settings.auth_refresh_age = 30
    # As long as the broker's ticket.
    c.JupyterHub.cookie_max_age_days = 1


def _provider(c: Any, site: Site, login: OidcLogin) -> None:
    settings = c.OidcAuthenticator
    settings.login_service = login.title
    settings.authorize_url = login.authorize_url
    settings.token_url = login.token_url
    settings.oauth_callback_url = f"{site.public_url}/hub/oauth_callback"
    settings.scope = ["openid", "profile", "email"]
    settings.client_id = login.client_id
    try:
        settings.client_secret = Path(login.client_secret_file).read_text().strip()
    except OSError as error:
        problem = (
            f"{login.client_secret_file}: {error.strerror}; put the client's secret there, for root and the hub alone"
        )
        raise FactsError([problem]) from None


def _sessions(c: Any, site: Site, client: BrokerClient) -> None:
    handlers.use_ours()
    c.JupyterHub.spawner_class = DavideSpawner
    c.DavideSpawner.site = site
    c.DavideSpawner.broker = client
    DavideSpawner.proof = Proof(SlurmView(), client)
    DavideSpawner.nodes = Nodes([node for partition in site.slurm.partitions for node in partition.nodes])
    c.JupyterHub.allow_named_servers = site.session.per_user > 1
    # How many may run is ours to say (DavideSpawner); this bounds how many names the database keeps.
    c.JupyterHub.named_server_limit_per_user = 4 * site.session.per_user
    # A day in the queue is no failure: DavideSpawner has a clock of its own, which runs once the job does.
    c.DavideSpawner.start_timeout = 30 * 24 * 3600
    # Answered from the one view of Slurm, so it may be often.
    c.DavideSpawner.poll_interval = 5
    # One site's bad day (a full partition, a broken template) is no reason to end the hub.
    c.DavideSpawner.consecutive_failure_limit = 0
    # A refusal of Slurm comes within a second and is told in the form; all else is told on the pending page.
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 1, "slow_stop_timeout": 3}
    # It counts sessions in the queue: a full cluster would lock everybody out.
    c.JupyterHub.concurrent_spawn_limit = 0
    # The call home comes by this way because services, which JupyterHub recommends, know no spawners.
    c.JupyterHub.extra_handlers = [(callhome.PATH, callhome.CallHomeHandler)]


def _pages(c: Any, site: Site, templates: Path) -> None:
    c.JupyterHub.template_paths = [str(templates), str(_PAGES / "templates")]
    c.JupyterHub.template_vars = {"site": site, "slurm": DavideSpawner.proof.view}
    static = (r"/davide/(.*)", StaticFileHandler, {"path": str(_PAGES / "static")})
    c.JupyterHub.extra_handlers = [*c.JupyterHub.extra_handlers, static]
