"""The parts of the bench that need no cluster."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import aiohttp
import pytest
from bench import hub, kernels
from bench.client import told
from bench.counters import Cost, by_type, used
from bench.measure import moments_of, p95, split
from bench.ours import with_stand_in, with_start_time
from bench.probe import longest, probing
from bench.report import as_data, table
from bench.rows import Row, rows
from bench.sockets import Sockets
from bench.systems import System
from davide_lab.say import Problem

DATA = Path(__file__).parent / "data"
STAND_IN = Path(hub.__file__).parent / "files" / "stand_in.py"


def system(port: int) -> System:
    """Return a hub that answers on a port of this machine."""
    url = f"http://127.0.0.1:{port}"
    return System(name="ours", url=url, form={}, unit="none", log="", keeps_connections=2)


def test_requests_are_counted_by_kind():
    kinds = by_type((DATA / "sdiag-22.05.txt").read_text())
    assert kinds == {
        "REQUEST_SUBMIT_BATCH_JOB": 100,
        "REQUEST_STATS_INFO": 3,
        "REQUEST_JOB_INFO": 1,
        "REQUEST_PARTITION_INFO": 1,
    }


def test_what_the_daemons_say_among_themselves_does_not_count():
    kinds = {"REQUEST_JOB_INFO": 3, "MESSAGE_EPILOG_COMPLETE": 50, "REQUEST_STATS_INFO": 1}
    assert Cost(seconds=30, kinds=kinds, accounting=0, cpu=1.5).requests_per_minute == 6


def test_processor_time_is_read_past_any_name_and_with_children():
    stat = "42 (a) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 30 20 20 0 1 0 100 1 1"
    assert used(stat) == 2.5


def test_the_longest_silence_is_what_goes_beyond_the_pause():
    assert longest([0, 0.02, 0.04, 1.56, 1.58], 0.02) == pytest.approx(1.5)
    assert longest([0], 0.02) == 0


def test_a_start_is_split_by_what_its_log_says():
    log = "bench: script 1795558941.5\n[I 2026-11-24 22:22:22.775 SessionServer] Jupyter Server 2.21.1 is running at:\n"
    script, listens = moments_of(log)
    assert script == 1795558941.5
    assert time.strftime("%H:%M:%S", time.localtime(listens)) == "22:22:22"
    assert split([10.0, 10.5, 12.0, 12.25]) == (0.5, 1.5, 0.25)


def test_a_log_without_the_moments_is_shown():
    with pytest.raises(Problem, match=r"(?s)does not say when it began.*no such file"):
        moments_of("no such file")


def test_p95_of_few_values_is_between_the_last_two():
    assert p95([1.0]) == 1.0
    assert 9 < p95([float(value) for value in range(1, 11)]) <= 10


def test_our_script_gets_a_stand_in_and_keeps_its_orders(request):
    template = (request.config.rootpath / "spawner_templates/session.sbatch.j2").read_text()
    changed = with_stand_in(template, Path("/shared/stand_in.py"))
    assert "#SBATCH --cpus-per-task=1\n#SBATCH --mem=16M\n" in changed
    assert changed.endswith("exec /usr/bin/python3 -I -S /shared/stand_in.py {{ environment_path }}\n")
    assert "--no-requeue" in changed
    assert "davide_session" not in changed


def test_our_script_tells_when_it_began_and_is_otherwise_the_same(request):
    template = (request.config.rootpath / "spawner_templates/session.sbatch.j2").read_text()
    changed = with_start_time(template)
    assert changed.replace('echo "bench: script $EPOCHREALTIME"\n', "") == template


def test_a_row_says_whether_what_is_asked_was_reached():
    absolute, relative, free = Row("a", "A", "s", most=1), Row("b", "B", "s", ratio=0.5), Row("c", "C", "s")
    assert absolute.reached({"ours": 1.0, "stock": 0.1}) is True
    assert absolute.reached({"ours": 1.1}) is False
    assert relative.reached({"ours": 2.0, "stock": 4.0}) is True
    assert relative.reached({"ours": 2.0}) is None
    assert free.reached({"ours": 2.0, "stock": 4.0}) is None


def test_the_table_and_the_data_hold_what_was_measured():
    every = rows(100, 50, 5000, 5, 100, 200, 500)
    measured = {"rpc_pending": {"ours": 9.2, "stock": 3360.0}, "click": {"ours": 2.0, "stock": 2.5}}
    shown = table(every, measured)
    assert "Slurm RPCs, 50 pending" in shown
    assert "<= 0.75 x stock NO" in shown
    assert "500 starts" not in shown
    data = as_data(every, measured, {"release": "bookworm"})
    assert [row["reached"] for row in data["rows"]] == [True, False]
    assert json.loads(json.dumps(data)) == data


def test_an_alert_is_read_from_a_page():
    assert told('<p class="alert alert-danger" role="alert">No such\n partition</p>') == "No such partition"


def test_bench_alone_lists_its_subjects(request):
    root = request.config.rootpath
    done = subprocess.run(
        [sys.executable, "-m", "bench", root],
        capture_output=True,
        text=True,
        check=True,
        cwd=root / "tests",
        env={"PYTHONPATH": f"{root}/tests:{root}/ansible/lab:{root}/hub"},
    )
    assert done.stdout.startswith("hub ")


class FakeHub(BaseHTTPRequestHandler):
    """Hears calls home, and says that it is well."""

    protocol_version = "HTTP/1.1"
    calls: list[tuple[str, str, dict]] = []  # noqa: RUF012 - each test looks at its own end of the list

    def do_POST(self):
        """Note a call home."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.calls.append((self.path, self.headers["Authorization"], body))
        self._answer(201)

    def do_GET(self):
        """Be well."""
        self._answer(200)

    def _answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def fake_hub():
    """Yield the port of a hub that hears calls home."""
    FakeHub.calls.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["ours", "stock"])
def stand_in(request, fake_hub, tmp_path):
    """Yield the protocol and the port of a stand-in that has called home."""
    environ = {"JUPYTERHUB_API_URL": f"http://127.0.0.1:{fake_hub}/hub/api", "JUPYTERHUB_API_TOKEN": "secret"}
    if request.param == "ours":
        (tmp_path / "environment.json").write_text(json.dumps(environ))
        arguments, environ = [str(tmp_path / "environment.json")], {}
    else:
        arguments = ["stand-in"]
    with subprocess.Popen([sys.executable, "-I", "-S", STAND_IN, *arguments], env=environ) as running:
        deadline = time.monotonic() + 20
        while not FakeHub.calls and time.monotonic() < deadline:
            time.sleep(0.01)
        yield request.param, FakeHub.calls[0][2]["port"]
        running.terminate()


def test_a_stand_in_calls_home_as_its_hub_wants_it(stand_in):
    protocol, port = stand_in
    path, authorization, body = FakeHub.calls[0]
    assert path == {"ours": "/hub/api/davide/call-home", "stock": "/hub/api/batchspawner"}[protocol]
    assert authorization == "token secret"
    assert body == {"port": port}


def test_a_stand_in_answers_and_echoes(stand_in):
    _, port = stand_in

    async def talk():
        url = f"http://127.0.0.1:{port}/user/bench001"
        async with aiohttp.ClientSession() as browser, browser.get(f"{url}/api") as answer:
            assert await answer.json(content_type=None) == {"version": "2.21.0"}
        async with Sockets(system(port), ["bench001"]) as sockets:
            return await sockets.dropped()

    assert asyncio.run(talk()) == 0


def test_a_websocket_that_breaks_counts_as_dropped(stand_in):
    _, port = stand_in

    async def talk():
        async with Sockets(system(port), ["bench001", "bench002"]) as sockets:
            await next(iter(sockets.opened)).close()
            return await sockets.dropped()

    assert asyncio.run(talk()) == 1


def test_the_probe_finds_a_hub_that_answers(fake_hub):
    with probing(system(fake_hub)) as silence:
        time.sleep(0.2)
    assert silence.answers > 1
    assert silence.failures == 0


def test_the_probe_tells_how_long_a_hub_was_deaf():
    class Deaf(FakeHub):
        asked = 0

        def do_GET(self):
            Deaf.asked += 1
            if Deaf.asked == 3:
                time.sleep(0.3)
            self._answer(200)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Deaf)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with probing(system(server.server_address[1])) as silence:
        while Deaf.asked < 5:
            time.sleep(0.01)
    server.shutdown()
    server.server_close()
    assert silence.worst > 0.25


def test_lookups_and_opens_below_an_environment_are_counted():
    trace = (
        '7 newfstatat(AT_FDCWD, "/env/lib/a.py", {st_mode=S_IFREG|0644}, 0) = 0\n'
        '7 openat(AT_FDCWD, "/env/lib/a.pyc", O_RDONLY|O_CLOEXEC) = 3\n'
        '7 newfstatat(3, "", {st_mode=S_IFREG|0644}, AT_EMPTY_PATH) = 0\n'
        '7 openat(AT_FDCWD, "/env/lib/b.pyc", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)\n'
        '7 openat(AT_FDCWD, "/usr/lib/c.pyc", O_RDONLY|O_CLOEXEC) = 3\n'
    )
    assert kernels.count(trace, "/env") == {"lookups": 3, "opens": 1}
