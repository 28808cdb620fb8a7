"""Speaks to pages in the place of a kernel that is not there: its job waits, or has ended.

Requests are kept until the kernel comes, and answered with the reason if it never does. All that a notebook shows of it
comes as the output of a cell, so any front end shows it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from davide_session.jobkernel.messages import Message, Writer, read

# A kernel that starts at once answers by itself who it is; a page that opens waits for that, but not for ever.
_PATIENCE_SECONDS = 5.0
_ENAME = "KernelJob"

Out = tuple[str, list[bytes]]

# What pages ask when they open, and nobody has to wait for an error.
_NOTHING: dict[str, dict[str, Any]] = {
    "comm_info_request": {"status": "ok", "comms": {}},
    "history_request": {"status": "ok", "history": []},
    "is_complete_request": {"status": "unknown"},
}
_PYTHON = {
    "name": "python",
    "version": "",
    "mimetype": "text/x-python",
    "file_extension": ".py",
    "pygments_lexer": "ipython3",
    "codemirror_mode": {"name": "ipython", "version": 3},
    "nbconvert_exporter": "python",
}


class StandIn:
    """Keeps what pages want, and answers where the kernel does not.

    Parameters
    ----------
    writer
        Signs in the kernel's name.
    language
        The kernel's, as its kernelspec says.
    clock
        Seconds that only grow.
    """

    def __init__(self, writer: Writer, language: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer, self._clock = writer, clock
        language_info = _PYTHON if language == "python" else {"name": language, "mimetype": "", "file_extension": ""}
        self.info: Mapping[str, Any] = {
            "status": "ok",
            "protocol_version": "5.3",
            "implementation": "davide-job",
            "implementation_version": "",
            "language_info": language_info,
            "banner": "",
            "help_links": [],
        }
        self.why = ""
        self._kept: list[Out] = []
        self._asked: dict[str, Message] = {}
        self._told: dict[str, Message] = {}
        self._expected_since = clock()

    @property
    def waited_for(self) -> bool:
        """Whether a cell waits for the kernel, or runs in it."""
        return bool(self._asked)

    def expect(self) -> None:
        """Begin to wait for the kernel."""
        self._expected_since = self._clock()

    # -- while the kernel is there

    def note_request(self, channel: str, frames: list[bytes]) -> None:
        """Note what a page asks the kernel."""
        if channel == "shell" and (message := read(frames)) and message.kind == "execute_request":
            self._asked[message.id] = message

    def note_answer(self, channel: str, frames: list[bytes]) -> None:
        """Note what the kernel answers."""
        if self._asked and channel == "shell" and (message := read(frames)) and message.kind == "execute_reply":
            self._asked.pop(message.parent_id, None)

    def forget(self) -> None:
        """Forget what was asked of a kernel that is gone: pages do the same when it starts again."""
        self._asked = {name: message for name, message in self._asked.items() if self._is_kept(message)}
        self._told = {}

    # -- while it is not

    def keep(self, channel: str, frames: list[bytes]) -> None:
        """Keep a request for the kernel that is to come."""
        self._kept.append((channel, frames))
        self.note_request(channel, frames)

    def release(self) -> tuple[list[Out], list[Out]]:
        """Return what is to be said to pages, and then to the kernel: it is there now."""
        out = [self._iopub("clear_output", {"wait": False}, message) for message in self._told.values()]
        kept, self._kept, self._told = self._kept, [], {}
        return out, kept

    def impatient(self) -> list[Out]:
        """Return the answers to who wants to know what kind of kernel this is, once it is late enough."""
        if self._clock() - self._expected_since < _PATIENCE_SECONDS:
            return []
        out, rest = list[Out](), list[Out]()
        for channel, frames in self._kept:
            message = read(frames)
            if message and message.kind == "kernel_info_request":
                out += self._answer(channel, message, self.info)
            else:
                rest.append((channel, frames))
        self._kept = rest
        return out

    def tell(self, text: str) -> list[Out]:
        """Return a text for the cell that waits or runs; nothing if there is none."""
        message = next(iter(self._asked.values()), None)
        if message is None:
            return []
        out = [] if message.id in self._told else [self._iopub("status", {"execution_state": "busy"}, message)]
        if any(message.id == one.id for one in self._told.values()):
            # What it said before is no longer so.
            out.append(self._iopub("clear_output", {"wait": True}, message))
        if self._is_kept(message):
            self._told[message.id] = message
        return [*out, self._iopub("stream", {"name": "stderr", "text": f"{text}\n"}, message)]

    def give_up(self, why: str) -> list[Out]:
        """Return the answers to all who wait: there is no kernel, and why. The others of a page's cells are aborted."""
        self.why = why
        kept = [(channel, read(frames)) for channel, frames in self._kept]
        asked, self._kept, self._asked, self._told = list(self._asked.values()), [], {}, {}
        out: list[Out] = []
        for index, message in enumerate(asked):
            out += self._no_kernel("shell", message) if index == 0 else self._abort(message)
        for channel, other in kept:
            if other is not None and other.kind != "execute_request":
                out += self._no_kernel(channel, other)
        return out

    def answer(self, channel: str, frames: list[bytes]) -> list[Out]:
        """Return the answer to a request after the kernel's end."""
        message = read(frames)
        return [] if message is None else self._no_kernel(channel, message)

    def done(self, channel: str, message: Message) -> list[Out]:
        """Return the answer to a request that was fulfilled."""
        return [self._reply(channel, message, {"status": "ok"})]

    def farewell(self, channel: str, message: Message) -> list[Out]:
        """Return the answer to whoever wants a kernel that is not there to go."""
        restart = bool(message.content.get("restart"))
        return [self._reply(channel, message, {"status": "ok", "restart": restart})]

    # -- words

    def _is_kept(self, message: Message) -> bool:
        return any((one := read(frames)) and one.id == message.id for _, frames in self._kept)

    def _no_kernel(self, channel: str, message: Message) -> list[Out]:
        if message.kind == "kernel_info_request":
            return self._answer(channel, message, self.info)
        if message.kind == "shutdown_request":
            return self.farewell(channel, message)
        if message.kind in _NOTHING:
            return self._answer(channel, message, _NOTHING[message.kind])
        error = {"ename": _ENAME, "evalue": self.why, "traceback": [self.why]}
        out = [self._iopub("error", error, message)] if message.kind == "execute_request" else []
        return self._answer(channel, message, {"status": "error", "execution_count": 0, **error}, out)

    def _abort(self, message: Message) -> list[Out]:
        return self._answer("shell", message, {"status": "aborted", "execution_count": 0})

    def _answer(
        self, channel: str, message: Message, content: Mapping[str, Any], before: list[Out] | None = None
    ) -> list[Out]:
        return [
            self._iopub("status", {"execution_state": "busy"}, message),
            *(before or []),
            self._reply(channel, message, content),
            self._iopub("status", {"execution_state": "idle"}, message),
        ]

    def _reply(self, channel: str, message: Message, content: Mapping[str, Any]) -> Out:
        kind = message.kind.replace("_request", "_reply")
        return channel, self._writer.write(kind, content, parent=message.header, to=message.route)

    def _iopub(self, kind: str, content: Mapping[str, Any], message: Message) -> Out:
        return "iopub", self._writer.write(kind, content, parent=message.header, to=[kind.encode()])
