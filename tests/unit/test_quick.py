"""The hub's start does not compile a grammar that nobody needs."""

import subprocess
import sys

LOOK = """
import sys
import davide_hub.app
assert "jsonschema" in sys.modules
print("rfc3987_syntax" in sys.modules, "lark" in sys.modules)
import rfc3987_syntax
print("can be imported")
"""


def test_the_hub_leaves_the_grammar_out_and_others_can_have_it():
    done = subprocess.run([sys.executable, "-c", LOOK], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["False False", "can be imported"], done.stderr
