"""The parts of the test suite: what each runs, and how long it took."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from davide_lab import up
from davide_lab.place import read_json, release
from davide_lab.say import Problem, line, minutes
from davide_lab.toolbox import install_packages

FUZZ_REQUESTS = 200_000
OPERATIONS_PACKAGES = ["postgresql", "prometheus"]
BROWSER_PACKAGES = ["chromium", "fonts-dejavu-core"]
_ALL_FAULTS = {"DAVIDE_FAULTS_LONG": "yes"}
CONTROLS = ("stock", "never_dead", "absence_is_death")


_KERNELS = (
    "tests/unit/test_job_kernels_session.py",
    "tests/unit/test_kernel_conformance.py",
    "tests/unit/test_session_local_kernels.py",
    "tests/unit/test_session_warm.py",
)


@dataclass(frozen=True)
class Outcome:
    """What one part came to."""

    part: str
    status: int
    seconds: float
    passed: int = 0
    failed: int = 0


def tool(name: str) -> str:
    """Return a program of the tool environment."""
    return str(Path(sys.executable).parent / name)


def check(root: Path) -> int:
    """Run ruff, mypy, ansible-lint and the unit tests side by side, and print what each found.

    Those that start real sessions and kernels are a part of their own: they mostly wait, and would double the time.
    """
    python_sources = ["davide", "ansible", "hub", "kernels", "notebooks", "tests"]
    slow = {root / path for path in _KERNELS}
    files = sorted(path for path in (root / "tests/unit").glob("test_*.py") if path not in slow)
    # In three and the longest first, so that neither core is idle for long.
    a_to_g, h_to_r, s_to_z = (
        [str(path) for path in files if first <= path.name[len("test_") :] < end]
        for first, end in (("", "h"), ("h", "s"), ("s", "~"))
    )
    commands = {
        "unit tests from h to r": [sys.executable, "-m", "pytest", "-q", *h_to_r],
        "unit tests from s to z": [sys.executable, "-m", "pytest", "-q", *s_to_z],
        "unit tests from a to g": [sys.executable, "-m", "pytest", "-q", "tests/golden", *a_to_g],
        "ansible-lint": [tool("ansible-lint"), "--offline", "--strict", "-q"],
        "mypy": [tool("mypy"), "--no-error-summary"],
        "ruff": [tool("ruff"), "check", "--quiet", *python_sources],
    }
    start = time.monotonic()
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = list(pool.map(lambda item: run_check(root, *item), commands.items()))
    line(f"check: {'all right' if not any(outcomes) else 'not right, see above'}, {minutes(time.monotonic() - start)}")
    return int(any(outcomes))


def run_check(root: Path, name: str, command: list[str]) -> int:
    """Run one check and print its output in one piece."""
    start = time.monotonic()
    cwd = root / "ansible" if name == "ansible-lint" else root
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    result = "all right" if not done.returncode else f"status {done.returncode}"
    line(f"{name}: {result}, {minutes(time.monotonic() - start)}")
    if done.returncode or name.startswith("unit tests"):
        line((done.stdout + done.stderr).rstrip())
    return done.returncode


@dataclass(frozen=True)
class Part:
    """One part of the suite.

    Attributes
    ----------
    tests
        What pytest is told.
    needs_cluster, needs_browser
        What has to be there.
    beside
        The part that it may run beside: one that mostly waits, or that it does not disturb.
    """

    tests: tuple[str, ...]
    needs_cluster: bool = True
    needs_browser: bool = False
    beside: str = ""


_BUNDLE = "tests/cluster/test_interrupted.py"
_HEALTHY = "tests/health/test_doctor.py::test_a_healthy_cluster_is_told_to_be_and_nothing_stays_behind"
PARTS = {
    "check": Part((), needs_cluster=False),
    "pages": Part(("tests/pages",), needs_cluster=False, needs_browser=True, beside="cluster"),
    "cluster": Part(("tests/cluster", f"--ignore={_BUNDLE}", _HEALTHY, "-m", "not long")),
    "browser": Part(("tests/browser",), needs_browser=True),
    "attacks": Part(("tests/attacks",)),
    # It needs what `up` has downloaded, and touches no host.
    "bundle": Part((_BUNDLE,), beside="attacks"),
    "notebooks": Part(("tests/notebooks",)),
    "model": Part(("tests/model",), needs_cluster=False, beside="faults"),
    "kernels": Part(_KERNELS, needs_cluster=False, beside="faults"),
    "fuzz": Part(("tests/fuzz",), needs_cluster=False, beside="faults"),
    "faults": Part(("tests/faults",)),
}


def suite(root: Path, chosen: list[str]) -> int:
    """Run the suite or some of its parts, bringing the cluster up before where a part needs it.

    Returns
    -------
    int
        0 if everything passed.
    """
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        raise Problem(f"no part '{unknown[0]}'; the suite has {', '.join(PARTS)}, and as --long: {', '.join(LONG)}")
    names = chosen or list(PARTS)
    outcomes: list[Outcome] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(max_workers=1) as pool:
        # Beside `up`, which waits for hosts as often as it works.
        checking = [pool.submit(checked, root)] if "check" in names else []
        if any(PARTS[name].needs_browser for name in names):
            install_packages(BROWSER_PACKAGES, {})
        if any(PARTS[name].needs_cluster for name in names):
            start = time.monotonic()
            up.up(root)
            outcomes.append(Outcome("up", 0, time.monotonic() - start))
        outcomes = [*(one.result() for one in checking), *outcomes]
    for name, companions in in_turn(names):
        outcomes += run_together(root, name, companions)
    return tell(outcomes, time.monotonic() - begun)


def checked(root: Path) -> Outcome:
    """Run `check`, and return what it came to."""
    start = time.monotonic()
    return Outcome("check", check(root), time.monotonic() - start)


def in_turn(names: list[str]) -> list[tuple[str, list[str]]]:
    """Return the parts that run one after another, each with those that run beside it."""
    leading = [name for name in names if PARTS[name].tests and PARTS[name].beside not in names]
    return [(name, [other for other in names if PARTS[other].beside == name]) for name in leading]


def run_together(root: Path, name: str, companions: list[str]) -> list[Outcome]:
    """Run a part, and those beside it one after another; what they said comes after it."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        running = [pool.submit(run_beside, root, other) for other in companions]
        outcomes = [run_pytest(root, name, PARTS[name].tests)]
        for ran in running:
            outcome, said = ran.result()
            line(said)
            outcomes.append(outcome)
    return outcomes


def tell(outcomes: list[Outcome], seconds: float | None = None) -> int:
    """Print the table of parts with their minutes, and the closing line.

    Parameters
    ----------
    outcomes
        What each part came to.
    seconds
        How long all took together, where some ran side by side; otherwise the sum.
    """
    line(f"\n{'part':<12} {'minutes':>8} {'passed':>7} {'failed':>7}  result")
    for one in outcomes:
        result = "all right" if one.status == 0 else f"status {one.status}"
        line(f"{one.part:<12} {one.seconds / 60:>8.1f} {one.passed:>7} {one.failed:>7}  {result}")
    in_all = sum(one.seconds for one in outcomes) if seconds is None else seconds
    line(f"{'in all':<12} {in_all / 60:>8.1f}")
    failed = sum(max(one.failed, int(one.status != 0)) for one in outcomes)
    line(f"{sum(one.passed for one in outcomes)} passed, {failed} failed")
    return int(any(one.status for one in outcomes))


def run_beside(root: Path, name: str) -> tuple[Outcome, str]:
    """Run a part while something else is shown; return also what it said."""
    said: list[str] = []
    return run_pytest(root, name, PARTS[name].tests, show=said.append), "".join(said).rstrip()


def show_at_once(text: str) -> None:
    """Print what a part says as it comes."""
    print(text, end="", flush=True)


def run_pytest(
    root: Path,
    name: str,
    arguments: tuple[str, ...],
    environ: dict[str, str] | None = None,
    show: Callable[[str], object] = show_at_once,
) -> Outcome:
    """Run pytest, show its output as it comes, and read how many tests passed."""
    start = time.monotonic()
    show(f"\n== {name}\n")
    command = [sys.executable, "-m", "pytest", "-v", "--durations=10", *arguments]
    passed = failed = 0
    with subprocess.Popen(
        command,
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environ or {})},
        stdin=subprocess.DEVNULL,
    ) as running:
        for text in running.stdout or ():
            show(text)
            if re.search(r"\bin \d+\.\d+s", text):
                passed = counted(text, "passed")
                failed = counted(text, "failed") + counted(text, "error")
    return Outcome(name, running.returncode, time.monotonic() - start, passed, failed)


def counted(text: str, word: str) -> int:
    """Return the number before `word` in pytest's closing line; 0 where it isn't there."""
    found = re.search(rf"(\d+) {word}", text)
    return int(found.group(1)) if found else 0


def other_release(root: Path) -> int:
    """Run the cluster's tests on Debian 13 hosts, and all faults, then go back to the release there was."""
    before = release()
    install_packages(BROWSER_PACKAGES, {})
    start = time.monotonic()
    up.up(root, "trixie")
    outcomes = [Outcome("up trixie", 0, time.monotonic() - start)]
    outcomes += [run_pytest(root, name, PARTS[name].tests) for name in ("cluster", "bundle", "browser", "notebooks")]
    # Its Slurm is asked otherwise than 22.05: for states alone (23.11 and later).
    outcomes.append(run_pytest(root, "faults", PARTS["faults"].tests, _ALL_FAULTS))
    up.up(root, before)
    return tell(outcomes)


def timings(root: Path) -> int:
    """Measure `up` from nothing, with that run's cache, and once more; removes the cluster that was there."""
    with tempfile.TemporaryDirectory(prefix="davide-cache-", dir="/var/tmp") as cache:
        environ = {**os.environ, "XDG_CACHE_HOME": cache}
        rows = [("from nothing", 600.0, ["down", "--purge"]), ("base and bundle cached", 180.0, ["down", "--purge"])]
        rows.append(("already up", 60.0, ["status"]))
        measured = []
        for title, limit, before in rows:
            subprocess.run([root / "davide", *before], env=environ, check=True, stdin=subprocess.DEVNULL)
            start = time.monotonic()
            status = subprocess.run(
                [root / "davide", "up"], env=environ, check=False, stdin=subprocess.DEVNULL
            ).returncode
            measured.append((title, limit, time.monotonic() - start, status))
        subprocess.run([root / "davide", "down", "--purge"], env=environ, check=True, stdin=subprocess.DEVNULL)
    line(f"\n{'./davide up':<24} {'asked':>12} {'reached':>12}")
    for title, limit, seconds, status in measured:
        line(f"{title:<24} {'< ' + minutes(limit):>12} {minutes(seconds):>12}{'' if status == 0 else '  FAILED'}")
    good = [status == 0 and seconds < limit for _, limit, seconds, status in measured]
    line(f"{sum(good)} passed, {len(good) - sum(good)} failed")
    return int(not all(good))


def bench(root: Path, words: list[str]) -> int:
    """Run the bench, whose code lies beside the tests, with some words of the command line."""
    places = os.pathsep.join([str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "bench", str(root), *words]
    return subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": places}).returncode


def large(root: Path) -> int:
    """Measure the hub and stock batchspawner with 500 users, on the cluster brought up for it."""
    up.up(root)
    return bench(root, ["hub", "--part=large"])


def all_faults(root: Path) -> int:
    """Run the fault suite with the rows that it leaves out for the sake of its length."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "faults", PARTS["faults"].tests, _ALL_FAULTS)])


def controls(root: Path) -> int:
    """Run the fault suite against hubs that must fail in it: the stock one, and ours with one thought turned wrong."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    for name in CONTROLS:
        ran = run_pytest(root, name, PARTS["faults"].tests, {"DAVIDE_FAULTS_TARGET": name})
        rows = read_json(root / ".davide" / f"faults-{name}.json").get("rows", [])
        failed = [row["row"] for row in rows if not row["good"]]
        line(f"\n{name} fails {len(failed)} of {len(rows)} rows:\n  " + "\n  ".join(failed))
        # It is the control that has to fail: one test passes if it does.
        outcomes.append(Outcome(name, int(not failed), ran.seconds, passed=int(bool(failed)), failed=int(not failed)))
    return tell(outcomes)


def long_cluster(root: Path) -> int:
    """Run the cluster's tests that the suite leaves out for the sake of its length."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "cluster", ("tests/cluster", "-m", "long"))])


def far_broker(root: Path) -> int:
    """Move the broker to the controller's host and back, while people work."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "far-broker", ("tests/sites/test_far_broker.py",))])


def lessons(root: Path) -> int:
    """Run every lesson for three seeds, whole as students get it, and in full mode; write the numbers down."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    chosen = ("tests/notebooks/test_lessons.py", "-k", "every_seed or median or unsolved or full_mode")
    return tell([*outcomes, run_pytest(root, "lessons", chosen, {"DAVIDE_LESSONS_LONG": "yes"})])


def soak(root: Path) -> int:
    """Let something fail every 20 s for 20 minutes, while sessions come and go; then count what is left over."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "soak", ("-s", "tests/faults/soak.py"), {"DAVIDE_FAULTS_TARGET": "ours"})])


def health(root: Path) -> int:
    """Plant faults in the cluster, one after the other, and see what preflight and doctor say of each."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "health", ("tests/health",))])


def upgrade(root: Path) -> int:
    """Go from JupyterHub 5.5 to this release and back while sessions run, and to a release that is broken."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "upgrade", ("-s", "tests/upgrade"))])


def operations(root: Path) -> int:
    """Run the hub on a real PostgreSQL, watched by a real Prometheus; needs no cluster."""
    install_packages(OPERATIONS_PACKAGES, {})
    return tell([run_pytest(root, "operations", ("tests/operations",))])


def restore(root: Path) -> int:
    """Lose the hub's host wholly while sessions run, and restore its backup on a fresh one."""
    return as_at_a_site(root, "restore")


def own_slurm(root: Path) -> int:
    """Let Slurm be the site's own, install all else beside it, and see that nothing of Slurm's was touched."""
    return as_at_a_site(root, "own_slurm")


def as_at_a_site(root: Path, name: str) -> int:
    """Run one of tests/sites, which does to the local cluster what happens at real sites."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, name, (f"tests/sites/test_{name}.py",))])


def idle(root: Path) -> int:
    """Let sessions do nothing for ten minutes, as their profile's limit is, and see who is ended."""
    start = time.monotonic()
    up.up(root)
    outcomes = [Outcome("up", 0, time.monotonic() - start)]
    return tell([*outcomes, run_pytest(root, "idle", ("tests/idle",))])


def fuzz(root: Path) -> int:
    """Send the broker and the options as many requests as the suite has no time for, other ones each time."""
    return tell([run_pytest(root, "fuzz", ("tests/fuzz",), {"DAVIDE_FUZZ_REQUESTS": str(FUZZ_REQUESTS)})])


def long_model(root: Path) -> int:
    """Search the model of a session's life with one mishap more on each way than the suite has time for."""
    return tell([run_pytest(root, "model", PARTS["model"].tests, {"DAVIDE_MODEL_MISHAPS": "3"})])


LONG: dict[str, Callable[[Path], int]] = {
    "trixie": other_release,
    "timings": timings,
    "large": large,
    "faults": all_faults,
    "controls": controls,
    "soak": soak,
    "cluster": long_cluster,
    "far-broker": far_broker,
    "lessons": lessons,
    "idle": idle,
    "operations": operations,
    "health": health,
    "restore": restore,
    "own-slurm": own_slurm,
    "upgrade": upgrade,
    "fuzz": fuzz,
    "model": long_model,
}


def long_form(root: Path, name: str) -> int:
    """Run a part that takes longer than the suite may."""
    return LONG[name](root)
