"""What the proxy is started with, and the page that it shows while the hub is away (tests/pages/test_away.py)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from davide_hub.node import command, environment
from davide_hub.texts import text


def test_the_page_is_whole_by_itself_and_says_what_the_hubs_texts_say():
    page = environment()["DAVIDE_AWAY_PAGE"]
    assert text("away.hub_title") in page
    assert text("away.again") in page
    # Nobody is there to fetch anything from.
    assert re.findall(r"""(?:src|href|url)\s*[=(]""", page) == []
    assert "{{" not in page
    # A variable of a process may not be longer than 128 KiB.
    assert len(page) < 16_000


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
