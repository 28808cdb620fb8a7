"""The public conformance suite against the site's kernel on a node, in each way in which a session starts it."""

import json
from pathlib import Path

import jupyter_kernel_test
import pytest

USER = "student04"
SOFTWARE = "/software/davide"
FOLDER = f"/home/{USER}/conformance"
SUPPORT = Path(__file__).parents[1] / "support"
SUITE = Path(jupyter_kernel_test.__file__).parent


@pytest.fixture(scope="module")
def folder(cluster):
    """Make a folder of the user's with the suite."""
    made = {f"jupyter_kernel_test/{file.name}": file for file in SUITE.glob("*.py")}
    made |= {name: SUPPORT / name for name in ("conformance.py", "conformance_run.py")}
    for name, file in made.items():
        cluster.output("hub01", f"install -D -o {USER} -m 644 /dev/stdin {FOLDER}/{name}", given=file.read_text())
    yield FOLDER
    cluster.output("hub01", f"rm -rf {FOLDER}")


@pytest.mark.parametrize(
    ("way", "found"),
    [
        ("leased", "SessionProvisioner Popen"),
        ("warm", "SessionProvisioner WarmProcess"),
        ("own job", "JobProvisioner NoneType"),
    ],
)
def test_kernel_keeps_to_the_protocol(cluster, folder, way, found):
    job = "srun -A tra26_davide --job-name=conformance --gres=gpu:tesla:2 --cpus-per-task=2 --mem=4G --time=5 --quiet"
    run = f'$(realpath {SOFTWARE}/envs/session)/bin/python -I {folder}/conformance_run.py {SOFTWARE} "{way}"'
    done = cluster.as_user(USER, f"{job} {run}", timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["wrong"] == []
    assert told["skipped"] == []
    assert told["ran"] > 13
    assert told["found"] == found
