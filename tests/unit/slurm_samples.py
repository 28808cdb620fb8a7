"""What Slurm says: samples from Slurm 22.05, run as the hub's account."""

from __future__ import annotations

from pathlib import Path

from davide_hub.questions import Outcome

DATA = Path(__file__).parent / "data"
QUEUE = (DATA / "squeue-22.05.txt").read_text()
LATER = (DATA / "squeue-22.05-later.txt").read_text()
MARKS = (DATA / "squeue-marks-22.05.txt").read_text()
ACCOUNTING = (DATA / "sacct-22.05.txt").read_text()
HEADER = "JOBID|STATE|EXEC_HOST|UID|PARTITION|PRIORITY|SUBMIT_TIME|START_TIME|END_TIME|REASON\n"
NONE = Outcome(0, HEADER)
SILENT = Outcome(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
