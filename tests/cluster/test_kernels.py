"""Kernels on the cluster: their test through Slurm, on a node, and what it says of a broken one."""

import json

import pytest

KERNELS = "/software/davide/share/jupyter/kernels"
SITE = "/etc/davide-hub/site.yml"
BROKEN = "/software/davide/tmp-broken"
# Installed beside the site's own, for a site.yml whose software lies in BROKEN.
BREAK = f"""
set -e
rm -rf {BROKEN}; mkdir -p {BROKEN}/share/jupyter/kernels/tf-cpu
cp {KERNELS}/tf-cpu/{{kernel.json,kernel.yml,selftest.py,warm.py}} {BROKEN}/share/jupyter/kernels/tf-cpu/
sed 's#/software/davide$#{BROKEN}#' {SITE} > {BROKEN}/site.yml
cat > {BROKEN}/share/jupyter/kernels/tf-cpu/launch
chmod 755 {BROKEN}/share/jupyter/kernels/tf-cpu/launch
"""
DIES = "#!/bin/bash\nkill -ILL $$\n"
# TensorFlow's product is off by one; the rest of the kernel is as it is.
MULTIPLIES_WRONGLY = f"""#!/bin/bash
exec {KERNELS}/tf-cpu/launch -c '
import runpy, sys
import tensorflow as tf
right = tf.matmul
tf.matmul = lambda one, other: right(one, other) + 1
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")' "$@"
"""


@pytest.fixture
def broken(cluster):
    """Return a function that tests a kernel with another launch script."""

    def tested(launch):
        cluster.output("hub01", BREAK, given=launch)
        return cluster.run("hub01", f"{davide_hub(cluster)} kernels test tf-cpu --json --site {BROKEN}/site.yml", 300)

    yield tested
    cluster.output("hub01", f"rm -rf {BROKEN}")


def davide_hub(cluster):
    return f"{cluster.output('hub01', 'readlink -f /opt/davide/envs/hub')}/bin/davide-hub"


def test_kernel_passes_on_a_node_as_a_job_of_a_student(cluster):
    command = f"{davide_hub(cluster)} kernels test tf-cpu --json"
    done = cluster.as_user("student01", command, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)
    assert outcome["passed"]
    assert outcome["report"]["node"] in ("gpu01", "gpu02")
    names = [row["name"] for row in outcome["report"]["rows"] if row["passed"]]
    assert names[-5:] == ["GPUs", "convolution", "matrix product", "all-reduce", "warm start"]


def test_play_has_tested_the_kernel_and_does_not_again(cluster):
    said = cluster.output("hub01", f"{davide_hub(cluster)} kernels test tf-cpu --once")
    assert said == "tf-cpu: passed before, as it is now"


def test_list_shows_the_version_in_use_and_its_size(cluster):
    (row,) = json.loads(cluster.output("hub01", f"{davide_hub(cluster)} kernels list --json"))
    assert row["ran"] == "here"
    (current,) = [one for one in row["versions"] if one["current"]]
    du = int(cluster.output("hub01", f"du --summarize --block-size=1 {current['folder']}").split()[0])
    assert current["megabytes"] == pytest.approx(du / 1e6, rel=0.01)


@pytest.mark.parametrize(
    ("launch", "said"),
    [
        (DIES, "lacks an instruction that TensorFlow was built with"),
        (MULTIPLIES_WRONGLY, "this build of TensorFlow does not fit this processor"),
    ],
)
def test_broken_kernel_fails_with_the_likely_cause(cluster, broken, launch, said):
    done = broken(launch)
    assert done.returncode == 1, done.stdout + done.stderr
    (outcome,) = json.loads(done.stdout)
    assert outcome["passed"] is False
    assert said in done.stdout


def test_kernel_imports_from_its_pack(cluster):
    code = "import keras; print(type(keras.__loader__).__name__)"
    assert cluster.output("hub01", f"{KERNELS}/tf-cpu/launch -c '{code}'") == "PackLoader"
