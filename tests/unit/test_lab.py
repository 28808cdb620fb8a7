"""The parts of the local cluster's code that need no cluster."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from davide_lab import bundle, parts, toolbox
from davide_lab.__main__ import main
from davide_lab.accounts import password
from davide_lab.base import configured_mirror, require_room
from davide_lab.host import start_time
from davide_lab.parts import PARTS, counted, in_turn
from davide_lab.place import hosts, read_json, site_facts, write_atomically
from davide_lab.provision import Change
from davide_lab.run import run
from davide_lab.say import Problem, minutes


@pytest.fixture
def root(request):
    """Return the checkout."""
    return request.config.rootpath


def test_inventory_names_the_four_hosts(root):
    assert [host.name for host in hosts(root)] == ["hub01", "ctl01", "gpu01", "gpu02"]
    assert all(len(host.cable) <= 15 for host in hosts(root))


def test_site_facts_and_inventory_agree_on_the_hub(root):
    hub = next(host for host in hosts(root) if host.role == "hub")
    assert (site_facts(root)["hub"]["host"], site_facts(root)["hub"]["address"]) == (hub.name, hub.address)


@pytest.mark.parametrize(("seconds", "text"), [(2.34, "2.3 s"), (42, "42 s"), (185, "3 min 05 s")])
def test_durations_read_as_people_say_them(seconds, text):
    assert minutes(seconds) == text


def test_passwords_differ_and_are_easy_to_type():
    made = {password() for _ in range(100)}
    assert len(made) == 100
    assert all(len(one) == 14 and set(one) <= set("abcdefghjkmnpqrstuvwxyz23456789-") for one in made)


def test_failing_program_says_what_failed_and_what_to_do():
    with pytest.raises(Problem, match=r"`false` failed with status 1. Check the network"):
        run(["false"], hint="Check the network")


def test_missing_program_is_named():
    with pytest.raises(Problem, match="no-such-program is missing on this machine; install it"):
        run(["no-such-program"])


def test_room_is_demanded_in_gigabytes(tmp_path):
    with pytest.raises(Problem, match="1e\\+09 GB are needed; make room"):
        require_room(tmp_path / "not" / "yet", 1e9)


def test_file_is_old_or_new_but_never_half_when_the_writer_is_killed(tmp_path):
    target = tmp_path / "state.json"
    write_atomically(target, json.dumps({"all": "old" * 1000}))
    writer = (
        "import json, sys; from pathlib import Path; from davide_lab.place import write_atomically\n"
        "while True:\n"
        "  for word in ('old', 'new'): write_atomically(Path(sys.argv[1]), json.dumps({'all': word * 1000}))\n"
        "  print(flush=True)"
    )
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", writer, str(target)], stdout=subprocess.PIPE) as running:
            running.stdout.readline()
            running.send_signal(signal.SIGKILL)
        assert read_json(target)["all"] in ("old" * 1000, "new" * 1000)


def test_half_written_json_is_not_taken_for_no_file(tmp_path):
    (tmp_path / "broken.json").write_text('{"a":')
    with pytest.raises(json.JSONDecodeError):
        read_json(tmp_path / "broken.json")
    assert read_json(tmp_path / "none.json") == {}


def test_process_that_ended_has_no_start_time():
    child = subprocess.Popen(["true"])
    child.wait()
    assert start_time(child.pid) is None
    assert start_time(os.getpid()) is not None


def test_lock_entry_keeps_its_hashes():
    lock = "a==1 \\\n    --hash=sha256:1 \\\n    --hash=sha256:2\nuv==2 \\\n    --hash=sha256:3\nz==1\n"
    assert toolbox.requirement(lock, "uv") == "uv==2 \\\n    --hash=sha256:3\n"


def test_environment_moves_with_its_scripts(tmp_path):
    made, final = tmp_path / "made", tmp_path / "final"
    (made / "bin").mkdir(parents=True)
    (made / "bin" / "tool").write_text(f"#!{made}/bin/python\n")
    toolbox.move_environment(made, final)
    assert (final / "bin" / "tool").read_text() == f"#!{final}/bin/python\n"
    assert not made.exists()


def test_part_of_the_bundle_is_made_once_and_again_after_a_change(tmp_path):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "file").write_text("content")

    for stamp in ("one", "one", "two"):
        bundle.make_part(tmp_path, "debs", stamp, make)
    assert len(made) == 2
    assert json.loads((tmp_path / "debs" / ".files.json").read_text())["file"].startswith("ed7002b4")


def test_part_that_fails_leaves_the_old_one_in_place(tmp_path):
    bundle.make_part(tmp_path, "debs", "one", lambda folder: (folder / "file").write_text("old"))

    def fail(folder):
        raise Problem("the registry is out of reach")

    with pytest.raises(Problem):
        bundle.make_part(tmp_path, "debs", "two", fail)
    assert (tmp_path / "debs" / "file").read_text() == "old"


def test_bundle_collects_the_packages_that_roles_name(root):
    assert {"munge", "slurmctld", "slurmd", "mariadb-server"} <= set(bundle.deb_packages(root))


def test_every_lock_has_hashes_and_no_address(root):
    locks = [
        *bundle.lock_files(root, "py311").values(),
        *bundle.lock_files(root, "py313").values(),
        root / "ansible/lab/tools.lock",
    ]
    for lock in locks:
        text = lock.read_text()
        assert text.count("==") <= text.count("--hash=sha256:")
        assert "://" not in text


def test_apt_sources_name_the_release_and_its_security_fixes():
    rows = bundle.apt_sources("trixie").splitlines()
    assert any(row.endswith(" trixie main") for row in rows)
    assert all("trixie" in row and "signed-by" in row for row in rows)
    assert configured_mirror().endswith("/debian")


def test_change_reads_as_a_sentence():
    assert str(Change("gpu01", "slurm_node : Write gres.conf", "")) == "gpu01: slurm_node : Write gres.conf"


@pytest.mark.parametrize(("word", "count"), [("passed", 12), ("failed", 2), ("error", 0)])
def test_closing_line_of_pytest_is_read(word, count):
    assert counted("==== 2 failed, 12 passed, 1 warning in 3.21s ====", word) == count


def test_what_the_system_refuses_is_told_in_a_sentence(root, monkeypatch, capsys):
    def full(*_):
        raise OSError(28, "No space left on device", "/var/lib/davide-lab/cluster.json")

    monkeypatch.setattr("davide_lab.verbs.cluster.up", full)
    assert main([str(root), "up"]) == 1
    told = capsys.readouterr().err
    assert told.startswith(
        "davide: /var/lib/davide-lab/cluster.json: No space left on device; mend that and run it again"
    )


def test_every_part_of_the_suite_runs_once_whatever_is_chosen():
    for chosen in (list(PARTS), ["model"], ["browser", "attacks"], ["faults", "fuzz"]):
        turns = in_turn(chosen)
        ran = [name for first, companions in turns for name in (first, *companions)]
        assert sorted(ran) == sorted(set(chosen) - {"check"})
    assert dict(in_turn(list(PARTS)))["faults"] == ["model", "kernels", "fuzz"]
    assert in_turn(["model"]) == [("model", [])]


def test_the_suite_checks_while_the_cluster_comes_up(monkeypatch, tmp_path, capsys):
    both = threading.Barrier(2, timeout=20)
    monkeypatch.setattr(parts, "check", lambda _root: int(both.wait() < 0))
    monkeypatch.setattr(parts.up, "up", lambda _root: both.wait())
    monkeypatch.setattr(parts, "run_pytest", lambda _root, name, *_: parts.Outcome(name, 0, 1.0, passed=2))
    assert parts.suite(tmp_path, ["check", "attacks"]) == 0
    told = capsys.readouterr().out
    assert [row.split()[0] for row in told.splitlines() if "all right" in row] == ["check", "up", "attacks"]
    assert "2 passed, 0 failed" in told
