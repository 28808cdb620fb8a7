"""A kernel's job: its batch script, and the commands that submit and cancel it, as the user who has the session."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from davide_session.jobkernel.offers import Offer

_SECONDS = 30
# All that a job gets from here. The server's own variables hold its tokens, and Slurm keeps a job's variables on disk.
_HANDED_ON = ("HOME", "PATH", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "SLURM_CONF")
# What stands in an #SBATCH line is a word that neither Slurm nor bash reads anything into.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@-]{0,79}")
# No "%", which Slurm would expand, and nothing that ends the line or begins a comment.
_PATH = re.compile(r"(/[A-Za-z0-9_.+@:,=-]+)+")
_NUMBER = re.compile(r"([0-9]+)(;[A-Za-z0-9_.-]+)?")
_SAVE_SECONDS = 120


class JobRefused(Exception):  # noqa: N818 - it is what it says
    """There is no job. `str()` says why, in words for the user."""


@dataclass(frozen=True)
class Charge:
    """What a job is charged to: the same as the session's own job.

    Attributes
    ----------
    session_job
        The number of the session's job; empty outside Slurm.
    """

    account: str = ""
    qos: str = ""
    reservation: str = ""
    session_job: str = ""

    @classmethod
    def of_session(cls, environment: Mapping[str, str]) -> Charge:
        """Return what the variables of the session's job say."""
        names = ("SLURM_JOB_ACCOUNT", "SLURM_JOB_QOS", "SLURM_JOB_RESERVATION", "SLURM_JOB_ID")
        return cls(*(environment.get(name, "") for name in names))


def batch_script(offer: Offer, charge: Charge, kernel_id: str, folder: Path, python: str) -> str:
    """Return the batch script of a kernel's job. There is no secret in it, and users may read it.

    Parameters
    ----------
    offer, charge
        What is asked for, and who pays.
    kernel_id
        Jupyter's name of the kernel.
    folder
        The kernel's own in the home: `order.json` is there, and the job's output goes there.
    python
        The Python of the session's environment.

    Raises
    ------
    JobRefused
        If a value is not a plain word or path.
    """
    lines = {
        "job-name": f"jupyter-kernel-{kernel_id[:8]}",
        "comment": f"davide-kernel:{charge.session_job or 'none'}:{kernel_id}",
        "account": charge.account,
        "qos": charge.qos,
        "reservation": charge.reservation,
        "partition": offer.partition,
        "nodes": "1",
        "ntasks": "1",
        "cpus-per-task": str(offer.cores),
        "mem": f"{offer.memory_gb}G",
        "gres": offer.gres,
        "time": f"{offer.hours}:00:00",
        # To the supervisor alone: it tells the programs that asked (davide_session.notice).
        "signal": f"B:USR1@{_SAVE_SECONDS}",
        "output": str(folder / "kernel.log"),
    }
    for name, value in lines.items():
        if value and not (_PATH if name == "output" else _WORD).fullmatch(value):
            raise JobRefused(
                f"The kernel's job can't be submitted: {name} {ascii(value)[:80]} has characters that must not stand "
                "in a batch script. Start the kernel in the session itself, and tell the site's support."
            )
    directives = "".join(f"#SBATCH --{name}={value}\n" for name, value in lines.items() if value)
    return (
        "#!/bin/bash\n"
        "# A notebook's kernel with a job of its own, submitted by the session that uses it.\n"
        f"{directives}#SBATCH --no-requeue\n\n"
        "# Slurm's signal before the end may come before the supervisor is there to hear it.\n"
        "trap '' USR1\n"
        f"exec {quote(python)} -I -m davide_session.jobkernel {quote(str(folder / 'order.json'))}\n"
    )


async def submit(script: str) -> str:
    """Have Slurm take a job; return its number.

    Raises
    ------
    JobRefused
        If it does not take it, or does not say so in time.
    """
    try:
        code, out, err = await _run("sbatch", "--parsable", "--propagate=NONE", given=script)
    except TimeoutError:
        raise JobRefused(
            "Slurm did not answer in time, so this kernel was given up. Should its job have been taken all the same, "
            "it ends as soon as it starts. Try again in a minute."
        ) from None
    except OSError as error:
        raise JobRefused(f"sbatch can't be run here ({error.strerror}); tell the site's support.") from None
    found = _NUMBER.fullmatch(out.strip())
    if code != 0 or found is None:
        said = err.strip().removeprefix("sbatch: error: ").splitlines() or ["it gave no number"]
        raise JobRefused(f"Slurm refused the kernel's job: {'; '.join(said)[:500]}")
    return found[1]


async def cancel(number: str) -> bool:
    """Have Slurm end a job; return whether Slurm took the order. A job that has ended is no trouble."""
    try:
        code, _, err = await _run("scancel", "--", number)
    except (TimeoutError, OSError):
        return False
    return code == 0 or "Invalid job id" in err or "already completing or completed" in err


async def _run(*argv: str, given: str = "") -> tuple[int, str, str]:
    pipe = asyncio.subprocess.PIPE
    environment = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    # The job starts where its submitter stands; a Slurm that can't go there starts it in /tmp.
    process = await asyncio.create_subprocess_exec(
        *argv, env=environment, cwd=Path.home(), stdin=pipe, stdout=pipe, stderr=pipe
    )
    try:
        async with asyncio.timeout(_SECONDS):
            out, err = await process.communicate(given.encode())
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace")
