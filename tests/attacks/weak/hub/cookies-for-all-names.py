"""Cookies that hold for the names of users too, and that pages at those names may set."""

from pathlib import Path
from urllib.parse import urlsplit

from davide_hub.facts import load_site

c = get_config()  # noqa: F821 - traitlets puts it here
c.JupyterHub.cookie_host_prefix_enabled = False
c.JupyterHub.cookie_options = {"domain": urlsplit(load_site(Path("/etc/davide-hub/site.yml")).public_url).hostname}
