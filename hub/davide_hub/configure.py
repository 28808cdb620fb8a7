"""From the site's facts to JupyterHub's settings, one small function per subject."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tornado.web import StaticFileHandler

from davide_hub import callhome, gpu_use, handlers, overview, spawn_page
from davide_hub.announce import FILE as ANNOUNCEMENT
from davide_hub.announce import Board
from davide_hub.auth import BrokerAuthenticator, Door, OidcAuthenticator
from davide_hub.broker import tls as broker_tls
from davide_hub.broker.client import BrokerClient, reached_at
from davide_hub.certificates import HubCertificates
from davide_hub.counted import counting
from davide_hub.database import postgresql, require_driver
from davide_hub.desk import Desk
from davide_hub.drain import FILE as DRAIN
from davide_hub.drain import Gate
from davide_hub.facts import FactsError, OidcLogin, Site
from davide_hub.metrics import METRICS_READER
from davide_hub.nodes import Nodes
from davide_hub.overview import may_oversee
from davide_hub.proof import Proof
from davide_hub.routes import LatentProxy, sentinel
from davide_hub.shown import free_name, own_sessions
from davide_hub.slurm import SlurmView, ask_here, through
from davide_hub.spawner import DavideSpawner
from davide_hub.texts import text, texts_of

STATE = Path("/var/lib/davide-hub")
TLS = Path("/etc/davide-hub/tls")
BROKER = Path("/run/davide-broker/broker.sock")
# The password of site.database, as libpq reads it.
PASSFILE = Path("/etc/davide-hub/database.pgpass")
# What a Prometheus shows to read /hub/metrics; no more than that is open to it.
METRICS_TOKEN = Path("/etc/davide-hub/metrics-token")
# A site's own templates, used before ours.
TEMPLATES = Path("/etc/davide-hub/templates")
# templates/ and static/ lie in the wheel beside this file, and in a checkout one folder up.
_PAGES = next(folder for folder in Path(__file__).resolve().parents if (folder / "templates").is_dir())


def configure(
    c: Any,
    site: Site,
    *,
    state: Path = STATE,
    tls: Path = TLS,
    broker: Path = BROKER,
    far_tls: Path = broker_tls.FOLDER,
    passfile: Path = PASSFILE,
    metrics_token: Path = METRICS_TOKEN,
    templates: Path = TEMPLATES,
    announcement: Path = ANNOUNCEMENT,
    drain: Path = DRAIN,
) -> None:
    """Set everything that DAVIDE Hub sets.

    Parameters
    ----------
    c
        JupyterHub's configuration object.
    site
        The site's facts.
    state, tls, broker, far_tls, passfile, metrics_token, templates, announcement, drain
        Where the hub keeps what it must not lose, the certificates, the broker's socket, the certificates for a broker
        on another host, the database's password, the token that reads the metrics, the site's own templates, and what
        `davide-hub announce` and `davide-hub drain` write.
    """
    if site.broker:
        _check_far(far_tls)
    client = BrokerClient(reached_at(site, broker, far_tls))
    gate = Gate(drain, logging.getLogger("jupyterhub.davide.drain"))
    _network(c, site, HubCertificates(tls))
    _state(c, site, state, passfile)
    _login(c, site, client)
    _sessions(c, site, client, gate)
    _metrics(c, site, metrics_token)
    _pages(c, site, templates, announcement, gate)


def _check_far(folder: Path) -> None:
    try:
        broker_tls.hub_context(folder)
    except OSError as error:
        problem = (
            f"{folder}: the hub can't show its broker who it is ({error}); run the plays, which bring what is missing"
        )
        raise FactsError([problem]) from None


def _network(c: Any, site: Site, certificates: HubCertificates) -> None:
    hub = site.hub
    # The address that the proxy listens on; people come by site.public_url.
    c.JupyterHub.bind_url = f"http://127.0.0.1:{hub.proxy_port}"
    c.JupyterHub.public_url = site.public_url
    if site.origins == "per-user":
        # What a user's notebook shows can't reach the hub's pages with the cookies of who looks at it.
        c.JupyterHub.subdomain_host = site.public_url
        # Nor can it put a cookie of its own in the place of the hub's.
        c.JupyterHub.cookie_host_prefix_enabled = True
    # Who the browser is, the front says (nginx.conf.j2): it takes this header from nobody.
    c.JupyterHub.trusted_downstream_ips = ["127.0.0.1"]
    # Compute nodes call this address; the proxy, on the same host, uses it too.
    c.JupyterHub.hub_bind_url = f"https://{hub.address}:{hub.api_port}"
    c.DavideHub.certificates = certificates
    DavideSpawner.certificates = certificates
    # The proxy is a unit of its own: a restart of the hub drops no connection.
    c.JupyterHub.proxy_class = LatentProxy
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{hub.proxy_api_port}"
    c.ConfigurableHTTPProxy.extra_routes = {sentinel(site): c.JupyterHub.hub_bind_url}


def _state(c: Any, site: Site, state: Path, passfile: Path) -> None:
    c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub.sqlite"
    if site.database:
        require_driver(passfile)
        c.JupyterHub.db_url = postgresql(site.database, passfile)
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


def _sessions(c: Any, site: Site, client: BrokerClient, gate: Gate) -> None:
    handlers.use_ours(gate)
    ask = counting(through(client) if site.broker else ask_here)
    spawn_page.use_ours(Desk(site, ask, client))
    c.JupyterHub.spawner_class = DavideSpawner
    c.DavideSpawner.site = site
    c.DavideSpawner.broker = client
    # A host without a broker need not be one of Slurm's.
    DavideSpawner.proof = Proof(SlurmView(ask), client)
    DavideSpawner.nodes = Nodes([node for partition in site.slurm.partitions for node in partition.node_names])
    # What JupyterHub gives by itself, and the right to end just this session: the button in JupyterLab.
    c.DavideSpawner.server_token_scopes = ["users:activity!user", "access:servers!server", "delete:servers!server"]
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
    c.JupyterHub.extra_handlers = [
        (callhome.PATH, callhome.CallHomeHandler),
        (gpu_use.PATH, gpu_use.GpuUseHandler),
        (overview.PATH, overview.OverviewHandler),
        (spawn_page.FIGURES_PATH, spawn_page.FiguresHandler),
    ]


def _metrics(c: Any, site: Site, token: Path) -> None:
    c.DavideHub.site = site
    # Without the file, nobody but administrators reads them.
    if token.is_file():
        c.JupyterHub.services = [{"name": METRICS_READER, "api_token": token.read_text().strip(), "display": False}]
        role = {"name": METRICS_READER, "scopes": ["read:metrics"], "services": [METRICS_READER]}
        c.JupyterHub.load_roles = [role]


def _pages(c: Any, site: Site, templates: Path, announcement: Path, gate: Gate) -> None:
    c.JupyterHub.template_paths = [str(templates), str(_PAGES / "templates")]
    # For each page, jinja would look on the disk whether any of its five templates has changed: half of what it takes.
    c.JupyterHub.jinja_environment_options = {"auto_reload": False}
    board = Board(announcement, logging.getLogger("jupyterhub.davide.announce"))
    # JupyterHub copies what is not a function, and calls what is one.
    c.JupyterHub.template_vars = {
        "site": site,
        "slurm": lambda _user: DavideSpawner.proof.view,
        "text": lambda _user: text,
        "texts_of": lambda _user: texts_of,
        "own_sessions": lambda _user: own_sessions,
        "free_name": lambda _user: free_name,
        "oversees": lambda user: may_oversee(site, user),
        "announcement": lambda _user: board.shown(),
        "drain": lambda _user: gate.drain(),
    }
    static = (r"/davide/(.*)", StaticFileHandler, {"path": str(_PAGES / "static")})
    c.JupyterHub.extra_handlers = [*c.JupyterHub.extra_handlers, static]
