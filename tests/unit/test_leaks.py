"""The search for secrets finds what is there, tells where it could not look; the table allows no more than it says."""

import json
import os
import subprocess
import sys

import pytest
from leaks import search
from leaks.allowed import place_of
from leaks.known import Secret

WORD = f"word-{os.getpid()}"


def look(roots=(), commands=None, word=WORD):
    """Run the search as a host does, with two words; return what it prints."""
    order = {
        "words": {"first": [word], "second": ["another word that is nowhere"]},
        "roots": [str(root) for root in roots],
        "elsewhere": [],
        "commands": commands or {},
    }
    command = [sys.executable, "-I", search.__file__]
    done = subprocess.run(command, input=json.dumps(order), capture_output=True, text=True, check=True)
    assert word not in done.stdout, "it prints names alone"
    return json.loads(done.stdout)


def test_words_in_files_are_found_with_owner_and_mode(tmp_path):
    names = ["plain", "with a line\nbreak"]
    for name in names:
        (tmp_path / name).write_bytes(b"\0\xff" + WORD.encode() + b"\0")
        (tmp_path / name).chmod(0o640)
    found = look([tmp_path])["finds"]
    assert [one["place"] for one in found] == [str(tmp_path / name) for name in names]
    assert {(one["name"], one["mode"]) for one in found} == {("first", "0640")}


def test_words_in_what_commands_print_are_found_and_a_command_that_fails_is_a_problem(tmp_path):
    commands = {"good": f"echo {WORD[:4]}''{WORD[4:]}", "bad": "echo nothing; false | cat"}
    told = look([tmp_path], commands)
    assert [one["place"] for one in told["finds"] if one["name"] == "first"] == ["good"]
    assert [problem.partition(":")[0] for problem in told["problems"]][:1] == ["bad"]


def test_words_in_environment_and_argv_are_found(tmp_path):
    sleep = [sys.executable, "-c", "input()", WORD]
    with subprocess.Popen(sleep, env={"A": WORD}, stdin=subprocess.PIPE) as running:
        try:
            found = {one["place"].split()[0] for one in look([tmp_path])["finds"]}
        finally:
            running.kill()
    assert found == {"environ", "cmdline"}


GOOD = {
    "place": "/home/student01/.local/share/davide-hub/0a1b/environment.json",
    "owner": "student01",
    "mode": "0600",
}


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "0644"},
        {"owner": "student02"},
        {"place": "/home/student01/.local/share/davide-hub/ffff/environment.json"},
        {"place": "/home/student02/.local/share/davide-hub/0a1b/environment.json"},
        {"place": "cmdline of python3", "mode": ""},
    ],
)
def test_a_secret_may_be_where_the_table_says_and_nowhere_else(change):
    secret = Secret("session token", "student01/0a1b", ("made-up",))
    assert place_of("hub01", GOOD, secret)
    assert place_of("hub01", GOOD | change, secret) is None
    assert place_of("ctl01", GOOD, secret) is None


def test_what_has_served_its_time_may_be_nowhere():
    assert place_of("hub01", GOOD, Secret("session token", "student01/0a1b", ("made-up",), valid=False)) is None
