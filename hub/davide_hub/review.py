"""Everything that a cluster would get, as files to look at: from a checkout, without cluster, root or network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from davide_hub.facts import Site
from davide_hub.kernels.recipe import load_recipe
from davide_hub.plan import Plan
from davide_hub.render import RenderError, render_session

# The roles whose templates every site gets; the others are the local cluster's.
_ROLES = ("broker", "front", "firewall", "proxy", "jupyterhub")
_FOLDERS = {".service": "units", ".conf": "front", ".nft": "firewall"}
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
    return scripts(site, checkout / "spawner_templates") | _of_roles(site, checkout) | _kernels(site, checkout)


def scripts(site: Site, templates: Path) -> dict[str, str]:
    """Return the batch script of every profile."""
    return {
        f"session-{profile.name}.sbatch": render_session(
            site,
            # As on any day on which no course runs.
            Plan(profile, site.slurm.account, qos="", reservation=""),
            user=_USER,
            session_key=_USER,
            log_path=_FOLDER / "session.log",
            templates=templates,
        )
        for profile in site.profiles
    }


def _of_roles(site: Site, checkout: Path) -> dict[str, str]:
    found = [p for role in _ROLES for p in sorted(checkout.glob(f"ansible/roles/{role}/templates/*.j2"))]
    texts = {Path(template.stem): _as_ansible(template, site=_plain(site)) for template in found}
    return {f"{_FOLDERS[name.suffix]}/{name}": text for name, text in texts.items()}


def _kernels(site: Site, checkout: Path) -> dict[str, str]:
    return {
        f"kernels/{name}/{file}": text for name in site.kernels for file, text in kernel(site, checkout, name).items()
    }


def kernel(site: Site, checkout: Path, name: str) -> dict[str, str]:
    """Return kernel.json and launch script of one kernel, as a site would get them."""
    variables = yaml.safe_load((checkout / "ansible/roles/kernels/vars/main.yml").read_text())
    recipe = load_recipe(checkout / f"kernels/{name}/kernel.yml").model_dump(mode="json")
    spec = _filled(variables["kernels_spec"], {"kernels_recipe": recipe})
    launch = _as_ansible(
        checkout / "kernels/launch.j2",
        site=_plain(site),
        kernels_name=name,
        kernels_recipe=recipe,
        kernels_environment=recipe["environment"],
    )
    return {"kernel.json": json.dumps(spec, indent=4, sort_keys=True) + "\n", "launch": launch}


def _plain(site: Site) -> dict[str, Any]:
    return site.model_dump(mode="json")


def _as_ansible(template: Path, **variables: Any) -> str:
    try:
        return (
            _environment(template.parent)
            .from_string(template.read_text())
            .render(ansible_managed="Ansible managed", **variables)
        )
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


def _environment(folder: Path | None = None) -> Environment:
    # The settings that Ansible's template module has; it also looks for included files beside the template.
    return Environment(
        loader=FileSystemLoader(folder) if folder else None,
        trim_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
    )
