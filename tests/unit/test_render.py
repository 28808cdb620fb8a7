"""The batch script of a session holds checked words and nothing else."""

import shutil
import subprocess
from pathlib import Path

import pytest
from davide_hub.facts import load_site
from davide_hub.plan import Plan
from davide_hub.render import RenderError, render_session
from davide_hub.review import everything

TOP = Path(__file__).parents[2]
SITE = load_site(TOP / "ansible/inventory/local/group_vars/all/site.yml")
GOOD = {
    "user": "student01",
    "session_key": "student01",
    "log_path": "/home/student01/.local/share/davide-hub/student01/session.log",
    "templates": TOP / "spawner_templates",
}


def rendered(profile: int = 0, **changes: object) -> str:
    charge = {name: changes.pop(name) for name in ("account", "qos", "reservation") if name in changes}
    plan = Plan(SITE.profiles[profile], **({"account": "tra26_davide", "qos": "", "reservation": ""} | charge))
    return render_session(SITE, plan, **(GOOD | changes))


def test_a_profile_becomes_lines_for_slurm():
    lines = rendered().splitlines()
    assert "#SBATCH --gres=gpu:tesla:1" in lines
    assert "#SBATCH --cpus-per-task=4" in lines
    assert "#SBATCH --mem=6G" in lines
    assert "#SBATCH --no-requeue" in lines


def test_a_session_without_gpus_asks_for_none():
    assert "gres" not in rendered(profile=2)


def test_a_qos_and_a_reservation_are_lines_where_there_are_any():
    assert "qos" not in rendered()
    assert "reservation" not in rendered()
    lines = rendered(qos="high", reservation="dl-course").splitlines()
    assert {"#SBATCH --qos=high", "#SBATCH --reservation=dl-course"} < set(lines)


def test_the_secrets_are_read_from_beside_the_log():
    assert f"--environment {Path(GOOD['log_path']).with_name('environment.json')}" in rendered()


def test_slurm_directives_come_before_the_first_command():
    """sbatch stops reading at the first line that is no comment."""
    lines = rendered().splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])


@pytest.mark.parametrize("profile", range(len(SITE.profiles)))
def test_bash_can_read_it(profile):
    subprocess.run(["bash", "-n"], input=rendered(profile), text=True, check=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user", "student01\n#SBATCH --uid=0"),
        ("user", "student01\n"),
        ("user", "$(id)"),
        ("qos", "high\n#SBATCH --uid=0"),
        ("reservation", "a b"),
        ("user", "Root"),
        ("user", ""),
        ("account", "-x"),
        ("account", "a b"),
        ("account", "a;b"),
        ("account", "a" * 65),
        ("session_key", "../x"),
        ("session_key", "x..y"),
        ("session_key", "-rf"),
        ("log_path", "relative/session.log"),
        ("log_path", "/home/x/../y/session.log"),
        ("log_path", "/home/my name/session.log"),
        ("log_path", "/home/%u/session.log"),
        ("log_path", "/home/$USER/session.log"),
        ("log_path", "/home/stud\u00e9nt/session.log"),
    ],
)
def test_a_value_that_bash_or_slurm_would_read_is_refused(name, value):
    with pytest.raises(RenderError, match=rf"^{name} .* rename it$") as caught:
        rendered(**{name: value})
    assert str(caught.value).isprintable()


def test_a_missing_template_is_named(tmp_path):
    with pytest.raises(RenderError, match=r"session\.sbatch\.j2: TemplateNotFound"):
        rendered(templates=tmp_path)


@pytest.mark.parametrize("line", ["{{ profil.name }}", "{{ profile.qos }}", "{% if %}", "{{"])
def test_a_mistake_in_a_template_is_no_traceback(tmp_path, line):
    template = tmp_path / "session.sbatch.j2"
    shutil.copy(TOP / "spawner_templates/session.sbatch.j2", template)
    template.write_text(template.read_text() + line)
    with pytest.raises(RenderError, match=r"session\.sbatch\.j2: .*Error.*; compare it with"):
        rendered(templates=tmp_path)


def test_a_unit_that_wants_more_than_site_facts_is_named(tmp_path):
    shutil.copytree(TOP / "spawner_templates", tmp_path / "spawner_templates")
    templates = tmp_path / "ansible/roles/proxy/templates"
    templates.mkdir(parents=True)
    (templates / "x.service.j2").write_text("{{ inventory_hostname }}")
    with pytest.raises(RenderError, match=r"x\.service\.j2: 'inventory_hostname' is undefined; a template uses"):
        everything(SITE, tmp_path)


def test_a_broker_for_a_hub_on_another_host_listens_there(tmp_path):
    unit = "units/davide-broker.service"
    assert "--listen" not in everything(SITE, TOP)[unit]
    (tmp_path / "site.yml").write_text(
        (TOP / "ansible/inventory/local/group_vars/all/site.yml")
        .read_text()
        .replace("  paths:\n", "  broker: {host: ctl01, address: 192.0.2.1, port: 8443}\n  paths:\n", 1)
    )
    lines = everything(load_site(tmp_path / "site.yml"), TOP)[unit].splitlines()
    assert "ExecStart=/opt/davide/envs/hub/bin/davide-broker --listen 192.0.2.1:8443" in lines


@pytest.mark.parametrize("name", ["davide-broker", "davide-front", "jupyterhub", "jupyterhub-proxy"])
def test_a_unit_is_started_again_however_often_it_ends(name):
    before_service, service = everything(SITE, TOP)[f"units/{name}.service"].split("[Service]")
    assert "StartLimitIntervalSec=0" in before_service.splitlines()
    assert "RestartSec=500ms" in service.splitlines()
