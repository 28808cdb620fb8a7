"""Everything that a cluster would get, as files to look at: from a checkout, without cluster, root or network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, StrictUndefined, TemplateError

from davide_hub.facts import Site
from davide_hub.render import RenderError, render_session

# The roles with units that every site gets; the others are the local cluster's.
_ROLES = ("broker", "proxy", "jupyterhub")
# Whose session the scripts show.
_USER = "student01"
_FOLDER = Path(f"/home/{_USER}/.local/share/davide-hub/{_USER}")


def everything(site: Site, checkout: Path) -> dict[str, str]:
    """Return the text of every file, by its path below the output folder.

    Parameters
    ----------
    site
        The site's facts.
    checkout
        The project's top folder.

    Raises
    ------
    RenderError
        If a template is broken, or wants a variable that is no fact of the site.
    """
    return scripts(site, checkout / "spawner_templates") | _units(site, checkout) | _kernels(site, checkout)


def scripts(site: Site, templates: Path) -> dict[str, str]:
    """Return the batch script of every profile."""
    return {
        f"session-{profile.name}.sbatch": render_session(
            site,
            profile,
            user=_USER,
            account=site.slurm.account,
            session_key=_USER,
            log_path=_FOLDER / "session.log",
            templates=templates,
        )
        for profile in site.profiles
    }


def _units(site: Site, checkout: Path) -> dict[str, str]:
    found = [p for role in _ROLES for p in sorted(checkout.glob(f"ansible/roles/{role}/templates/*.service.j2"))]
    return {f"units/{template.stem}": _as_ansible(template, site=_plain(site)) for template in found}


def _kernels(site: Site, checkout: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    variables = yaml.safe_load((checkout / "ansible/roles/kernels/vars/main.yml").read_text())
    for name in site.kernels:
        recipe = yaml.safe_load((checkout / f"kernels/{name}/kernel.yml").read_text())
        spec = _filled(variables["kernels_spec"], {"kernels_recipe": recipe})
        files[f"kernels/{name}/kernel.json"] = json.dumps(spec, indent=4, sort_keys=True) + "\n"
        files[f"kernels/{name}/launch"] = _as_ansible(
            checkout / "kernels/launch.j2",
            site=_plain(site),
            kernels_name=name,
            kernels_environment=recipe["environment"],
        )
    return files


def _plain(site: Site) -> dict[str, Any]:
    return site.model_dump(mode="json")


def _as_ansible(template: Path, **variables: Any) -> str:
    try:
        return _environment().from_string(template.read_text()).render(ansible_managed="Ansible managed", **variables)
    except TemplateError as error:
        raise RenderError(
            f"{template}: {error}; a template uses site facts only, see hub/davide_hub/review.py"
        ) from None


def _filled(value: Any, variables: dict[str, Any]) -> Any:
    if isinstance(value, str):
        return _environment().from_string(value).render(variables)
    if isinstance(value, dict):
        return {key: _filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, variables) for inner in value]
    return value


def _environment() -> Environment:
    # The settings that Ansible's template module has.
    return Environment(trim_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined, autoescape=False)  # noqa: S701
