"""What the proxy is started with, and the page that it shows while the hub is away (tests/pages/test_away.py)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from davide_hub.away import page, write
from davide_hub.node import command, environment
from davide_hub.texts import text


@pytest.mark.parametrize(("kind", "again"), [("hub", "away.again"), ("crowd", "away.crowd_again")])
def test_a_page_is_whole_by_itself_and_says_what_the_hubs_texts_say(kind, again):
    shown = page(kind)
    assert text(f"away.{kind}_title") in shown
    assert text(f"away.{kind}") in shown
    assert text(again) in shown
    # Nobody is there to fetch anything from.
    assert re.findall(r"""(?:src|href|url)\s*[=(]""", shown) == []
    assert "{{" not in shown
    # A variable of a process may not be longer than 128 KiB.
    assert len(shown) < 16_000


def test_proxy_and_front_show_the_same(tmp_path):
    write(tmp_path)
    assert environment() == {"DAVIDE_AWAY_PAGE": (tmp_path / "davide-hub.html").read_text()}
    assert (tmp_path / "davide-crowd.html").read_text() == page("crowd")


def test_another_version_of_the_proxy_still_starts_and_says_what_it_lacks(tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "lib/configproxy.js").write_text("export class ConfigurableProxy { handleProxyError() {} }")
    script = tmp_path / "bin/proxy"
    script.write_text('import { ConfigurableProxy } from "../lib/configproxy.js"; console.log("runs");')
    ran = run(script)
    assert ran.stdout == "runs\n"
    assert "no _handleProxyErrorDefault" in ran.stderr


def test_another_script_is_left_alone(tmp_path):
    script = tmp_path / "script.mjs"
    script.write_text('console.log("runs");')
    ran = run(script)
    assert (ran.stdout, ran.stderr) == ("runs\n", "")


def run(script: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command(), str(script)], env=environment(), capture_output=True, text=True, check=True)
