"""What people do with JupyterLab."""

from __future__ import annotations

from contextlib import suppress

from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

_TRIES = 6
_SHOWN = "#jp-main-dock-panel .lm-DockPanel-widget:not(.lm-mod-hidden)"


def open_file(page: Page, path: str) -> None:
    """Open a file of the home by the menu, without leaving the page."""
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.get_by_role("menuitem", name="Open from Path…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("textbox").fill(path)
    dialog.get_by_role("button", name="Open").click()
    # JupyterLab may just be opening what its address names, and shows that one then.
    page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel").filter(has_text=path.split("/")[-1]).click()
    shown = page.locator("#jp-main-dock-panel .lm-mod-current .lm-TabBar-tabLabel")
    expect(shown).to_have_text(path.split("/")[-1], timeout=30_000)
    expect(page.locator(f"{_SHOWN} .cm-content").first).to_be_visible(timeout=30_000)


def type_into(page: Page, text: str) -> None:
    """Type into the text file that is shown."""
    page.locator(f"{_SHOWN} .cm-content").first.click()
    page.keyboard.type(text)


def run_cell(page: Page) -> None:
    """Run the first cell of the notebook that is shown, once its kernel is there."""
    shown = page.locator(_SHOWN)
    shown.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=120_000)
    # The notebook's own sign is idle also while there is no kernel at all.
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=120_000)
    # Keys that come while JupyterLab is still starting the notebook's kernel make it ask for one.
    asked = page.get_by_role("dialog").filter(has_text="Select kernel for:")
    page.add_locator_handler(asked, lambda dialog: dialog.get_by_role("button", name="Select", exact=True).click())
    begun = shown.locator(".jp-InputPrompt").filter(has_text="[*]:").first
    for _ in range(_TRIES):
        # JupyterLab takes no key while it is still putting the page together.
        shown.locator(".jp-Cell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        with suppress(PlaywrightTimeout):
            begun.wait_for(timeout=5_000)
            return
    begun.wait_for()
