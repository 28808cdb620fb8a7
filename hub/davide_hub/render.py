"""The batch script of a session, from the site's facts and a template that administrators may edit."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from davide_hub.facts import Site
from davide_hub.plan import Plan
from davide_hub.profiles import find_partition, gres

# Where Ansible puts the templates on the hub's host. Only root may write there.
SPAWNER_TEMPLATES = Path("/etc/davide-hub/spawner_templates")

# What is not a fact of the site comes from the system (user, home) or from the hub (key, account). It stands
# in #SBATCH lines and in a shell command, so it must be a word that neither Slurm nor bash reads anything
# into. No "%": Slurm expands it in file names.
_PATTERNS = {
    "user": re.compile(r"[a-z_][a-z0-9_.-]{0,31}"),
    "account": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"),
    "qos": re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?"),
    "reservation": re.compile(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,63})?"),
    "session_key": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"),
    "log_path": re.compile(r"(/[A-Za-z0-9_.+@-]+)+"),
}


class RenderError(Exception):
    """A script can't be made. `str()` says from which value, and what to do."""


def render_session(
    site: Site,
    plan: Plan,
    *,
    user: str,
    session_key: str,
    log_path: Path | str,
    templates: Path = SPAWNER_TEMPLATES,
) -> str:
    """Return the batch script of one session.

    Parameters
    ----------
    site
        The site's facts.
    plan
        What the session gets, and what it is charged to.
    user
        Whose session it is.
    session_key
        The name of the session's folder under ~/.local/share/davide-hub; part of the job's name.
    log_path
        Where the job's output goes. The session reads its secrets from `environment.json` beside it.
    templates
        The folder with session.sbatch.j2.

    Raises
    ------
    RenderError
        If a value is not a plain word or path, or the template is missing or broken.
    """
    profile = plan.profile
    checked = {
        "user": user,
        "account": plan.account,
        "qos": plan.qos,
        "reservation": plan.reservation,
        "session_key": session_key,
        "log_path": str(log_path),
    }
    for name, value in checked.items():
        _require_plain(name, value)
    partition = find_partition(site.slurm.partitions, profile.partition)
    return _render(
        templates / "session.sbatch.j2",
        checked
        | {
            "profile": profile,
            "gres": gres(profile, partition),
            "software": site.paths.software,
            "environment_path": str(Path(log_path).with_name("environment.json")),
            "default_kernel": site.session.default_kernel,
            "course_folder": site.course.folder,
            "session": site.session,
        },
    )


def _require_plain(name: str, value: str) -> None:
    if not _PATTERNS[name].fullmatch(value) or ".." in value:
        shown = ascii(value)[:80]
        raise RenderError(f"{name} {shown} has characters that must not stand in a batch script; rename it")


def _render(template: Path, values: dict[str, object]) -> str:
    try:
        return _environment(template.parent).get_template(template.name).render(values)
    except TemplateError as error:
        reason = f"{type(error).__name__}: {error}"
        raise RenderError(f"{template}: {reason}; compare it with spawner_templates/ of the release") from None
    except OSError as error:
        raise RenderError(f"{template}: {error.strerror}; give the template back its place and mode") from None


@cache
def _environment(folder: Path) -> Environment:
    # Kept, with the templates that it has compiled: that takes longer than all else of a start. A file that has
    # changed is read again.
    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - a shell script, not a page; every value is a checked word
    )
