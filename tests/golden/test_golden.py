"""What a cluster would get, compared with the committed files.

After a wanted change: `./davide render --site local --out tests/golden/local`, the same for davide and leonardo, and
for kernels that those sites don't have `PYTHONPATH=hub python -m davide_hub.cli render --site tests/golden/site.yml
--every-kernel --out tests/golden/every_kernel`, of which kernels/ alone is kept; look at the difference and commit it.
"""

from pathlib import Path

import pytest
from davide_hub.cli import main

GOLDEN = Path(__file__).parent


@pytest.mark.parametrize("site", ["local", "davide", "leonardo"])
def test_a_site_gets_what_is_committed(tmp_path, monkeypatch, site):
    monkeypatch.chdir(tmp_path)
    assert main(["render", "--site", site, "--out", str(tmp_path / "out")]) == 0
    assert _contents(tmp_path / "out") == _contents(GOLDEN / site), "see the top of this file"


def test_a_site_gets_of_every_recipe_what_is_committed(tmp_path):
    site = str(Path(__file__).parent / "site.yml")
    assert main(["render", "--site", site, "--every-kernel", "--out", str(tmp_path)]) == 0
    committed = Path(__file__).parent / "every_kernel"
    assert _contents(tmp_path / "kernels") == _contents(committed / "kernels"), "see the top of this file"


def _contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}
