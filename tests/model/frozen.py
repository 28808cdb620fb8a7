"""Worlds as values: to be compared, kept in a set, and brought back. Two that differ only in names are one."""

from __future__ import annotations

from typing import Any

from davide_hub.broker.protocol import Cancel, Close, Look, Request, Submit
from world import DIGESTS, USER, Memory, SlurmJob, World, age

Frozen = tuple[Any, ...]
_FORGOTTEN = "99"


def freeze(world: World) -> Frozen:
    """Return a world as a value, with sessions and jobs renamed in the order of their age."""
    world.forget_the_past()
    hub = world.hub
    jobs = sorted(world.jobs.items())
    names = {}
    for i, key in enumerate(sorted(world.keys())):
        if key != (name := f"s{i:02}"):
            names |= {key: name, DIGESTS[key]: DIGESTS[name]}
    names |= {number: str(100 + i) for i, (number, _) in enumerate(jobs) if number != str(100 + i)}
    # Numbers of jobs that Slurm has forgotten are all the same: they never come again.
    names |= dict.fromkeys(world.numbers() - world.jobs.keys() - {_FORGOTTEN}, _FORGOTTEN)
    value = (
        tuple((number, job.key, job.state, job.serves, job.heard) for number, job in jobs),
        tuple(sorted(world.late)),
        tuple(sorted(world.secrets)),
        tuple(sorted(world.claims.items())),
        tuple(
            (key, *((name, entry[name]) for name in entry if name not in _SAME_ALWAYS))
            for key, entry in sorted(world.disk.items())
        ),
        tuple((request.verb, request.session_key) for request in world.queued),
        world.database,
        hub and (hub.phase, hub.spawner, hub.submission, hub.stop_begun, hub.adoption, hub.forgotten_ends),
        tuple(sorted(world.said_gone)),
        tuple(sorted(world.unwanted)),
        world.lost,
    )
    return _renamed(value, names) if names else value


_SAME_ALWAYS = {"key": "", "user": USER, "uid": 6001, "gid": 6000, "home": "/home/student01", "server": "", "tried": ""}
_SAME_ALWAYS["profile"] = "one-gpu"


def thaw(value: Frozen) -> World:
    """Return the world that was frozen."""
    jobs, late, secrets, claims, disk, queued, database, hub, said_gone, unwanted, lost = value
    return World(
        jobs={number: SlurmJob(*rest) for number, *rest in jobs},
        late=list(late),
        secrets=set(secrets),
        claims=dict(claims),
        disk={key: {**_SAME_ALWAYS, "key": key, "tried": age(key), **dict(more)} for key, *more in disk},
        queued=[_request(*one) for one in queued],
        database=database,
        hub=hub and Memory(*hub),
        said_gone=set(said_gone),
        unwanted=set(unwanted),
        lost=lost,
    )


def _request(verb: str, key: str) -> Request:
    if verb == "submit":
        environment = {"JUPYTERHUB_API_TOKEN": f"token of {key}"}
        return Submit(user=USER, server="", profile="one-gpu", session_key=key, environment=environment)
    return {"cancel": Cancel, "close": Close, "look": Look}[verb](user=USER, session_key=key)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, tuple):
        return tuple(_renamed(one, names) for one in value)
    return names.get(value, value) if isinstance(value, str) else value
