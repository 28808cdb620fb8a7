"""A restarted hub goes on with every session where the last one left it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from davide_hub import resume as module
from davide_hub.options import SessionFailed
from davide_hub.resume import Resumer
from davide_hub.spawner import Adoption, NeverSubmitted


class Spawner(SimpleNamespace):
    """A session's spawner as the database gave it back; `resume()` does what it is told."""

    def __init__(self, resumes=None, **state):
        usual = {
            "name": "",
            "session_key": "ab12",
            "node": "",
            "job_id": "17",
            "stopping": "",
            "ended": "",
            "_log_name": "student01:",
        }
        super().__init__(**(usual | state))
        self._spawn_pending = self._stop_pending = False
        self._spawn_future = None
        self.orm_spawner = SimpleNamespace(user_options={"profile": "no-gpu"})
        self.did = []
        self.proof = SimpleNamespace(view=SimpleNamespace(expect=lambda job: self.did.append(f"expected {job}")))
        self._resumes = resumes

    async def resume(self):
        if isinstance(self._resumes, Exception):
            raise self._resumes
        if self._resumes is not None:
            await self._resumes.wait()

    def _set_server(self):
        self.did.append("server set")

    def start_polling(self):
        self.did.append("watched")

    def add_poll_callback(self, callback, *words):
        self.at_end = lambda: callback(*words)

    def _revoke_token(self):
        self.did.append("token revoked")


class User:
    """A user of one session, who notes what JupyterHub is asked to do with it."""

    def __init__(self, spawner: Spawner) -> None:
        self.spawners = {spawner.name: spawner}
        self.did: list[str] = []

    async def spawn(self, name: str, options: dict[str, str]) -> None:
        self.did.append(f"spawn {options['profile']}")

    async def stop(self, name: str) -> None:
        self.did.append("stop")
        self.spawners[name]._stop_pending = False

    def get_or_create_spawner(self, name: str, _title: str, *, replace_failed: bool) -> Spawner:
        assert replace_failed
        return self.spawners.setdefault(name, Spawner(name=name))


class Proxy:
    def __init__(self, broken: bool = False) -> None:
        self.did: list[str] = []
        self.broken = broken

    async def add_user(self, _user: User, name: str) -> None:
        self.did.append(f"route to {name!r}")

    async def delete_user(self, _user: User, name: str) -> None:
        if self.broken:
            raise OSError("the proxy is away")
        self.did.append(f"no route to {name!r}")


def taken_up(spawner: Spawner, proxy: Proxy, meanwhile=None) -> User:
    """Take up a session, and return its user once all is done."""
    user = User(spawner)

    async def scenario():
        resumer = Resumer(SimpleNamespace(proxy=proxy))
        resumer.take_up(user, spawner)
        if meanwhile:
            meanwhile()
        work = [*resumer._tasks, *([spawner._spawn_future] if spawner._spawn_future else [])]
        await asyncio.gather(*work, return_exceptions=True)
        await asyncio.sleep(0)

    asyncio.run(scenario())
    return user


def test_a_running_session_is_believed_at_once_and_watched():
    spawner, proxy = Spawner(node="gpu01"), Proxy()
    user = taken_up(spawner, proxy)
    assert spawner.did == ["server set", "expected 17", "watched"]
    assert (user.did, spawner._spawn_pending) == ([], False)


def test_a_starting_session_is_pending_until_it_calls_home():
    proxy, called = Proxy(), asyncio.Event()
    spawner = Spawner(resumes=called)

    def meanwhile():
        assert spawner._spawn_pending
        called.set()

    user = taken_up(spawner, proxy, meanwhile)
    assert (spawner._spawn_pending, spawner._spawn_future) == (False, None)
    assert (proxy.did, spawner.did, user.did) == (["route to ''"], ["watched"], [])


def test_a_start_that_slurm_never_heard_of_is_made_again():
    spawner, proxy = Spawner(resumes=NeverSubmitted()), Proxy()
    user = taken_up(spawner, proxy)
    assert (spawner.did, user.did) == (["token revoked", "watched"], ["spawn no-gpu"])
    assert proxy.did == ["route to ''"]


def test_a_start_that_fails_is_ended_and_stays_to_be_told():
    spawner = Spawner(resumes=SessionFailed("The session ended before JupyterLab was up.", reason="ended"))
    user = taken_up(spawner, Proxy())
    assert user.did == ["stop"]
    assert isinstance(spawner._spawn_future.exception(), SessionFailed)
    assert not spawner._spawn_pending


def test_a_mistake_of_ours_ends_the_start_and_is_logged(monkeypatch):
    logged = []
    monkeypatch.setattr(module._log, "exception", lambda *words: logged.append(words))
    user = taken_up(Spawner(resumes=ZeroDivisionError()), Proxy())
    assert user.did == ["stop"]
    assert logged == [("%s could not be taken up", "student01:")]


@pytest.mark.parametrize("state", [{"stopping": "yes", "node": "gpu01"}, {"stopping": "yes"}, {"session_key": ""}])
def test_an_end_that_was_under_way_is_brought_to_its_end(state):
    proxy = Proxy()
    user = taken_up(Spawner(**state), proxy)
    assert (proxy.did, user.did) == (["no route to ''"], ["stop"])


def test_a_place_without_a_job_is_not_believed():
    called = asyncio.Event()
    spawner = Spawner(resumes=called, node="gpu01", job_id="")
    user = taken_up(spawner, Proxy(), called.set)
    assert spawner.did == ["watched"], "after its job was found"
    assert user.did == []


def test_a_start_under_way_is_given_up_for_an_end():
    proxy = Proxy()
    spawner = Spawner(resumes=asyncio.Event())
    user = User(spawner)

    async def scenario():
        resumer = Resumer(SimpleNamespace(proxy=proxy))
        resumer.take_up(user, spawner)
        start = spawner._spawn_future
        resumer.end(user, spawner)
        await asyncio.gather(start, *resumer._tasks, return_exceptions=True)
        return start

    assert asyncio.run(scenario()).cancelled()
    assert (proxy.did, user.did) == (["no route to ''"], ["stop"])


def test_a_session_ends_even_while_the_proxy_is_away():
    assert taken_up(Spawner(stopping="yes"), Proxy(broken=True)).did == ["stop"]


def test_a_taken_up_session_whose_job_ends_is_ended():
    spawner, proxy = Spawner(node="gpu01"), Proxy()
    user = taken_up(spawner, proxy)
    asyncio.run(spawner.at_end())
    assert (proxy.did, user.did) == (["no route to ''"], ["stop"])


def test_an_adopted_session_goes_through_jupyterhubs_own_start():
    proxy = Proxy()
    user = User(Spawner(name="other"))
    adoption = Adoption("cd34", "23", "no-gpu", "its own token")

    async def scenario():
        resumer = Resumer(SimpleNamespace(proxy=proxy))
        resumer.adopt(user, "my one", adoption)
        assert user.spawners["my one"]._spawn_pending
        await user.spawners["my one"]._spawn_future

    asyncio.run(scenario())
    assert user.spawners["my one"].to_adopt == adoption
    assert (user.did, proxy.did) == (["spawn no-gpu"], ["route to 'my one'"])
