"""A student at a browser: what people do with the hub's pages and with JupyterLab."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from support.cluster import Cluster

LESSON = "01_undercomplete_autoencoder.ipynb"


@dataclass
class Student:
    """A student at a browser of their own."""

    name: str
    page: Page
    cluster: Cluster
    pictures: Path
    wait_for: Callable[..., Any]

    def picture(self, title: str) -> None:
        """Keep what the student sees."""
        self.page.screenshot(path=self.pictures / f"{title}.png")

    def log_in(self, password: str | None = None) -> None:
        """Fill in the log-in form."""
        self.page.goto(self.cluster.hub_url)
        self.page.get_by_label("Username:").fill(self.name)
        self.page.get_by_label("Password:", exact=True).fill(password or self.cluster.password(self.name))
        self.page.get_by_role("button", name="Sign in").click()

    def enter(self) -> None:
        """Log in, end what an earlier run left, and go to the form."""
        self.log_in()
        self.page.get_by_role("button", name="Logout").or_(self.page.get_by_role("link", name="Logout")).or_(
            self.page.locator("#jp-main-dock-panel")
        ).first.wait_for(timeout=60_000)
        self.stop()
        self.page.goto(f"{self.cluster.hub_url}/hub/spawn")

    def start(self, profile: str) -> None:
        """Choose a profile and press Start."""
        self.page.goto(f"{self.cluster.hub_url}/hub/spawn")
        self.page.get_by_role("radio", name=profile).check()
        self.page.get_by_role("button", name="Start").click()

    def wait_for_lab(self) -> None:
        """Wait until JupyterLab shows its main area."""
        self.page.wait_for_url(f"**/user/{self.name}/lab**", timeout=120_000)
        self.page.wait_for_selector("#jp-main-dock-panel", timeout=120_000)

    def open_notebook(self, path: str) -> None:
        """Open a notebook of the home folder alone, and wait for its kernel."""
        self.page.goto(f"{self.cluster.user_url(self.name)}/lab/tree/{path}?reset")
        title = self.page.locator("#jp-main-dock-panel .lm-mod-current .lm-TabBar-tabLabel")
        expect(title).to_have_text(Path(path).name, timeout=120_000)
        shown = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
        shown.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
        shown.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)

    def run_all(self, path: str, seconds: float) -> dict[str, Any]:
        """Run a notebook from top to bottom in the page, save it, and return what was saved."""
        prompts = self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-InputPrompt")

        def begun() -> bool:
            # The menus take no click while JupyterLab is still putting the page together.
            self.page.get_by_role("menuitem", name="Run", exact=True).click()
            item = self.page.get_by_role("menuitem", name="Run All Cells", exact=True)
            item.hover()
            item.click()
            with contextlib.suppress(PlaywrightTimeout):
                prompts.filter(has_text=re.compile(r"\[(\*|\d+)\]:")).first.wait_for(timeout=5_000)
                return True
            self.page.keyboard.press("Escape")
            return False

        self.wait_for(begun, f"{path} to begin to run", 60)

        def all_ran() -> dict[str, Any] | None:
            self.page.keyboard.press("Control+s")
            saved = self.read_notebook(path)
            code = [cell for cell in saved["cells"] if cell["cell_type"] == "code"]
            done = all(cell["execution_count"] for cell in code) or any(errors(cell) for cell in code)
            return saved if done else None

        saved: dict[str, Any] = self.wait_for(all_ran, f"{path} to run to its end", seconds, every=3)
        return saved

    def read_notebook(self, path: str) -> dict[str, Any]:
        """Return a notebook as it lies in the student's home."""
        lies = f"/home/{self.name}/{shlex.quote(path)}"

        def whole() -> dict[str, Any] | None:
            # JupyterLab saves by emptying the file first: who looks in just this moment finds a part of it.
            with contextlib.suppress(json.JSONDecodeError):
                notebook: dict[str, Any] = json.loads(self.cluster.output("hub01", f"cat {lies}"))
                return notebook
            return None

        found: dict[str, Any] = self.wait_for(whole, f"{path} to be saved", 30)
        return found

    def job(self) -> dict[str, str]:
        """Return the student's one job as squeue shows it; empty if there is none."""
        fields = "JobID,UserName,Account,State,tres-per-node,NumNodes,NodeList"
        shown = ":|,".join(fields.split(","))
        rows = self.cluster.output("ctl01", f"squeue --noheader --user {self.name} --Format='{shown}:'")
        assert len(rows.splitlines()) <= 1, f"more than one job: {rows}"
        return dict(zip(fields.split(","), (word.strip() for word in rows.split("|")), strict=False)) if rows else {}

    def stop(self) -> None:
        """Press Stop on the home page if a session is there, and wait until hub and Slurm have none any more."""
        self.page.goto(f"{self.cluster.hub_url}/hub/home")
        if (button := self.page.locator("#session-stop")).count():
            button.click()
        self.page.get_by_text("No session is running").wait_for(timeout=90_000)
        self.wait_for(lambda: not self.job(), f"the job of {self.name} to end", 60)


def errors(cell: dict[str, Any]) -> list[str]:
    """Return the errors among a cell's outputs."""
    return ["\n".join(out["traceback"]) for out in cell["outputs"] if out["output_type"] == "error"]


def text_of(cell: dict[str, Any]) -> str:
    """Return all that a cell printed or displayed as text."""
    texts = ["".join(out.get("text", "")) for out in cell["outputs"]]
    return "\n".join(texts + ["".join(out.get("data", {}).get("text/plain", "")) for out in cell["outputs"]])
