"""A proxy that lost its routes gets them back."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from aiohttp import ClientResponseError
from davide_hub import routes as module
from davide_hub.routes import RouteGuard


class Proxy:
    """Answers each request for the one route as told, then is never asked again."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.extra_routes = {"davide-hub.invalid/davide-hub-routes/": "https://hub"}
        self.given_back: list[object] = []

    async def api_request(self, path: str) -> None:
        self.asked.append(path)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer

    async def check_routes(self, users: object, services: object) -> None:
        self.given_back.append((users, services))


def http_error(status: int) -> ClientResponseError:
    return ClientResponseError(SimpleNamespace(real_url="/"), (), status=status)


def watched(monkeypatch, *answers) -> Proxy:
    proxy = Proxy(*answers)
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
