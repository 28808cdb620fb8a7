"""What a kernel is: `kernels/NAME/kernel.yml` as types, and what its locks would install."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError

from davide_hub.kinds import Architecture, Fact, Gpu, Label, Source, Text
from davide_hub.reading import Document, FactsError, read_plain_yaml
from davide_hub.sentences import Finding, explain, sentence

MODEL = "kernels/tf-cpu/kernel.yml"
NOT_RUN = "not run on a GPU here"

_ENTRIES = Field(strict=False, min_length=1)
_PINNED = re.compile(r"^(?:- )?([A-Za-z0-9._-]+)==?([0-9][0-9A-Za-z.]*)", re.MULTILINE)


class Recipe(Fact):
    """One kernel. A folder's name is its kernel's name; everything else stands in its kernel.yml."""

    display_name: Annotated[Text, Field(examples=["TensorFlow (CPU)"])]
    language: Annotated[Literal["python"], Field(description="python", examples=["python"])]
    architectures: Annotated[tuple[Architecture, ...], _ENTRIES]
    gpus: Annotated[
        tuple[Gpu | Annotated[Literal["none"], Field(description="none, or a GPU that kernels/README.md knows")], ...],
        _ENTRIES,
    ]
    source: Source
    ran: Annotated[
        Literal["here", "not run on a GPU here"],
        Field(description=f"where its test has passed: here, or {NOT_RUN}", examples=[NOT_RUN]),
    ]
    warm: (
        Annotated[
            str,
            Field(
                pattern=r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*\z",
                max_length=100,
                description="a module that sessions import in advance",
                examples=["tensorflow"],
            ),
        ]
        | None
    ) = None
    python: (
        Annotated[
            tuple[
                Annotated[
                    Literal["py311", "py313"],
                    Field(description="the Python of a release that locks are made for", examples=["py311"]),
                ],
                ...,
            ],
            _ENTRIES,
        ]
        | None
    ) = None
    environment: Annotated[Label, Field(examples=["kernel-tf-cpu"])] | None = None
    image: (
        Annotated[
            str,
            Field(
                pattern=r"^docker://[a-z0-9][a-z0-9./-]*:[A-Za-z0-9_][A-Za-z0-9_.-]*\z",
                max_length=200,
                description="an image of docker:// with a version",
                examples=["docker://tensorflow/tensorflow:2.19.0-gpu-jupyter"],
            ),
        ]
        | None
    ) = None

    @property
    def needs_gpu(self) -> bool:
        """Say whether the kernel is of no use on a node without a GPU."""
        return "none" not in self.gpus


# What a source needs, beside what every recipe has.
_NEEDS: Mapping[str, tuple[str, ...]] = {
    "pip": ("python", "environment"),
    "modules": (),
    "conda": ("environment",),
    "apptainer": ("image",),
}


def load_recipes(folder: Path) -> dict[str, Recipe]:
    """Return all recipes below a folder, by name.

    Raises
    ------
    FactsError
        As `load_recipe`.
    """
    return {path.parent.name: load_recipe(path) for path in sorted(folder.glob("*/kernel.yml"))}


def load_recipe(path: Path) -> Recipe:
    """Return what a kernel.yml says.

    Raises
    ------
    FactsError
        If it is no recipe. One sentence per line, each with file, line, key, problem and fix.
    """
    document = read_plain_yaml(path, MODEL)
    try:
        recipe = Recipe.model_validate(document.data)
    except ValidationError as error:
        raise FactsError(explain(error, document, Recipe.model_json_schema())) from None
    if found := list(_misfits(recipe)):
        raise FactsError([sentence(document, finding) for finding in found])
    return recipe


def _misfits(recipe: Recipe) -> list[Finding]:
    optional = {name for names in _NEEDS.values() for name in names}
    needed = _NEEDS[recipe.source]
    given = {name for name in optional if getattr(recipe, name) is not None}
    missing: list[Finding] = [
        ((), f"{name} is missing, and source is {recipe.source}; add it, see {MODEL}")
        for name in needed
        if name not in given
    ]
    needless: list[Finding] = [
        ((name,), f"source {recipe.source} has no use for it; remove it") for name in sorted(given - set(needed))
    ]
    mixed: list[Finding] = []
    if "none" in recipe.gpus and len(recipe.gpus) > 1:
        mixed = [(("gpus",), "'none' stands beside GPUs; write [none], or the GPUs alone")]
    cold: list[Finding] = []
    if recipe.warm and (recipe.source != "pip" or recipe.ran == NOT_RUN):
        cold = [(("warm",), "only for kernels of source pip whose test has passed here; remove it")]
    return missing + needless + mixed + cold


def versions(recipe: Recipe, folder: Path) -> dict[str, dict[str, str]]:
    """Return what a kernel installs: by Python's version ("3.11"), the version of each package.

    Parameters
    ----------
    recipe
        The kernel.
    folder
        Where its kernel.yml lies, with its locks or environment.yml. Of modules and images nothing is known before they
        are there; their test tells.

    Raises
    ------
    FactsError
        If a lock that the recipe promises is missing.
    """
    if recipe.source == "pip":
        return {
            f"{tag[2]}.{tag[3:]}": _pinned(folder / f"requirements.{tag}.lock", "make it: ./davide lock")
            for tag in recipe.python or ()
        }
    if recipe.source == "conda":
        found = _pinned(folder / "environment.yml", "write it, see kernels/tf-ppc64le")
        return {found.get("python", "unknown"): found}
    return {}


def _pinned(path: Path, fix: str) -> dict[str, str]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise FactsError([f"{path}: missing, and kernel.yml needs it; {fix}"]) from None
    if path.suffix == ".yml":
        text = "\n".join(row for row in yaml.safe_load(text)["dependencies"] if isinstance(row, str))
    return dict(_PINNED.findall(text))


def place_of(path: Path) -> Document:
    """Return the document of a kernel.yml, for sentences that name its lines."""
    return read_plain_yaml(path, MODEL)
