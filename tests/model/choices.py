"""Everything that may happen in a step, one run for each: a step asks what happens, and a script answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class Choices:
    """The answers of one run of a step.

    Parameters
    ----------
    script
        Which of the options to take at the first choices; the first option of each one after these.

    Attributes
    ----------
    made
        What was taken, wherever it was not the first option.
    """

    def __init__(self, script: tuple[int, ...] = ()) -> None:
        self._script = script
        self._taken: list[int] = []
        self._options: list[int] = []
        self.made: list[Any] = []

    def among(self, *options: Any) -> Any:
        """Return one of the options. The first is what happens when all goes well."""
        at = len(self._taken)
        taken = self._script[at] if at < len(self._script) else 0
        self._taken.append(taken)
        self._options.append(len(options))
        if taken:
            self.made.append(options[taken])
        return options[taken]

    @property
    def mishaps(self) -> int:
        """How often something else than the first option was taken."""
        return len(self.made)

    def rest(self) -> Iterator[tuple[int, ...]]:
        """Yield scripts that differ from this run, for the first time, at one of the choices that it made freely."""
        for at in range(len(self._script), len(self._taken)):
            before = tuple(self._taken[:at])
            for other in range(1, self._options[at]):
                yield (*before, other)
