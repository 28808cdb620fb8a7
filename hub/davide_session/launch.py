"""`davide-session`: what a session's batch script runs."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from davide_session.claim import NotClaimed, claim
from davide_session.environment import EnvironmentFileError, read_environment
from davide_session.handouts import finish_sync, start_sync
from davide_session.scratch import private_folder
from davide_session.tls import SessionTls


def main(argv: Sequence[str] | None = None) -> int:
    """Run one session until its end; return its exit status."""
    # What is imported stays till the end: looking for garbage in it, again and again, takes a fifth of the start.
    gc.disable()
    arguments = _parser().parse_args(argv)
    os.umask(0o077)
    try:
        if job_id := os.environ.get("SLURM_JOB_ID"):
            claim(arguments.environment.parent, job_id)
        variables = read_environment(arguments.environment)
    except (NotClaimed, EnvironmentFileError) as reason:
        print(reason, file=sys.stderr)
        return 1
    # Until the server has a handler of its own: a session cancelled in its first second leaves nothing behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    home = Path.home()
    os.chdir(home)
    sync = start_sync(arguments.software / "handouts", home / arguments.course)
    with private_folder() as private:
        tls = SessionTls.take(variables, private)
        os.environ.update(variables)
        os.environ["JUPYTER_PATH"] = str(arguments.software / "share/jupyter")
        os.environ["JUPYTER_RUNTIME_DIR"] = str(private / "runtime")
        # Slurm sets /tmp where the site sets nothing: everybody's, and full of what others left.
        if os.environ.get("TMPDIR", "/tmp") == "/tmp":  # noqa: S108 - only compared
            os.environ["TMPDIR"] = str(private / "tmp")

        # Not at the top: Jupyter reads the variables above when it is imported, in a time that the hand-outs use.
        from davide_session.lean import import_jupyterlab, lean_imports

        with lean_imports():
            from davide_session import hub_client
            from davide_session.server import serve
            from davide_session.settings import Place, settings

            import_jupyterlab()

        finish_sync(sync)
        hub_client.call_with(tls.client_context() if tls else None)
        place = Place(home, private, arguments.software, arguments.kernel, arguments.course, tls)
        serve(settings(place), arguments.environment.parent)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="davide-session", description="Run JupyterLab as a session of DAVIDE Hub.")
    parser.add_argument("--environment", type=Path, required=True, help="the session's secrets, a 0600 JSON file")
    parser.add_argument("--software", type=Path, required=True, help="the site's software folder")
    parser.add_argument("--kernel", required=True, help="the kernel of new notebooks")
    parser.add_argument("--course", required=True, help="the course's folder in the home")
    return parser
