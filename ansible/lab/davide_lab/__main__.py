"""The verbs of `./davide`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from davide_lab import parts, verbs
from davide_lab.place import RELEASES
from davide_lab.say import Problem, problem


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; each verb's help says what it does."""
    top = argparse.ArgumentParser(
        prog="davide",
        description="DAVIDE Hub: JupyterLab inside Slurm jobs on GPU nodes. These are the verbs:",
    )
    verb = top.add_subparsers(metavar="VERB", title="verbs")

    def add(name: str, text: str, run: object) -> argparse.ArgumentParser:
        made = verb.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        return made

    up = add("up", "bring the local cluster up, provisioned, and print the address and the demo accounts", verbs.up)
    up.add_argument(
        "--release",
        choices=sorted(RELEASES),
        help="Debian release of the hosts (default: bookworm, or what is there)",
    )
    up.add_argument("--verbose", action="store_true", help="show all that ansible says")
    down = add("down", "shut the local cluster down; disks and homes are kept", verbs.down)
    down.add_argument(
        "--purge",
        action="store_true",
        help="also remove disks, homes, software and passwords of the local cluster",
    )
    status = add("status", "show the hosts, the address and the demo accounts", verbs.status)
    status.add_argument("--json", action="store_true", help="as JSON: hub_url, state, accounts, hosts")
    ssh = add("ssh", "open a shell on a host, or run a command there: ./davide ssh ctl01 squeue", verbs.ssh)
    ssh.add_argument("host")
    ssh.add_argument("command", nargs=argparse.REMAINDER, help="as ssh takes it")
    host = add(
        "host",
        "do something to one host: boot, stop, crash, reboot, cut, mend, freeze, thaw, destroy",
        verbs.host,
    )
    host.add_argument("action", choices=["boot", *verbs.HOST_ACTIONS])
    host.add_argument("host")
    check = add(
        "check",
        "ruff, mypy, ansible-lint and the unit tests, or with SITE that site's inventory; needs no root and no cluster",
        verbs.check,
    )
    check.add_argument("site", nargs="?", metavar="SITE", help="folder below ansible/inventory, or a path")
    preflight = add(
        "preflight", "look at a site's hosts, from all sides, before anything is installed there", verbs.preflight
    )
    preflight.add_argument("site", metavar="SITE", help="folder below ansible/inventory, or a path")
    preflight.add_argument("--json", action="store_true", help="as JSON: ok, and findings with check, level, sentence")
    bundle = add(
        "bundle", "make one file of all that a site's hosts install from, for a site without internet", verbs.bundle
    )
    bundle.add_argument("site", metavar="SITE", help="folder below ansible/inventory, or a path")
    bundle.add_argument("--release", choices=sorted(RELEASES), help="Debian release of its hosts (default: bookworm)")
    bundle.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: in the cache)")
    deploy = add(
        "deploy",
        "bring a site to this release while sessions run, and back by itself if it is not well then",
        verbs.deploy,
    )
    deploy.add_argument("site", metavar="SITE", help="folder below ansible/inventory, or a path")
    deploy.add_argument("--bundle", type=Path, metavar="FILE", help="made by ./davide bundle (default: make one)")
    back = add(
        "rollback", "bring a site back to the release before the latest deploy, while sessions run", verbs.rollback
    )
    back.add_argument("site", metavar="SITE", help="folder below ansible/inventory, or a path")
    test = add("test", "the whole test suite; brings the cluster up itself", verbs.test)
    test.add_argument("part", nargs="*", help=f"only these parts: {', '.join(parts.PARTS)}")
    test.add_argument(
        "--long",
        metavar="PART",
        choices=list(parts.LONG),
        help="a part that takes longer than the suite may: " + ", ".join(parts.LONG),
    )
    bench = add("bench", "measure ours beside its peers on the local cluster; alone it lists the subjects", verbs.bench)
    bench.add_argument("subject", nargs="?", help="what to measure")
    bench.add_argument("--quick", action="store_true", help="with a few users: shows that it works, not how fast")
    bench.add_argument("--large", action="store_true", help="also with 500 users")
    bench.add_argument("--part", action="append", help="only this part; may be given several times")
    bench.add_argument("--json", action="store_true", help="also print all values as JSON")
    render = add("render", "write every file that a site's hosts would get, with no cluster and no root", verbs.render)
    render.add_argument(
        "--site", default="local", help="folder below ansible/inventory, a path, or a site.yml (default: local)"
    )
    render.add_argument("--out", required=True, help="folder to write into")
    add("lock", "resolve all locks anew (the only verb that changes versions)", verbs.lock)
    return top


def main(arguments: Sequence[str]) -> int:
    """Run one verb.

    Returns
    -------
    int
        0, or 1 after a problem that was told in a sentence, or the exit status of what was run.
    """
    root, words = Path(arguments[0]), list(arguments[1:])
    options = parser().parse_args(words)
    if not hasattr(options, "run"):
        parser().print_help()
        return 0
    try:
        return int(options.run(root, options) or 0)
    except Problem as found:
        problem(str(found))
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        problem(f"{where}{error.strerror or error}; mend that and run it again, it continues where it can")
        return 1
    except KeyboardInterrupt:
        problem("interrupted; run the same command again, it continues where it can")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
