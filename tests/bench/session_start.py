"""How long a session's server takes from its first instruction to its call home: environments compared side by side.

    cd /software/davide/envs; python .../session_start.py --rounds 9 old=$PWD/session-OLD new=$PWD/session-NEW

Each environment is one that `install-environment` made. The hub is a stand-in (tests/unit/fake_hub.py) and Slurm is
left out: this measures what `davide_session` itself can change. Rounds are interleaved, so that a machine that gets
busy slows all of them. CPU time is told too, since it does not depend on who else uses the machine.
"""

from __future__ import annotations

import argparse
import json
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import requests

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from fake_hub import TOKEN, USER, FakeHub

_PATIENCE_SECONDS = 60


def measure(environment: Path, software: Path, account: pwd.struct_passwd) -> dict[str, float]:
    """Start one session in a home of its own; return seconds by what was waited for."""
    top = Path(tempfile.mkdtemp(prefix="davide-start-"))
    top.chmod(0o755)
    home = top / "home"
    home.mkdir(mode=0o700)
    log = top / "session.log"
    with FakeHub() as hub:
        secrets = home / "environment.json"
        secrets.write_text(json.dumps(hub.environment()))
        secrets.chmod(0o600)
        for path in (home, secrets):
            os.chown(path, account.pw_uid, account.pw_gid)
        command = [environment / "bin/python", "-I", "-m", "davide_session", "--environment", secrets]
        command += ["--software", software, "--kernel", "tf-cpu", "--course", "davide-course"]
        with log.open("wb") as out:
            began = time.monotonic()
            process = subprocess.Popen(
                command,
                cwd=home,
                env={"HOME": str(home), "PATH": str(environment / "bin"), "LANG": "C.UTF-8", "TMPDIR": "/tmp"},
                user=account.pw_uid,
                group=account.pw_gid,
                extra_groups=[],
                stdout=out,
                stderr=subprocess.STDOUT,
            )
            try:
                return observe(process, hub, began, log)
            finally:
                process.terminate()
                process.wait(30)
                shutil.rmtree(top)


def observe(process: subprocess.Popen[bytes], hub: FakeHub, began: float, log: Path) -> dict[str, float]:
    """Return when the session called home, answered, and showed its page; and the CPU time until it called."""
    if not hub.heard.wait(_PATIENCE_SECONDS):
        raise SystemExit(f"the session did not call home:\n{log.read_text()}")
    heard = time.monotonic()
    cpu = cpu_seconds(process.pid)
    url = f"http://127.0.0.1:{hub.calls[0]['port']}/user/{USER}"
    session = requests.Session()
    # Without a token, as JupyterHub asks before it calls a server ready.
    session.get(f"{url}/api", timeout=30).raise_for_status()
    answered = time.monotonic()
    session.headers["Authorization"] = f"token {TOKEN}"
    session.get(url, timeout=30).raise_for_status()
    page = time.monotonic()
    for part in ("kernelspecs", "contents", "terminals", "sessions"):
        session.get(f"{url}/api/{part}", timeout=30).raise_for_status()
    for part in ("settings", "translations/"):
        session.get(f"{url}/lab/api/{part}", timeout=30).raise_for_status()
    return {
        "called home": heard - began,
        "answered": answered - began,
        "page": page - began,
        "interface ready": time.monotonic() - began,
        "CPU until the call": cpu,
    }


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", nargs="+", metavar="NAME=FOLDER", help="the first is what others compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--software", type=Path, default=Path("/software/davide"), help="the folder with handouts/")
    parser.add_argument("--account", default="nobody", help="who runs the sessions")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    environments = dict(each.split("=", 1) for each in arguments.environment)
    account = pwd.getpwnam(arguments.account)
    times: dict[str, list[dict[str, float]]] = {name: [] for name in environments}
    for _ in range(arguments.rounds):
        for name, folder in environments.items():
            times[name].append(measure(Path(folder), arguments.software, account))
    medians = {
        name: {what: statistics.median(each[what] for each in rounds) for what in rounds[0]}
        for name, rounds in times.items()
    }
    if arguments.json:
        print(json.dumps({"rounds": times, "medians": medians}, indent=1))
        return
    first = next(iter(medians.values()))
    print(f"{'median of ' + str(arguments.rounds):20}" + "".join(f"{name:>22}" for name in medians))
    for what in first:
        cells = "".join(f"{each[what]:>13.3f} s ({each[what] / first[what]:.2f})" for each in medians.values())
        print(f"{what:20}{cells}")


if __name__ == "__main__":
    main()
