"""Slurm of the local cluster is set up like DAVIDE's: accounts are enforced, and jobs are confined to their GPUs."""

import pytest

GPU_FILES = 'for i in 0 1 2 3; do (: < /dev/nvidia$i) 2>&1 | sed "s/.*: //"; done'


def srun(cluster, words, command, user="student01"):
    """Run a command in a job of a student."""
    return cluster.as_user(user, f"srun --quiet --immediate=20 {words} bash -c '{command}'")


def test_partition_has_four_typed_gpus_on_each_node(cluster):
    rows = cluster.output("hub01", "sinfo --noheader --Node --format='%N %P %G'").splitlines()
    assert rows == ["gpu01 dvd_usr_prod* gpu:tesla:4", "gpu02 dvd_usr_prod* gpu:tesla:4"]


def test_job_runs_as_its_user_on_a_gpu_node(cluster):
    done = srun(cluster, "-A tra26_davide", "id -u; hostname")
    uid, host = done.stdout.split()
    assert uid == "6001"
    assert host in ("gpu01", "gpu02")


def test_job_without_an_account_is_refused_in_words(cluster):
    done = srun(cluster, "", "hostname")
    assert done.returncode != 0
    assert "--account=NAME" in done.stderr


def test_job_on_an_account_of_others_is_refused(cluster):
    done = srun(cluster, "-A root", "hostname")
    assert done.returncode != 0
    assert "Invalid account" in done.stderr


@pytest.mark.parametrize("gres", ["gpu:tesla:1", "gpu:1"])
def test_job_opens_its_own_gpu_and_no_other(cluster, gres):
    shown = srun(
        cluster, f"-A tra26_davide --gres={gres} -w gpu02", "echo $SLURM_STEP_GPUS; " + GPU_FILES
    ).stdout.splitlines()
    own = int(shown[0])
    # The stand-ins have no driver: "No such device" means that the cgroup let us through to it.
    expected = ["Operation not permitted"] * 4
    expected[own] = "No such device or address"
    assert shown[1:] == expected


def test_job_is_charged_to_its_account(cluster, wait_for):
    done = srun(cluster, "-A tra26_davide --gres=gpu:tesla:2", "echo $SLURM_JOB_ID")
    job = done.stdout.strip()
    query = f"sacct -n -P -X -j {job} --format=Account,AllocTRES,State"
    row = wait_for(
        lambda: (out := cluster.output("hub01", query)).endswith("COMPLETED") and out,
        "sacct shows the job's end",
    )
    account, resources, _ = row.split("|")
    assert account == "tra26_davide"
    assert "gres/gpu=2" in resources


def test_the_hub_is_told_whether_slurm_bounds_sessions(cluster):
    """Nothing does, here: until a QOS is given a limit, which is far from being reached."""
    ask = (
        "setpriv --reuid davide-hub --regid davide-hub --clear-groups /opt/davide/envs/hub/bin/davide-hub check "
        "/etc/davide-hub/site.yml --slurm"
    )
    sentence = "nothing in Slurm bounds what sessions of account tra26_davide use"
    assert sentence in cluster.output("hub01", ask)
    modify = "sacctmgr --immediate modify qos normal set MaxJobsPerUser="
    cluster.output("ctl01", f"{modify}1000")
    try:
        assert sentence not in cluster.output("hub01", ask)
    finally:
        cluster.output("ctl01", f"{modify}-1")
