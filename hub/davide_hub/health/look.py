#!/usr/bin/python3
"""Look at one host, and print what is there as JSON: no judgement, no change that stays.

It runs before anything of ours is installed, on hub, broker and compute nodes: so it is one file for any Python from
3.6 on, without other packages. What to look at comes as JSON in base64 (`davide_hub.health.plan`), since it passes a
shell.
"""

import base64
import grp
import json
import os
import platform
import pwd
import select
import socket
import ssl
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Tuple

SECONDS = 15
# Who encodes for munge: a credential of root's would be worth something to whoever reads it on its way.
NOBODY = 65534
# No longer than the rounds of a preflight take.
LISTEN_SECONDS = 90
WORD = b"davide-hub\n"
# Not what is root's alone: an account could not even look there.
_PATH = ":".join(
    [one for one in os.environ.get("PATH", "").split(":") if one and not one.startswith("/root")]
    + ["/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
)

Answer = Dict[str, Any]


def look(asked: Answer) -> Answer:
    """Return what was asked for, by the same names, and what every host tells."""
    told = {
        "time": time.time(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "glibc": platform.libc_ver()[1],
        "hostname": socket.gethostname().partition(".")[0],
    }  # type: Answer
    for name, find in LOOKS.items():
        if name in asked:
            told[name] = find(asked[name])
    return told


def run(argv: List[str], user: str = "", given: str = "") -> Answer:
    """Run a command, perhaps as an account; return its status and words. -1: it can't be run, or takes too long."""
    environment = dict(os.environ, LANG="C.UTF-8", SLURM_TIME_FORMAT="%s", PATH=_PATH)
    try:
        # No more modern form: Python 3.6 must read this.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            preexec_fn=_becoming(user) if user else None,
            cwd="/",
            env=environment,
        )
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        return {"code": -1, "out": "", "err": "{} can't be run: {}".format(argv[0], error)}
    try:
        out, err = process.communicate(given, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return {"code": -1, "out": "", "err": "{} took more than {} s".format(argv[0], SECONDS)}
    return {"code": process.returncode, "out": out, "err": err[-2000:]}


def _becoming(user: str) -> Callable[[], None]:
    entry = pwd.getpwnam(user)
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)

    def become() -> None:
        if os.geteuid() == 0:
            os.setgroups(groups)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)

    return become


def find_commands(asked: Dict[str, Answer]) -> Answer:
    """Run commands; each has `argv`, and perhaps `user`."""
    return {name: run(one["argv"], one.get("user", "")) for name, one in asked.items()}


def find_accounts(asked: Answer) -> Answer:
    """Return the group of who may log in, and the numbers of accounts: those named, and the first members."""
    group = None
    names = list(asked.get("names", []))
    if asked.get("group"):
        try:
            entry = grp.getgrnam(asked["group"])
            group = {"gid": entry.gr_gid, "members": entry.gr_mem[:50]}
            names += entry.gr_mem[:50]
        except KeyError:
            pass
    numbers = {}  # type: Answer
    for name in names:
        try:
            one = pwd.getpwnam(name)
            numbers[name] = {"uid": one.pw_uid, "gid": one.pw_gid, "home": _stat(one.pw_dir)}
        except KeyError:
            numbers[name] = None
    return {"group": group, "numbers": numbers}


def _stat(path: str) -> Answer:
    try:
        found = os.stat(path)
    except OSError as error:
        return {"path": path, "why": str(error.strerror)}
    free = _free(path)
    return {
        "path": path,
        "inode": found.st_ino,
        "uid": found.st_uid,
        "free_gb": free[0],
    }


def find_room(asked: List[str]) -> Answer:
    """Return what is free where each path is, or where it would be made."""
    told = {}  # type: Answer
    for path in asked:
        there = _nearest(path)
        gigabytes, files, read_only = _free(there)
        told[path] = {"at": there, "free_gb": gigabytes, "free_files": files, "read_only": read_only}
    return told


def _nearest(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _free(path: str) -> Tuple[float, int, bool]:
    try:
        found = os.statvfs(path)
    except OSError:
        return -1.0, -1, False
    # Some file systems count no files: they say zero of zero.
    files = found.f_favail if found.f_files else -1
    return round(found.f_bavail * found.f_frsize / 1e9, 2), files, bool(found.f_flag & os.ST_RDONLY)


def find_certificate(asked: Answer) -> Answer:
    """Return a certificate's text, and whether the key is its own. The key stays where it is."""
    try:
        with open(asked["certificate"]) as file:
            text = file.read()
    except UnicodeDecodeError:
        return {"text": "no text", "key": "", "why": ""}
    except OSError as error:
        return {"text": "", "key": "", "why": "{}: {}".format(asked["certificate"], error.strerror)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # The password is for a key that has one: nginx could not be asked for it either.
        context.load_cert_chain(asked["certificate"], asked["key"], password=lambda: b"none")
    except ssl.SSLError as error:
        return {"text": text, "key": error.reason or str(error), "why": ""}
    except OSError as error:
        return {"text": text, "key": "", "why": "{}: {}".format(asked["key"], error.strerror)}
    return {"text": text, "key": "good", "why": ""}


def find_names(asked: List[str]) -> Answer:
    """Return the addresses of names, as this host finds them."""
    told = {}  # type: Answer
    for name in asked:
        try:
            told[name] = sorted({str(one[4][0]) for one in socket.getaddrinfo(name, None)})
        except OSError:
            told[name] = []
    return told


def find_encoded(asked: bool) -> Answer:
    """Return a credential that munge made here, for another host to decode."""
    return run(["munge", "--no-input"], _name_of(NOBODY)) if asked else {}


def find_decoded(asked: Dict[str, str]) -> Answer:
    """Return what munge here thinks of credentials of other hosts."""
    return {host: run(["unmunge", "--no-output"], given=credential) for host, credential in asked.items()}


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "nobody"


def find_listening(asked: List[List[Any]]) -> Answer:
    """Listen at ports where nobody does, for a while and beside this program; return which of them are served now.

    0 stands for any port; its number is in the answer then.
    """
    servers, told = [], {}  # type: List[socket.socket], Answer
    for address, port in asked:
        name = "{}:{}".format(address, port)
        try:
            server = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address, port))
            server.listen(64)
        except OSError as error:
            told[name] = {"port": port, "by": "others" if error.errno == 98 else "nobody", "why": str(error.strerror)}
            continue
        servers.append(server)
        told[name] = {"port": server.getsockname()[1], "by": "us", "why": ""}
    if servers:
        child = os.fork()
        if child == 0:
            _serve(servers)
        told["process"] = {"id": child}
    return told


def _serve(servers: List[socket.socket]) -> None:
    # A process of its own that holds nothing of ours open: ssh would wait for it.
    os.setsid()
    for descriptor in (0, 1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    end = time.time() + LISTEN_SECONDS
    while time.time() < end:
        for server in select.select(servers, [], [], 1)[0]:
            connection = server.accept()[0]
            connection.sendall(WORD)
            connection.close()
    os._exit(0)


def find_ended(asked: int) -> Answer:
    """End what `find_listening` left running, before its time."""
    try:
        with open("/proc/{}/cmdline".format(asked)) as file:
            if "look" in file.read():
                os.kill(asked, 15)
    except OSError:
        return {"why": "it had ended"}
    return {"why": ""}


def find_called(asked: List[List[Any]]) -> Answer:
    """Call other hosts; return what came of it, and the address that we called from."""
    told = {}  # type: Answer
    for address, port in asked:
        name = "{}:{}".format(address, port)
        try:
            with socket.create_connection((address, port), 5) as connection:
                told[name] = {"heard": True, "from": connection.getsockname()[0], "why": ""}
        except OSError as error:
            told[name] = {"heard": False, "from": "", "why": str(error.strerror or error)}
    return told


def find_written(asked: Answer) -> Answer:
    """Write a small file below a folder, or the nearest one above it that exists, for other hosts to read."""
    path = os.path.join(_nearest(asked["folder"]), asked["name"])
    try:
        with open(path, "x") as file:
            file.write(asked["word"])
        os.chmod(path, 0o644)
    except OSError as error:
        return {"path": path, "word": "", "why": str(error.strerror)}
    return {"path": path, "word": asked["word"], "why": ""}


def find_read(asked: str) -> Answer:
    """Read a file that another host has written."""
    try:
        with open(asked) as file:
            return {"word": file.read(200), "why": ""}
    except OSError as error:
        return {"word": "", "why": str(error.strerror)}


def find_removed(asked: str) -> Answer:
    """Remove the file that was written."""
    try:
        os.unlink(asked)
    except OSError as error:
        return {"why": str(error.strerror)}
    return {"why": ""}


def find_job(asked: Answer) -> Answer:
    """Submit a job that is held and never runs; return what Slurm made of it, and cancel it."""
    submitted = run(["sbatch", "--parsable", "--hold", *asked["options"]], asked["user"], "#!/bin/sh\ntrue\n")
    number = submitted["out"].strip().partition(";")[0]
    if submitted["code"] != 0 or not number.isdigit():
        return {"submitted": submitted, "shown": None}
    shown = run(["scontrol", "--oneliner", "show", "job", number], asked["user"])
    return {"submitted": submitted, "shown": shown, "cancelled": run(["scancel", number], asked["user"])}


LOOKS = {
    "room": find_room,
    "commands": find_commands,
    "accounts": find_accounts,
    "certificate": find_certificate,
    "names": find_names,
    "encoded": find_encoded,
    "decoded": find_decoded,
    "listening": find_listening,
    "ended": find_ended,
    "called": find_called,
    "written": find_written,
    "read": find_read,
    "removed": find_removed,
    "job": find_job,
}  # type: Dict[str, Callable[[Any], Answer]]


if __name__ == "__main__":
    print(json.dumps(look(json.loads(base64.b64decode(sys.argv[1]).decode()))))
