"""Where a secret may be, in whose hands and with which mode. Everywhere else it is a leak."""

from __future__ import annotations

import re
from dataclasses import dataclass

from leaks.known import Secret
from leaks.search import Find

PARENT = "parent"  # the machine that the hosts run on


@dataclass(frozen=True)
class Place:
    """A place for some secrets, while they are valid.

    Attributes
    ----------
    secret
        Which: a pattern of their names.
    host, place
        Where: patterns. `{owner}` and `{key}` are the two parts of whose secret it is: USER/KEY, or NODE/FOLDER.
    owner
        Who has to own it; a pattern.
    mode
        Of a file, a pattern; empty for a process.
    """

    secret: str
    host: str
    place: str
    owner: str
    mode: str = ""


_NODE = r"gpu\d\d"
_GIVEN = r"/home/{owner}/\.local/share/davide-hub/{key}/environment\.json"
# The proxy has an account for as long as it runs, which not every host can name.
_UNIT = r"jupyterhub-proxy|6\d\d\d\d"
_STATE = "/var/lib/davide-hub"
_TLS = "/etc/davide-hub/tls"
_ANY_USER = r"student\d\d"

PLACES = (
    # A session's own file, and its kernels and terminals, which are the user.
    Place("session token of .*", "hub01", _GIVEN, "{owner}", "0600"),
    Place("session token of .*", _NODE, "environ of .*", "{owner}"),
    Place("session key of .*", "hub01", _GIVEN, "{owner}", "0600"),
    Place("session key of .*", _NODE, r"/tmp/davide-\w+/session\.key", "{owner}", "0600"),
    Place("kernel key of .*", "{owner}", r"/tmp/{key}/runtime/kernel-[0-9a-f-]+\.json", _ANY_USER, "0600"),
    Place("server's cookie secret of .*", "{owner}", "/tmp/{key}/runtime/jupyter_cookie_secret", _ANY_USER, "0600"),
    # What signs is root's; what a unit shows of itself is the unit's.
    Place("TLS key of gate", "hub01", rf"{_TLS}/gate\.key", "root", "0600"),
    Place("TLS key of sessions", "hub01", rf"{_TLS}/sessions\.key", "root", "0640"),
    Place("TLS key of hub", "hub01", rf"{_TLS}/hub\.key", "root", "0640"),
    Place("TLS key of proxy", "hub01", rf"{_TLS}/proxy\.key", "root", "0600"),
    Place(
        "TLS key of proxy",
        "hub01",
        r"/run/credentials/jupyterhub-proxy\.service/proxy\.key",
        f"root|{_UNIT}",
        "04[04]0",
    ),
    Place("TLS key of authority", "hub01", r"/etc/davide-hub/front/authority\.key", "root", "0600"),
    Place("TLS key of site", "hub01", r"/etc/davide-hub/front/site\.key", "root", "0640"),
    Place("token of proxy", "hub01", r"/etc/davide-hub/proxy\.env", "root", "0600"),
    Place("token of proxy", "hub01", "environ of .*", "davide-hub"),
    Place("token of proxy", "hub01", "environ of .*", _UNIT),
    Place("token of metrics-token", "hub01", r"/etc/davide-hub/metrics-token", "root", "0640"),
    Place("secret of jupyterhub_cookie_secret", "hub01", f"{_STATE}/jupyterhub_cookie_secret", "davide-hub", "0600"),
    Place("secret of mark", "hub01", r"/var/lib/davide-broker/mark\.json", "root", "0600"),
    # Slurm's, and the demo accounts of the local cluster.
    Place("secret of munge", rf"hub01|ctl01|{_NODE}", r"/etc/munge/munge\.key", "munge", "0400"),
    Place("secret of munge", PARENT, r".*/munge\.key", "root", "0600"),
    Place("password hash of .*", "hub01", "/var/lib/extrausers/shadow", "root", "0600"),
    Place("password(| hash) of .*", PARENT, r".*/accounts\.json", "root", "0600"),
)


def place_of(host: str, found: Find, secret: Secret) -> Place | None:
    """Return the place in the table where a secret was found; None if it is nowhere in it."""
    if not secret.valid:
        return None
    owner, _, key = map(re.escape, secret.of.partition("/"))
    for place in PLACES:
        where = (one.format(owner=owner, key=key) for one in (place.host, place.place, place.owner))
        seen = (secret.name, host, found["place"], found["owner"], found["mode"])
        if all(map(re.fullmatch, (place.secret, *where, place.mode), seen)):
            return place
    return None
