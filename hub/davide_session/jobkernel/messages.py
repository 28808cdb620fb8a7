"""Messages of Jupyter's protocol, as far as somebody between a page and its kernel has to read and write them.

Not `jupyter_client.session`: the supervisor in the job would import half of Jupyter for it, while the user waits.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_DELIMITER = b"<IDS|MSG>"
_SCHEME = "hmac-"


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes
    ----------
    route
        The frames before the message, by which an answer finds its way.
    header, parent
        As JSON has them.
    raw
        The content, as it came: it may be large, and few want to know it.
    """

    route: tuple[bytes, ...]
    header: Mapping[str, Any]
    parent: Mapping[str, Any]
    raw: bytes

    @property
    def content(self) -> Mapping[str, Any]:
        """The content, as JSON has it."""
        content = json.loads(self.raw)
        return content if isinstance(content, dict) else {}

    @property
    def kind(self) -> str:
        """The type of the message, such as `execute_request`."""
        return str(self.header.get("msg_type", ""))

    @property
    def id(self) -> str:
        """The message's own name."""
        return str(self.header.get("msg_id", ""))

    @property
    def parent_id(self) -> str:
        """The name of the message that this one is an answer to."""
        return str(self.parent.get("msg_id", ""))


def read(frames: Sequence[bytes]) -> Message | None:
    """Return the message in some frames, None if there is none.

    The signature is not checked: who gets the message does that, and here nothing is done but what its sender
    could order anyhow.
    """
    try:
        start = list(frames).index(_DELIMITER)
        header, parent = (json.loads(one) for one in frames[start + 2 : start + 4])
        raw = frames[start + 5]
    except (ValueError, IndexError):
        return None
    if not isinstance(header, dict) or not isinstance(parent, dict):
        return None
    return Message(tuple(frames[:start]), header, parent, raw)


class Writer:
    """Writes messages in a kernel's name.

    Parameters
    ----------
    key, scheme
        By which they are signed, as in the kernel's connection file.
    """

    def __init__(self, key: bytes, scheme: str = "hmac-sha256") -> None:
        if not scheme.startswith(_SCHEME):
            raise ValueError(f"messages signed by {scheme!a} can't be written; set Session.signature_scheme")
        self._key, self._digest = key, getattr(hashlib, scheme.removeprefix(_SCHEME))
        self._session = uuid.uuid4().hex

    def write(
        self,
        kind: str,
        content: Mapping[str, Any],
        *,
        parent: Mapping[str, Any] | None = None,
        to: Sequence[bytes] = (),
    ) -> list[bytes]:
        """Return the frames of a message.

        Parameters
        ----------
        kind, content
            What it is, and what it says.
        parent
            The header of the message that it answers.
        to
            The frames by which it finds its way.
        """
        header = {
            "msg_id": uuid.uuid4().hex,
            "session": self._session,
            "username": "davide",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.3",
        }
        parts = [json.dumps(part).encode() for part in (header, parent or {}, {}, content)]
        return [*to, _DELIMITER, self._sign(parts), *parts]

    def _sign(self, parts: list[bytes]) -> bytes:
        if not self._key:
            return b""
        signature = hmac.new(self._key, digestmod=self._digest)
        for part in parts:
            signature.update(part)
        return signature.hexdigest().encode()
