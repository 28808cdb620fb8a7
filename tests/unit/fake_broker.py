"""A broker that says what it is told to say."""

from __future__ import annotations

from typing import Any

from davide_hub.broker.client import BrokerClient


class FakeBroker(BrokerClient):
    """Answers each verb as set in `answers`: a text, an exception, or a function to await. Else "17"."""

    def __init__(self, **answers: Any) -> None:
        # The client is frozen; these are the stand-in's own.
        object.__setattr__(self, "said", [])
        object.__setattr__(self, "answers", answers)

    def __deepcopy__(self, _memo: object) -> FakeBroker:
        return self  # traitlets copies what stands in a configuration

    async def _ask(self, request: Any, seconds: float = 0) -> Any:
        self.said.append(request)
        answer = self.answers.get(request.verb, "17")
        if isinstance(answer, Exception):
            raise answer
        return await answer() if callable(answer) else answer

    def verbs(self) -> list[str]:
        """Return what was asked, in order."""
        return [request.verb for request in self.said]
