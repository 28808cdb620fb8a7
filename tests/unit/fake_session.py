"""Sessions as the hub sees them, over a broker and a Slurm that do as they are told."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

from davide_hub.facts import load_site
from davide_hub.spawner import DavideSpawner
from davide_hub.states import Job, Phase
from fake_broker import FakeBroker
from fake_proof import FakeProof

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
WAITS = Job(Phase.WAITING, "PENDING", reason="Resources")
RUNS = Job(Phase.RUNNING, "RUNNING", "gpu01")
TIMED_OUT = Job(Phase.ENDED, "TIMEOUT", "gpu01")
FAILED = Job(Phase.ENDED, "FAILED", "gpu01")
NODES = {"192.0.2.21": "gpu01", "192.0.2.22": "gpu02"}


class Nodes:
    async def name_of(self, address: str) -> str:
        return NODES.get(address, "")


class Certificates:
    def for_session(self, key: str) -> dict[str, str]:
        return {"JUPYTERHUB_TLS_KEY": f"of {key}"}


def session_over(*jobs: Job) -> DavideSpawner:
    """Return a session's spawner over some words of Slurm."""
    made = DavideSpawner(site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01", spawners={}))
    made.proof, made.nodes, made.certificates = FakeProof(*jobs), Nodes(), Certificates()
    made.api_token = "t"
    return made


def url(spawner: DavideSpawner, node: str, port: int) -> str:
    return f"https://{node}.{spawner.session_key}.sessions.internal:{port}"


async def until(what) -> None:
    """Let the others run until something is true."""
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0)


def in_turn(*answers):
    """Return what a broker may be given as an answer: one after the other; exceptions are raised."""
    left = iter(answers)

    async def answer():
        this = next(left)
        if isinstance(this, Exception):
            raise this
        return this

    return answer


async def start_and(spawner: DavideSpawner, meanwhile) -> str:
    start = asyncio.create_task(spawner.start())
    await until(lambda: (spawner.job_id and spawner.proof.asked) or start.done())
    await meanwhile()
    return await start


def calls_home(spawner: DavideSpawner, port: int = 40123, address: str = "192.0.2.21"):
    return lambda: spawner.call_home(port, address)
