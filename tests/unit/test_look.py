"""What the preflight asks hosts, in three rounds, and the program that looks there."""

from __future__ import annotations

import base64
import errno
import json
import socket
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

from davide_hub.health import look
from davide_hub.health.plan import asked, encoded, merged
from looked import AUTHORITY, GOOD, SCENE, SITE


def test_what_the_plays_set_up_themselves_is_not_asked_before():
    plan = asked(SITE, replace(SCENE, made=frozenset({"slurm", "certificate"})), 1, {})
    assert set(plan["hub01"]) == {"room", "written", "listening", "called", "commands"}
    assert set(plan["hub01"]["commands"]) == {"front"}
    full = asked(SITE, SCENE, 1, {})
    assert {"job", "accounts", "encoded", "certificate"} < set(full["hub01"])
    assert set(full["gpu01"]) == set()


def test_later_rounds_ask_about_what_earlier_ones_left():
    first = {"hub01": GOOD["hub01"]}
    second = asked(SITE, SCENE, 2, first)
    assert second["gpu01"]["read"] == "/software/davide/.davide-preflight-1"
    assert second["gpu01"]["decoded"] == {"hub01": "MUNGE:abc:"}
    assert second["gpu01"]["accounts"] == {"names": ["admin01"]}
    third = asked(SITE, SCENE, 3, GOOD)
    assert third["hub01"]["called"] == [["gpu01", 40001], ["gpu02", 40002]]
    assert third["hub01"]["removed"] == "/software/davide/.davide-preflight-1"
    assert third["hub01"]["ended"] == 7


def test_rounds_are_put_together():
    one, two = {"a": {"time": 1, "called": {"x": 1}}}, {"a": {"time": 2, "called": {"y": 2}, "read": "w"}}
    assert merged([one, two]) == {"a": {"time": 1, "called": {"x": 1, "y": 2}, "read": "w"}}


def program(**plan: Any) -> dict[str, Any]:
    """Run the program that looks, as it runs on a host."""
    command = ["/usr/bin/python3", "-I", look.__file__, encoded(plan)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout)


def test_the_program_needs_nothing_but_python_and_looks_at_this_host(tmp_path):
    found = program(
        room=[str(tmp_path / "not/there")],
        written={"folder": str(tmp_path / "not/there"), "name": "probe", "word": "abc"},
        accounts={"names": ["root", "nosuch"], "group": "nosuch"},
        commands={"good": {"argv": ["echo", "word"]}, "none": {"argv": ["nosuch-command"]}},
        names=["127.0.0.1"],
    )
    assert found["room"][str(tmp_path / "not/there")]["at"] == str(tmp_path)
    assert found["written"] == {"path": str(tmp_path / "probe"), "word": "abc", "why": ""}
    assert (found["accounts"]["group"], found["accounts"]["numbers"]["nosuch"]) == (None, None)
    assert found["accounts"]["numbers"]["root"]["uid"] == 0
    assert found["commands"]["good"] == {"code": 0, "out": "word\n", "err": ""}
    assert found["commands"]["none"]["code"] == -1
    assert found["names"] == {"127.0.0.1": ["127.0.0.1"]}
    again = program(read=found["written"]["path"], removed=found["written"]["path"])
    assert again["read"] == {"word": "abc", "why": ""}
    assert list(tmp_path.iterdir()) == []


def is_refused(port: int) -> bool:
    """Return whether nobody listens any more; silence is a queue that is full."""
    with socket.socket() as caller:
        caller.settimeout(1)
        return caller.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


def test_the_program_listens_where_nobody_does_until_it_is_ended(wait_for):
    first = program(listening=[["127.0.0.1", 0], ["192.0.2.1", 80]])["listening"]
    port = first["127.0.0.1:0"]["port"]
    assert first["192.0.2.1:80"]["by"] == "nobody"
    try:
        assert program(called=[["127.0.0.1", port]])["called"][f"127.0.0.1:{port}"]["heard"]
        assert program(listening=[["127.0.0.1", port]])["listening"][f"127.0.0.1:{port}"]["by"] == "others"
    finally:
        assert program(ended=first["process"]["id"])["ended"] == {"why": ""}
    wait_for(lambda: is_refused(port), "somebody still listens", 30)


def test_the_program_tells_whether_a_key_is_a_certificates(tmp_path):
    AUTHORITY.write(tmp_path, "one")
    pair = {"certificate": str(tmp_path / "one.crt"), "key": str(tmp_path / "one.key")}
    assert program(certificate=pair)["certificate"]["key"] == "good"
    subprocess.run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair["key"]], check=True)
    assert program(certificate=pair)["certificate"]["key"] == "KEY_VALUES_MISMATCH"
    Path(pair["key"]).unlink()
    assert program(certificate=pair)["certificate"]["why"] == f"{pair['key']}: No such file or directory"


def test_the_program_is_one_that_python_36_reads():
    """RHEL 8's own Python: compute nodes have it, whatever the hub has."""
    import ast

    ast.parse(Path(look.__file__).read_text(), feature_version=(3, 6))


def test_a_plan_passes_a_shell_as_one_word():
    word = encoded({"names": ["$(id); '\""]})
    assert json.loads(base64.b64decode(word)) == {"names": ["$(id); '\""]}
    assert set(word) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
