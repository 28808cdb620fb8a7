"""The secrets of the hub and of its sessions, read as root from where they rightly are."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from support.cluster import Cluster

NODES = ("gpu01", "gpu02")
_SESSION = ".local/share/davide-hub"
_MADE = ("kernel-*.json", "jupyter_cookie_secret")
_READ = """
import glob, json, sys
print(json.dumps({path: open(path, errors="replace").read() for one in sys.argv[1:] for path in glob.glob(one)}))
"""


@dataclass(frozen=True)
class Secret:
    """Something that must not be read by others, as one or more words.

    Attributes
    ----------
    kind
        What it is.
    of
        Whose, or of what; for a session `USER/KEY`.
    words
        By which it is found: in no message, since they are secret.
    valid
        False once it has served its time: then it may be nowhere.
    """

    kind: str
    of: str
    words: tuple[str, ...] = field(repr=False)
    valid: bool = True

    @property
    def name(self) -> str:
        """What it is called where it is found."""
        return f"{self.kind} of {self.of}"


def of_the_hosts(cluster: Cluster) -> list[Secret]:
    """Return what hub, broker, proxy, Slurm and the directory of accounts keep."""
    found = [
        secret
        for (kind, host, pattern), words in _KEPT.items()
        for path, text in _read(cluster, host, pattern).items()
        if (secret := Secret(kind, path.rpartition("/")[2].split(".")[0], words(text))).words
    ]
    passwords = [Secret("password", name, (facts["password"],)) for name, facts in cluster.accounts.items()]
    return [*found, *_password_hashes(cluster), *passwords]


def of_the_sessions(cluster: Cluster) -> list[Secret]:
    """Return what the sessions that there are just now were given."""
    return list(_given(cluster))


def of_the_servers(cluster: Cluster) -> list[Secret]:
    """Return what running sessions have made for themselves: the secret of their cookies, and their kernels' keys."""
    found = []
    for node in NODES:
        for path, text in _read(cluster, node, *(f"/tmp/davide-*/runtime/{name}" for name in _MADE)).items():
            whose = f"{node}/{path.split('/')[2]}"
            if path.endswith(".json"):
                found.append(Secret("kernel key", whose, (json.loads(text)["key"],)))
            else:
                found.append(Secret("server's cookie secret", whose, (text.split()[0],)))
    return found


def _given(cluster: Cluster) -> Iterator[Secret]:
    for path, text in _read(cluster, "hub01", f"/home/*/{_SESSION}/*/environment.json").items():
        given = json.loads(text)
        whose = f"{given['JUPYTERHUB_USER']}/{path.split('/')[-2]}"
        yield Secret("session token", whose, (given["JUPYTERHUB_API_TOKEN"],))
        yield Secret("session key", whose, _key(given["JUPYTERHUB_TLS_KEY"]))


def _read(cluster: Cluster, host: str, *patterns: str) -> dict[str, str]:
    words = " ".join(shlex.quote(pattern) for pattern in patterns)
    files: dict[str, str] = json.loads(cluster.output(host, f"python3 -I -c {shlex.quote(_READ)} {words}"))
    return files


def _password_hashes(cluster: Cluster) -> list[Secret]:
    rows = [row.split(":") for row in _read(cluster, "hub01", "/var/lib/extrausers/shadow").popitem()[1].splitlines()]
    return [Secret("password hash", row[0], (row[1],)) for row in rows if row[0] in cluster.accounts]


def _key(pem: str) -> tuple[str, ...]:
    # A key on P-256 has three lines. The third is its public part, which is no secret.
    return tuple(row for row in pem.splitlines() if "-----" not in row)[:2]


def _setting(name: str) -> Callable[[str], tuple[str, ...]]:
    return lambda text: tuple(row.partition("=")[2].strip() for row in text.splitlines() if row.startswith(f"{name}="))


def _whole(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# What each kind of file holds. A database that knows slurmdbd by its uid, as the local one does, has no password.
_KEPT: dict[tuple[str, str, str], Callable[[str], tuple[str, ...]]] = {
    ("TLS key", "hub01", "/etc/davide-hub/tls/*.key"): _key,
    ("TLS key", "hub01", "/etc/davide-hub/front/*.key"): _key,
    ("token", "hub01", "/etc/davide-hub/proxy.env"): _setting("CONFIGPROXY_AUTH_TOKEN"),
    ("token", "hub01", "/etc/davide-hub/metrics-token"): _whole,
    ("secret", "hub01", "/var/lib/davide-hub/jupyterhub_cookie_secret"): _whole,
    ("secret", "hub01", "/var/lib/davide-broker/mark.json"): lambda text: (json.loads(text)["key"],),
    ("secret", "hub01", "/etc/munge/munge.key"): _whole,
    ("password", "ctl01", "/etc/slurm/slurmdbd.conf"): _setting("StoragePass"),
}
