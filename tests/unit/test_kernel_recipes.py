"""Kernels' recipes: what a kernel.yml may say, and which kernel fits which nodes."""

from pathlib import Path

import pytest
from davide_hub.cli import main
from davide_hub.facts import FactsError, load_site
from davide_hub.kernels.choice import Place, check_kernels, choose, load_known, obstacles, places
from davide_hub.kernels.disk import installed_versions
from davide_hub.kernels.recipe import load_recipe

TOP = Path(__file__).parents[2]
SITE = TOP / "tests/golden/site.yml"
CPU = TOP / "kernels/tf-cpu/kernel.yml"
ALL = ("pip", "modules", "conda", "apptainer")


@pytest.fixture(scope="module")
def known():
    return load_known(TOP / "kernels")


def changed_site(tmp_path, old, new):
    path = tmp_path / "site.yml"
    text = SITE.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return load_site(path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("gpus: [none]", "gpus: [p1000]", "gpus[0]"),
        ("gpus: [none]", "gpus: [none, p100]", "gpus: 'none' stands beside GPUs; write [none], or the GPUs alone"),
        ("source: pip", "source: conda", "python: source conda has no use for it; remove it"),
        ("environment: kernel-tf-cpu", "", "environment is missing, and source is pip; add it"),
        (
            "environment: kernel-tf-cpu",
            "enviroment: kernel-tf-cpu",
            "enviroment: unknown key; did you mean environment?",
        ),
        ("source: pip", "source: npm", "'npm' is not where a kernel's TensorFlow may come from"),
        ("ran: here", "ran: surely", "'surely' is not where its test has passed"),
        ("language: python", "language: {{ x }}", "not plain YAML"),
        ("warm: tensorflow", "warm: os; rm", "'os; rm' is not a module that sessions import in advance"),
        ("ran: here", "ran: not run on a GPU here", "warm: only for kernels of source pip whose test has passed here"),
    ],
)
def test_bad_recipe_is_refused_with_file_line_key_and_fix(tmp_path, old, new, said):
    path = tmp_path / "kernel.yml"
    path.write_text(CPU.read_text().replace(old, new))
    with pytest.raises(FactsError) as refused:
        load_recipe(path)
    assert str(refused.value).startswith(f"{path}:")
    assert said in str(refused.value)


def test_a_recipe_that_claims_a_p100_with_a_newer_cudnn_is_refused(tmp_path):
    recipe = tmp_path / "tf-mine"
    recipe.mkdir()
    text = (TOP / "kernels/tf-cuda/kernel.yml").read_text()
    (recipe / "kernel.yml").write_text(text.replace("gpus: [t4,", "gpus: [p100, t4,"))
    for lock in (TOP / "kernels/tf-cuda").glob("*.lock"):
        (recipe / lock.name).write_text(lock.read_text())
    with pytest.raises(
        FactsError, match=r"kernel.yml:\d+: gpus: its cuDNN 9\.\d+.* has no code for a P100: 9.11 dropped"
    ):
        load_known(tmp_path)


@pytest.mark.parametrize(("python", "refused"), [("3.9", True), ("3.10", False)])
def test_ipykernel_7_is_refused_where_python_is_too_old_for_it(tmp_path, python, refused):
    recipe = tmp_path / "tf-mine"
    recipe.mkdir()
    (recipe / "kernel.yml").write_text((TOP / "kernels/tf-ppc64le/kernel.yml").read_text())
    text = (TOP / "kernels/tf-ppc64le/environment.yml").read_text()
    text = text.replace("ipykernel=6.29.5", "ipykernel=7.4.0").replace("python=3.10", f"python={python}")
    (recipe / "environment.yml").write_text(text)
    if not refused:
        load_known(tmp_path)
        return
    with pytest.raises(FactsError, match=r"ipykernel 7\.4\.0 needs Python 3.10, and this has 3.9; pin ipykernel 6"):
        load_known(tmp_path)


def test_wheels_for_power_are_refused(tmp_path):
    recipe = tmp_path / "tf-mine"
    recipe.mkdir()
    (recipe / "kernel.yml").write_text(CPU.read_text().replace("[x86_64]", "[x86_64, ppc64le]"))
    for lock in CPU.parent.glob("*.lock"):
        (recipe / lock.name).write_text(lock.read_text())
    with pytest.raises(FactsError, match="no wheels of TensorFlow for ppc64le"):
        load_known(tmp_path)


def test_a_missing_lock_is_told_with_the_fix(tmp_path):
    (tmp_path / "tf-mine").mkdir()
    (tmp_path / "tf-mine/kernel.yml").write_text(CPU.read_text())
    with pytest.raises(FactsError, match=r"requirements\.py311\.lock: missing.*davide lock"):
        load_known(tmp_path)


@pytest.mark.parametrize(
    ("architecture", "gpu", "sources", "best"),
    [
        ("x86_64", "none", ("pip",), "tf-cpu"),
        ("x86_64", "a100", ("pip",), "tf-cuda"),
        ("x86_64", "p100", ("pip",), "tf-cuda-pascal-volta"),
        ("x86_64", "v100", ("apptainer", "pip"), "tf-apptainer"),
        ("x86_64", "a100", ("modules", "pip"), "tf-modules"),
        ("ppc64le", "v100", ("conda",), "tf-ppc64le"),
        ("ppc64le", "p100", ("modules", "conda"), "tf-modules"),
    ],
)
def test_architecture_gpu_and_source_choose_the_kernel(tmp_path, known, architecture, gpu, sources, best):
    site = changed_site(tmp_path, "[pip, modules, apptainer]", f"[{', '.join(sources)}]")
    assert choose(site, known, Place("p", architecture, gpu))[0] == best


def test_what_does_not_fit_has_every_reason(known):
    reasons = obstacles(known["tf-cuda"], Place("p", "ppc64le", "p100"), ("conda",))
    said = " | ".join(reasons)
    for part in (
        "comes from pip, and site.kernel_sources has conda only",
        "the nodes are ppc64le",
        "have P100",
        "cuDNN",
    ):
        assert part in said


def test_every_recipe_fits_each_place_that_it_claims(known):
    for one in known.values():
        for architecture in one.recipe.architectures:
            for gpu in one.recipe.gpus:
                assert obstacles(one, Place("p", architecture, gpu), ALL) == []


def test_only_what_was_run_here_says_so(known):
    assert [name for name, one in known.items() if one.recipe.ran == "here"] == ["tf-cpu"]


def test_site_with_a_wrong_kernel_is_told_the_right_one(tmp_path, known):
    site = changed_site(tmp_path, "tf-cuda-pascal-volta, tf-modules", "tf-cuda, tf-modules")
    (text,) = check_kernels(site, known)
    assert "site.kernels: tf-cuda fits none of the site's nodes" in text
    assert "Instead write tf-cuda-pascal-volta" in text


def test_site_with_a_kernel_of_no_recipe_is_told_the_recipes(tmp_path, known):
    site = changed_site(tmp_path, "tf-cuda-pascal-volta, tf-modules", "tf-gpu, tf-modules")
    assert check_kernels(site, known)[0].startswith("site.kernels: 'tf-gpu' has no folder in kernels/; write some of")


def test_nodes_without_gpus_have_none_whatever_the_model(tmp_path):
    assert places(load_site(SITE))[0].gpu == "v100"
    assert places(changed_site(tmp_path, "gpu_model: v100", "architecture: aarch64"))[0] == Place(
        "dvd_usr_prod", "aarch64", "none"
    )


def test_check_refuses_a_kernel_that_does_not_fit(tmp_path, capsys):
    path = tmp_path / "site.yml"
    path.write_text(SITE.read_text().replace("tf-cuda-pascal-volta", "tf-cuda"))
    assert main(["check", str(path)]) == 1
    assert f"{path}: site.kernels: tf-cuda fits none" in capsys.readouterr().err


def test_choose_names_what_fits_and_why_the_rest_does_not(capsys):
    assert main(["kernels", "choose", "--site", str(SITE)]) == 0
    said = capsys.readouterr().out
    assert "tf-cuda-pascal-volta fits; not run on a GPU here" in said
    assert "not tf-cuda: it is for T4" in said


def test_versions_are_listed_with_their_size_and_not_a_neighbours(tmp_path):
    for name, size in {"kernel-a-111": 5_000_000, "kernel-a-222": 1_000_000, "kernel-a-b-333": 9_000_000}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "wheel").write_bytes(b"x" * size)
        (tmp_path / name / "again").hardlink_to(tmp_path / name / "wheel")
    (tmp_path / "kernel-a").symlink_to("kernel-a-222")
    rows = installed_versions(tmp_path / "kernel-a")
    assert [(row.path.name, row.current) for row in rows] == [("kernel-a-222", True), ("kernel-a-111", False)]
    assert 5_000_000 <= rows[1].bytes < 5_100_000
