"""Looking for pages that some people can't use: axe-core (https://github.com/dequelabs/axe-core) in a page."""

from __future__ import annotations

from functools import cache
from typing import Any

from davide_lab.npm import installed
from playwright.sync_api import Page

from support.cluster import ROOT

_SERIOUS = ("serious", "critical")


def findings(page: Page) -> list[dict[str, Any]]:
    """Return what axe finds in a page, as it describes it; the page is given axe's script if it has none yet."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(_script())  # not as an element, which a page's own policy may forbid
    found: list[dict[str, Any]] = page.evaluate("() => axe.run().then((result) => result.violations)")
    return found


def assert_usable(page: Page) -> None:
    """Fail if axe finds anything serious, naming the rule and the elements."""
    serious = [one for one in findings(page) if one["impact"] in _SERIOUS]
    told = [f"{one['id']}: {one['help']}: {[node['target'] for node in one['nodes']]}" for one in serious]
    assert not told, "\n".join(told)


@cache
def _script() -> str:
    return (installed(ROOT / "tests/locks/axe") / "axe-core/axe.min.js").read_text()
