"""A broker that says what it is told to say."""

from __future__ import annotations

import json
from typing import Any

from davide_hub.broker.client import BrokerClient

HUB = "0a1b2c3d"


def looked(number: str = "17", state: str = "RUNNING", node: str = "gpu01", **more: Any) -> str:
    """Return what the broker tells of a job as its owner sees it."""
    return json.dumps(
        {"number": number, "state": state, "node": node, "reason": "", "uid": 6001, "cancelled_by": None} | more
    )


def listed(*rows: dict[str, str]) -> str:
    """Return the broker's list of open sessions; a row tells what is special about it."""
    usual = {"key": "ab12", "user": "student01", "server": "", "state": "submitted", "job": "17"}
    return json.dumps({"hub": HUB, "sessions": [usual | row for row in rows]})


def recalled(port: int = 0) -> str:
    """Return what the broker recalls of a session; one that does not listen yet has no port."""
    return json.dumps({"token": "its own token", "profile": "no-gpu", "port": port})


class FakeBroker(BrokerClient):
    """Answers each verb as set in `answers`: a text, an exception, or a function to await. Else as all goes well."""

    def __init__(self, **answers: Any) -> None:
        # The client is frozen; these are the stand-in's own.
        usual = {"submit": "17", "cancel": "gone", "close": "gone", "look": looked(), "sessions": listed()}
        usual["recall"] = recalled()
        object.__setattr__(self, "said", [])
        object.__setattr__(self, "answers", usual | answers)

    def __deepcopy__(self, _memo: object) -> FakeBroker:
        return self  # traitlets copies what stands in a configuration

    async def _ask(self, request: Any, seconds: float = 0) -> Any:
        self.said.append(request)
        answer = self.answers.get(request.verb, "")
        if isinstance(answer, Exception):
            raise answer
        return await answer() if callable(answer) else answer

    def verbs(self) -> list[str]:
        """Return what was asked, in order."""
        return [request.verb for request in self.said]
