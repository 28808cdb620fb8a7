"""Which `_xsrf` the tests' browser sends along, as real browsers do."""

import pytest
from support.web import browser, crumb_at, crumb_of_hub

HUB = "https://davide.localhost:8000"


@pytest.fixture
def web():
    """Return a browser that has been at the hub and at a session."""
    made = browser()
    for path, crumb in (("/", "old"), ("/hub/", "the hub's"), ("/user/student01/", "the session's")):
        made.cookies.set("_xsrf", crumb, domain="davide.localhost", path=path)
    return made


def test_a_form_of_the_hub_sends_the_hubs_however_long_the_path_of_another_one_is(web):
    assert crumb_of_hub(web, HUB) == "the hub's"


def test_a_page_of_a_session_sends_the_sessions(web):
    assert crumb_at(web, f"{HUB}/user/student01/lab") == "the session's"


def test_who_has_none_sends_none(web):
    assert crumb_at(web, "https://elsewhere.localhost/hub/") == ""
