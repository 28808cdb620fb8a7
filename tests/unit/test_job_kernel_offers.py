"""What a site offers as kernels with jobs of their own, and the batch script that comes of it."""

import json
from pathlib import Path

import pytest
from davide_hub.facts import FactsError, load_site
from davide_session.jobkernel.offers import Offer, offers, read_offers
from davide_session.jobkernel.slurm_job import Charge, JobRefused, batch_script
from davide_session.jobkernel.specs import WithJobs

LOCAL = Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml"
OFFER = Offer("one-gpu-1gpu-1h", "1 GPU, 1 h, own job", "p", "gpu:tesla:1", 1, 4, 6, 1)
FOLDER = Path("/home/student01/.local/share/davide-hub/kernels/0123abcd")


def facts(*kernel_jobs):
    site = load_site(LOCAL).model_dump(mode="json")
    return {
        "partitions": site["slurm"]["partitions"],
        "profiles": site["profiles"],
        "kernel_jobs": kernel_jobs or site["kernel_jobs"],
    }


def test_cores_and_memory_go_with_the_gpus():
    one, two = offers(facts())
    assert one == Offer(
        "one-gpu-1gpu-1h",
        "1 GPU, 1 h, own job",
        "dvd_usr_prod",
        "gpu:tesla:1",
        gpus=1,
        cores=4,
        memory_gb=6,
        hours=1,
        keep_mb=200,
    )
    assert (two.gpus, two.cores, two.memory_gb, two.gres, two.hours) == (2, 8, 12, "gpu:tesla:2", 2)


def test_a_profile_alone_is_offered_as_it_is():
    (offer,) = offers(facts({"profile": "four-gpus", "gpus": None, "hours": None}))
    assert (offer.gpus, offer.cores, offer.memory_gb, offer.hours) == (4, 16, 24, 2)


def test_its_limit_without_work_is_the_profiles():
    given = facts({"profile": "four-gpus", "gpus": 1, "hours": None})
    given["profiles"][1]["idle_minutes"] = 30
    (offer,) = offers(given)
    assert (offer.idle_minutes, offer.keep_mb) == (30, None)


def test_a_site_that_names_none_offers_none(tmp_path):
    assert offers({"partitions": [], "profiles": []}) == ()
    assert read_offers(tmp_path / "not-there.json") == ()


def test_a_file_that_does_not_hold_together_is_told_in_a_sentence(tmp_path):
    path = tmp_path / "site.json"
    path.write_text(json.dumps(facts({"profile": "huge"})))
    with pytest.raises(ValueError, match="no kernels with jobs of their own are offered until a play mends it"):
        read_offers(path)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{profile: huge}", "'huge' is not in site.profiles; write one of one-gpu, four-gpus, no-gpu"),
        ("{profile: no-gpu}", "profile no-gpu has no GPUs; name one that has, or remove this"),
        ("{profile: one-gpu, gpus: 5}", "5 is more than the 4 of profile one-gpu; write at most 4"),
        ("{profile: one-gpu, hours: 9}", "9 is more than the 8 of profile one-gpu; write at most 8"),
        ("{profile: one-gpu, gpus: 0}", "is not a whole number of GPUs, from 1"),
        ("{profile: one-gpu, keep_mb: 0}", "how many megabytes"),
        ("{profile: one-gpu}, {profile: one-gpu}", "the same stands here for the second time; remove it"),
    ],
)
def test_an_offer_that_can_not_be_is_refused(tmp_path, written, said):
    text = LOCAL.read_text()
    path = tmp_path / "site.yml"
    path.write_text(text[: text.index("  kernel_jobs:")] + f"  kernel_jobs: [{written}]\n")
    with pytest.raises(FactsError) as refusal:
        load_site(path)
    assert said in str(refusal.value)


def test_a_script_is_what_a_student_could_have_written():
    charge = Charge("tra26_davide", "", "course", "500")
    assert batch_script(OFFER, charge, "0123abcd-uuid", FOLDER, "/software/envs/session-1/bin/python") == (
        "#!/bin/bash\n"
        "# A notebook's kernel with a job of its own, submitted by the session that uses it.\n"
        "#SBATCH --job-name=jupyter-kernel-0123abcd\n"
        "#SBATCH --comment=davide-kernel:500:0123abcd-uuid\n"
        "#SBATCH --account=tra26_davide\n"
        "#SBATCH --reservation=course\n"
        "#SBATCH --partition=p\n"
        "#SBATCH --nodes=1\n"
        "#SBATCH --ntasks=1\n"
        "#SBATCH --cpus-per-task=4\n"
        "#SBATCH --mem=6G\n"
        "#SBATCH --gres=gpu:tesla:1\n"
        "#SBATCH --time=1:00:00\n"
        "#SBATCH --signal=B:USR1@120\n"
        "#SBATCH --output=/home/student01/.local/share/davide-hub/kernels/0123abcd/kernel.log\n"
        "#SBATCH --no-requeue\n"
        "\n"
        "# Slurm's signal before the end may come before the supervisor is there to hear it.\n"
        "trap '' USR1\n"
        "exec /software/envs/session-1/bin/python -I -m davide_session.jobkernel "
        "/home/student01/.local/share/davide-hub/kernels/0123abcd/order.json\n"
    )


@pytest.mark.parametrize("account", ["a b", "a\n#SBATCH --uid=0", "$(id)", "a;b", "-x"])
def test_a_value_that_is_no_word_gets_into_no_script(account):
    with pytest.raises(JobRefused, match="has characters that must not stand in a batch script"):
        batch_script(OFFER, Charge(account), "0123abcd", FOLDER, "/python")


def test_users_own_kernels_are_not_offered_with_jobs(tmp_path):
    for folder in ("site/tf-cpu", "own/mine"):
        (tmp_path / folder).mkdir(parents=True)
        spec = {"argv": ["x"], "display_name": folder, "language": "python", "metadata": {"davide": {"ran": "here"}}}
        (tmp_path / folder / "kernel.json").write_text(json.dumps(spec))
    (tmp_path / "site.json").write_text(json.dumps(facts({"profile": "one-gpu"})))
    specs = WithJobs(site_facts=str(tmp_path / "site.json"), site_kernels=str(tmp_path / "site"))
    specs.kernel_dirs = [str(tmp_path / "site"), str(tmp_path / "own")]
    specs.ensure_native_kernel = False
    assert set(specs.find_kernel_specs()) == {"tf-cpu", "mine", "tf-cpu.one-gpu-1gpu-2h"}
    # The installed one is not changed by it.
    assert "kernel_provisioner" not in specs._get_kernel_spec_by_name("tf-cpu", str(tmp_path / "site/tf-cpu")).metadata
