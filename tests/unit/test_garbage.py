"""Python's search for garbage, as the hub has it. In a process of its own: it is set for the whole process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
PROGRAM = """
import gc, json
from davide_hub.garbage import settle
settle()
full = []
gc.callbacks.append(lambda phase, found: full.append(found["generation"] == 2))
kept = [[place] for place in range(400_000)]
made = []
made.append(made)
del made
print(json.dumps({"full": any(full), "looked": len(full), "frozen": gc.get_freeze_count(), "found": gc.collect()}))
"""


def test_no_crowd_sets_off_a_full_search():
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    told = json.loads(done.stdout)
    assert told["looked"] > 10, "the young ones are looked at"
    assert not told["full"]
    assert told["frozen"] > 10_000, "what was there before is left out"
    assert told["found"] >= 1, "a full search that somebody asks for still finds what is there"
