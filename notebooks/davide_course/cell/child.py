"""The process that runs the cell: `python -m davide_course.cell.child FOLDER`, started by `rank`.

The cell is the main module here, as in a notebook; when it is through, its result is written and this process waits.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
import threading
import traceback
import types
from pathlib import Path
from typing import Any

from davide_course.cell import place, values
from davide_course.cell.folder import Folder

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def run(plan: dict[str, Any], folder: Folder) -> dict[str, Any]:
    """Run the cell or the script, and return its variables."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    sys.path.insert(0, "")  # as in a notebook: modules beside it can be imported
    sent = folder.path / "sent.npz"
    if sent.exists():
        vars(main).update(values.load(sent))
    if plan["script"]:
        sys.argv = [plan["script"], *plan["arguments"]]
        # runpy makes a main module of its own.
        return runpy.run_path(plan["script"], init_globals=dict(vars(main)), run_name="__main__")
    path = folder.path / "cell.py"
    sys.argv = [str(path)]
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), vars(main))  # noqa: S102 - the user's own cell
    return vars(main)


def bring(plan: dict[str, Any], folder: Folder, found: dict[str, Any]) -> dict[str, Any]:
    """Write the result, if this process has to, and return what to tell of it."""
    here = place.here()
    if here.rank and not plan["all_ranks"]:
        return {}
    if plan["result"] not in found:
        return {"assigned": False}
    values.save(folder.result(here.rank), found[plan["result"]])
    return {"assigned": True}


def main(folder: Folder) -> int:
    """Be this process. The status is that of the cell; one that came to its end waits to be ended."""
    end_with_parent()
    # Who wants to be told of the time limit (davide_course.walltime) takes it; it would end the others.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    plan = folder.plan()
    try:
        told = bring(plan, folder, run(plan, folder))
    except SystemExit as end:
        if end.code not in (None, 0):
            print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else 1
        told = {"assigned": False}
    except BaseException as error:  # noqa: BLE001 - whatever the cell raises is shown as Python shows it
        own = error.__traceback__
        while own is not None and _is_ours(own.tb_frame.f_code.co_filename):
            own = own.tb_next
        traceback.print_exception(type(error), error, own or error.__traceback__)
        return 1
    for thread in threading.enumerate():
        if not thread.daemon and thread is not threading.current_thread():
            thread.join()  # it may be writing a checkpoint
    sys.stdout.flush()
    sys.stderr.flush()
    place.tell(done=True, **told)
    while True:
        signal.pause()


def _is_ours(file: str) -> bool:
    return file.startswith("<frozen") or Path(file).parent == Path(__file__).parent


def end_with_parent() -> None:
    """Let the kernel of the system kill this process when the one that watches it is gone."""
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    status = main(Folder(Path(sys.argv[1])))
    sys.stdout.flush()
    sys.stderr.flush()
    # TensorFlow's servers wait at their end for workers that may be gone.
    os._exit(status)
