"""Where a browser is: what the front says, and nothing that a request says of itself."""

from types import SimpleNamespace

import pytest
from davide_hub.whence import caller_address
from tornado.httputil import HTTPHeaders

HUB, NODE, BROWSER, ELSEWHERE = "10.0.0.10", "10.0.0.21", "198.51.100.9", "192.0.2.77"


def request(peer, trusted=(), **headers):
    """Return a request as the hub gets it at its own address."""
    socket = SimpleNamespace(getsockname=lambda: (HUB, 8081))
    context = SimpleNamespace(address=peer, trusted_downstream=set(trusted))
    connection = SimpleNamespace(context=context, stream=SimpleNamespace(socket=socket))
    return SimpleNamespace(
        connection=connection, headers=HTTPHeaders({name.replace("_", "-"): text for name, text in headers.items()})
    )


@pytest.mark.parametrize(
    "told",
    [
        {"X_Forwarded_For": BROWSER},
        {"X_Forwarded_For": f"{ELSEWHERE}, {BROWSER}"},
        {"X_Forwarded_For": f"{ELSEWHERE},{BROWSER}", "X_Real_Ip": ELSEWHERE},
        {"X_Forwarded_For": f"{BROWSER}, no address"},
    ],
)
def test_who_stands_before_the_hub_is_believed_and_the_browser_is_not(told):
    assert caller_address(request((HUB, 40000), **told)) == BROWSER


def test_those_who_stand_before_the_hub_are_passed_over():
    told = f"{ELSEWHERE}, {BROWSER}, 10.0.0.5"
    assert caller_address(request((HUB, 40000), ["10.0.0.5"], X_Forwarded_For=told)) == BROWSER


def test_who_calls_the_hub_directly_is_where_the_connection_comes_from():
    assert caller_address(request((NODE, 40000), X_Forwarded_For=ELSEWHERE, X_Real_Ip=ELSEWHERE)) == NODE


@pytest.mark.parametrize("told", [{}, {"X_Forwarded_For": "\x1b[2J"}, {"X_Real_Ip": ELSEWHERE}])
def test_without_a_word_of_the_proxy_it_is_the_proxy(told):
    assert caller_address(request((HUB, 40000), **told)) == HUB
