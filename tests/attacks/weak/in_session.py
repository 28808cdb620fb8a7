"""What every Python of a session's environment imports while our defences are taken away: the files beside this one."""

from pathlib import Path

for patch in sorted(Path(__file__).parent.glob("*.py")):
    if patch != Path(__file__):
        exec(compile(patch.read_text(), str(patch), "exec"), {"__name__": patch.stem})  # noqa: S102 - our own files
