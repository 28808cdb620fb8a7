"""Ansible's output as an administrator wants to read it: a line per task, every change and warning, nothing else.

Changes are counted item by item (ansible counts tasks), and written as JSON to the file named by DAVIDE_CHANGES.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: davide_progress
type: stdout
short_description: a line per task, every change, and what failed
description:
  - Prints plays and tasks with their time, and the changes and failures of each.
"""


class CallbackModule(CallbackBase):
    """The stdout callback of this project."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "davide_progress"

    def __init__(self) -> None:
        super().__init__()
        self.changes: list[dict[str, str]] = []
        self.plays = 0
        self.played = 0
        self.task = ""
        self.started = time.monotonic()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Count the plays, so that each can say how far we are."""
        self.plays = len(playbook.get_plays())

    def v2_playbook_on_play_start(self, play: Any) -> None:
        """Say which play begins."""
        self._finish_task()
        self.task = ""
        self.played += 1
        self._display.display(f"      [{self.played}/{self.plays}] {play.get_name().strip()}")

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:  # noqa: ARG002
        """Begin a task."""
        self._finish_task()
        self.task = task.get_name().strip()

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        """Begin a handler."""
        self.v2_playbook_on_task_start(task, False)

    def v2_runner_on_ok(self, result: Any) -> None:
        """Note a change; a loop's changes were noted item by item."""
        if result._result.get("changed") and "results" not in result._result:
            self._note(result, "")

    def v2_runner_item_on_ok(self, result: Any) -> None:
        """Note a change of one item, and print what a task is there to say."""
        if result._result.get("changed"):
            self._note(result, str(result._result.get("_ansible_item_label", "")))
        if result._task.action.endswith("debug"):
            self._display.display(f"      {result._host.get_name()}: {result._result.get('msg')}", color="purple")

    def v2_runner_item_on_failed(self, result: Any) -> None:
        """Say what failed."""
        self._fail(result, "failed")

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """Say what failed."""
        if not ignore_errors:
            self._fail(result, "failed")

    def v2_runner_on_unreachable(self, result: Any) -> None:
        """Say which host does not answer."""
        self._fail(result, "is out of reach")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Print the recap, and write down the changes."""
        self._finish_task()
        changed = [change["host"] for change in self.changes]
        for host in sorted(stats.processed):
            row = stats.summarize(host)
            self._display.display(
                f"      {host:<10} : ok={row['ok']} changed={changed.count(host)} "
                f"unreachable={row['unreachable']} failed={row['failures']}"
            )
        if target := os.environ.get("DAVIDE_CHANGES"):
            Path(target).write_text(json.dumps(self.changes))

    def _finish_task(self) -> None:
        took = time.monotonic() - self.started
        if self.task and (took >= 2 or self._display.verbosity):
            self._display.display(f"            {self.task} ({took:.1f} s)")
        self.started = time.monotonic()

    def _note(self, result: Any, item: str) -> None:
        self.changes.append({"host": result._host.get_name(), "task": self.task, "item": item})

    def _fail(self, result: Any, how: str) -> None:
        said = result._result
        hidden = said.get("_ansible_no_log") or "censored" in said
        text = "output hidden, it may hold secrets" if hidden else (said.get("msg") or "")
        details = [] if hidden else [str(said.get(key, "")).strip() for key in ("stderr", "stdout", "exception")]
        self._display.display(f"      {result._host.get_name()}: {self.task}: {how}: {text}", color="red")
        for detail in details:
            if detail and detail not in text:
                self._display.display("        " + detail[-3000:].replace("\n", "\n        "))
