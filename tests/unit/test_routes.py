"""A proxy that lost its routes gets them back, and one that was away gets those it has missed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import ClientConnectionError, ClientResponseError
from davide_hub import routes as module
from davide_hub.routes import LatentProxy, RouteGuard
from jupyterhub.proxy import ConfigurableHTTPProxy


class Proxy:
    """Answers each request for the one route as told, then is never asked again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.extra_routes = {"davide-hub.invalid/davide-hub-routes/": "https://hub"}
        self.given_back: list[object] = []
        self.behind = False

    async def api_request(self, path: str) -> None:
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer

    async def check_routes(self, users: object, services: object) -> None:
        self.given_back.append((users, services))


def http_error(status: int) -> ClientResponseError:
    return ClientResponseError(SimpleNamespace(real_url="/"), (), status=status)


def watched(monkeypatch, *answers, proxy=None) -> Proxy:
    proxy = proxy or Proxy(*answers)
    app = SimpleNamespace(proxy=proxy, users="the users", _service_map="the services")

    async def pause(_seconds):
        if not proxy.answers:
            raise asyncio.CancelledError

    monkeypatch.setattr(module.asyncio, "sleep", pause)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(RouteGuard(app).run())
    return proxy


def test_a_proxy_with_its_routes_is_left_alone(monkeypatch):
    proxy = watched(monkeypatch, None, None, None)
    assert proxy.asked == ["/davide-hub.invalid/davide-hub-routes"] * 3
    assert proxy.given_back == []


def test_a_proxy_without_the_one_route_gets_all_of_them_back(monkeypatch):
    proxy = watched(monkeypatch, None, http_error(404), None)
    assert proxy.given_back == [("the users", "the services")]


@pytest.mark.parametrize("error", [http_error(503), OSError("connection refused"), TimeoutError()])
def test_a_proxy_that_is_away_is_looked_at_again(monkeypatch, error):
    proxy = watched(monkeypatch, error, http_error(404))
    assert len(proxy.given_back) == 1


def test_a_proxy_that_is_behind_gets_what_it_lacks_once(monkeypatch):
    proxy = Proxy(None, None, None)
    proxy.behind = True
    watched(monkeypatch, proxy=proxy)
    assert len(proxy.given_back) == 1
    assert not proxy.behind


def test_a_proxy_that_goes_away_while_it_is_given_its_routes_stays_behind(monkeypatch):
    proxy = Proxy(None, None)
    proxy.behind = True
    broken = iter([ClientConnectionError(), None])

    async def check_routes(_users, _services):
        proxy.given_back.append(next(broken))
        if error := proxy.given_back[-1]:
            raise error

    proxy.check_routes = check_routes
    watched(monkeypatch, proxy=proxy)
    assert len(proxy.given_back) == 2
    assert not proxy.behind


@pytest.mark.parametrize("order", ["add_user", "delete_user"])
@pytest.mark.parametrize("error", [TimeoutError("in vain"), ClientConnectionError(), http_error(503)])
def test_a_proxy_that_is_away_ends_no_session_and_drops_no_stop(monkeypatch, order, error):
    async def in_vain(*_):
        raise error

    monkeypatch.setattr(ConfigurableHTTPProxy, order, in_vain)
    proxy = LatentProxy()
    asyncio.run(getattr(proxy, order)(SimpleNamespace(name="student01"), ""))
    assert proxy.behind


def test_a_route_that_must_not_be_is_an_error(monkeypatch):
    async def refuse(*_):
        raise RuntimeError("is pending stop")

    monkeypatch.setattr(ConfigurableHTTPProxy, "add_user", refuse)
    with pytest.raises(RuntimeError, match="pending stop"):
        asyncio.run(LatentProxy().add_user(SimpleNamespace(name="student01"), ""))
