"""Architecture x GPU x source: which kernel fits which nodes, and the reasons why the others do not.

A rule is a fact about software that others made, with where it is said. It judges versions as the locks have them, so
an upgrade that breaks a kernel is refused before any node sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from davide_hub.facts import FactsError, Partition, Site
from davide_hub.kernels.recipe import Recipe, load_recipe, load_recipes, place_of, versions
from davide_hub.sentences import Finding, sentence

# Compute capability, times ten: https://developer.nvidia.com/cuda-gpus
CAPABILITY = {"p100": 60, "v100": 70, "t4": 75, "a100": 80, "a40": 86, "l40s": 89, "h100": 90, "h200": 90}


@dataclass(frozen=True)
class Place:
    """Nodes on which a kernel may run."""

    partition: str
    architecture: str
    gpu: str

    def __str__(self) -> str:
        """Return it in words."""
        return f"partition {self.partition} ({self.architecture}, {_named(self.gpu)})"


@dataclass(frozen=True)
class Known:
    """A recipe with its name, and with what it would install: by Python's version, each package's."""

    name: str
    recipe: Recipe
    installs: Mapping[str, Mapping[str, str]]


def load_known(folder: Path) -> dict[str, Known]:
    """Return every recipe below `kernels/`, each checked against the rules for all that it says it fits.

    Raises
    ------
    FactsError
        If a kernel.yml is bad, a lock is missing, or a recipe claims what its versions can't do.
    """
    known = {
        name: Known(name, recipe, versions(recipe, folder / name)) for name, recipe in load_recipes(folder).items()
    }
    if wrong := [text for one in known.values() for text in _false_claims(one, folder / one.name / "kernel.yml")]:
        raise FactsError(wrong)
    return known


def _false_claims(known: Known, path: Path) -> Iterator[str]:
    document = place_of(path)
    for architecture in known.recipe.architectures:
        for gpu in known.recipe.gpus:
            for reason in _broken_rules(known, architecture, gpu):
                finding: Finding = (("gpus",) if "cuDNN" in reason else (), reason)
                yield sentence(document, finding)


def places(site: Site) -> list[Place]:
    """Return the kinds of nodes that a site has."""
    return [Place(one.name, one.architecture, _gpu(one)) for one in site.slurm.partitions]


def _gpu(partition: Partition) -> str:
    return (partition.gpu_model or "none") if partition.gpus else "none"


def obstacles(known: Known, place: Place, sources: tuple[str, ...]) -> list[str]:
    """Return why a kernel does not fit some nodes; an empty list if it does.

    Parameters
    ----------
    known
        The kernel.
    place
        The nodes.
    sources
        Where TensorFlow may come from at this site.
    """
    recipe, found = known.recipe, []
    if recipe.source not in sources:
        found.append(
            f"its TensorFlow comes from {recipe.source}, and site.kernel_sources has {', '.join(sources)} only"
        )
    if place.architecture not in recipe.architectures:
        found.append(f"it is for {' and '.join(recipe.architectures)}, the nodes are {place.architecture}")
    if recipe.needs_gpu and place.gpu not in recipe.gpus:
        found.append(f"it is for {', '.join(map(_named, recipe.gpus))}, the nodes have {_named(place.gpu)}")
        found += _cudnn(known, place.gpu)
    return found + [text for text in _broken_rules(known, place.architecture, place.gpu) if text not in found]


def _broken_rules(known: Known, architecture: str, gpu: str) -> list[str]:
    cudnn = _cudnn(known, gpu) if known.recipe.needs_gpu else []
    return [*cudnn, *_ipykernel(known), *_wheels(known, architecture)]


def _cudnn(known: Known, gpu: str) -> list[str]:
    # https://docs.nvidia.com/deeplearning/cudnn/backend/v9.11.0/release-notes.html
    found = {p.get("nvidia-cudnn-cu12", "") for p in known.installs.values()} - {""}
    return [
        f"its cuDNN {version} has no code for a {_named(gpu)}: 9.11 dropped Pascal and Volta; "
        "pin nvidia-cudnn-cu12==9.10.2.21, as tf-cuda-pascal-volta does"
        for version in sorted(found)
        if gpu in CAPABILITY and CAPABILITY[gpu] < 75 and _number(version) >= (9, 11)
    ]


def _ipykernel(known: Known) -> list[str]:
    # Requires-Python of ipykernel 7.0.0 is >=3.10.
    return [
        f"ipykernel {packages['ipykernel']} needs Python 3.10, and this has {python}; pin ipykernel 6"
        for python, packages in known.installs.items()
        if _number(packages.get("ipykernel", "0")) >= (7,) and (0,) < _number(python) < (3, 10)
    ]


def _wheels(known: Known, architecture: str) -> list[str]:
    if known.recipe.source == "pip" and architecture == "ppc64le":
        return ["there are no wheels of TensorFlow for ppc64le; take source conda (tf-ppc64le) or modules (tf-modules)"]
    return []


def _number(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) for part in parts) if all(part.isdigit() for part in parts) else (0,)


def _named(gpu: str) -> str:
    return "no GPU" if gpu == "none" else gpu.upper()


def choose(site: Site, known: Mapping[str, Known], place: Place) -> list[str]:
    """Return the kernels that fit some nodes, the best first.

    Those that use the nodes' GPU come before those for processors alone, and among them the site's preferred source.
    """
    fitting = [one for one in known.values() if not obstacles(one, place, site.kernel_sources)]
    order = sorted(
        fitting, key=lambda one: (not one.recipe.needs_gpu, site.kernel_sources.index(one.recipe.source), one.name)
    )
    return [one.name for one in order]


def check_kernels(site: Site, known: Mapping[str, Known]) -> list[str]:
    """Return what is wrong with `site.kernels`, in sentences with the fix."""
    return [text for name in site.kernels for text in _check_kernel(site, known, name)]


def _check_kernel(site: Site, known: Mapping[str, Known], name: str) -> list[str]:
    if name not in known:
        return [f"site.kernels: {name!r} has no folder in kernels/; write some of {', '.join(known)}"]
    if known[name].recipe.source == "modules" and not site.modules:
        return [f"site.modules: missing, and {name} loads them; write what `module load` needs at this site"]
    reasons = {place: obstacles(known[name], place, site.kernel_sources) for place in places(site)}
    if not all(reasons.values()):
        return []
    better = [other for place in reasons for other in choose(site, known, place)]
    fix = f"write {' or '.join(dict.fromkeys(better))}" if better else "no kernel fits; see kernels/README.md"
    told = "; ".join(f"{place}: {', and '.join(texts)}" for place, texts in reasons.items())
    return [f"site.kernels: {name} fits none of the site's nodes. {told}. Instead {fix}"]


def load_installed(folder: Path) -> Recipe:
    """Return the recipe of an installed kernel: the play puts its kernel.yml beside its kernel.json."""
    return load_recipe(folder / "kernel.yml")
