"""Training from a cell: `%%davide --nodes 2 --gpus 4 --time 30` sends it as a Slurm job and brings its result back.

%load_ext davide_course.cell

%%davide --gpus 2 --run digits
from davide_course import cell
here = cell.here()
...
result = {"loss": loss}

Modules: `magic` (from the cell to its result), `options` (the line after %%davide), `script` (the job script), `runs`
(the folders of runs), `watch` (what the notebook does meanwhile), `verdict` (why a job failed), `rank` and `child`
(what runs in the job), `folder` (the files through which both talk), `queue` (what Slurm is asked), `states` and
`waiting` (what its words mean: links to the hub's), `values` (results as files), `hostlist` (Slurm's lists of nodes),
`place` (what the cell's code sees), `screen` (what a notebook shows).
"""

from __future__ import annotations

from typing import Any

from davide_course.cell.place import Here, here

__all__ = ["Here", "here", "load_ipython_extension"]


def load_ipython_extension(shell: Any) -> None:
    """Give a notebook `%%davide` and `%davide`; IPython calls it for `%load_ext davide_course.cell`."""
    # Not at the top: processes of a job import this package too, and need none of it.
    from davide_course.cell.magic import Magic

    shell.register_magic_function(Magic(shell), "line_cell", "davide")
