"""JupyterHub's configuration: the site's facts, applied. A site's own settings: jupyterhub_config.d/*.py."""

from pathlib import Path

from davide_hub.configure import configure
from davide_hub.facts import load_site

HERE = Path(__file__).resolve().parent

c = get_config()  # noqa: F821 - traitlets puts it here
configure(c, load_site(HERE / "site.yml"))

for drop_in in sorted((HERE / "jupyterhub_config.d").glob("*.py")):
    load_subconfig(str(drop_in))  # noqa: F821
