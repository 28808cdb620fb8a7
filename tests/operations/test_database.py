"""What the hub keeps lies in a real PostgreSQL, over TLS, and outlives both of them."""

from __future__ import annotations

import pytest
import requests
from support.real_hub import real_hub, xsrf

from operations.conftest import facts_of, write_secrets
from operations.postgresql import PASSWORD


def start(hub, name: str, wait_for):
    """Return a browser whose owner's session runs."""
    browser = hub.log_in(name)
    browser.post(f"{hub.url}/hub/spawn", data={"profile": "no-gpu", "_xsrf": xsrf(browser)}, timeout=30)
    wait_for(lambda: reached(hub, browser, name), f"the session of {name} is not reached")
    return browser


def reached(hub, browser, name: str) -> bool:
    return browser.get(f"{hub.url}/user/{name}/api", timeout=30).text == '{"version": "2.21.0"}'


def test_a_session_outlives_the_hub_and_nothing_is_kept_in_a_file(hub, database, wait_for):
    browser = start(hub, "student01", wait_for)
    with hub.away():
        rows = database.ask("SELECT users.name FROM spawners JOIN users ON users.id = user_id WHERE server_id > 0")
        assert rows == "student01"
    wait_for(lambda: reached(hub, browser, "student01"), "the session is lost")
    assert database.ask("SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)") == "t"
    assert list(hub.folder.glob("*.sqlite*")) == []


def test_a_database_that_comes_back_is_used_again(hub, database, wait_for):
    browser = start(hub, "student02", wait_for)
    database.stop()
    with pytest.raises((AssertionError, requests.RequestException)):
        hub.log_in("student03")
    # The session itself needs no database.
    assert reached(hub, browser, "student02")
    database.start()
    start(hub, "student03", wait_for)
    assert reached(hub, browser, "student02")


def test_the_password_is_in_no_log(hub):
    log = hub.log.read_text()
    assert "student03" in log, "this test looks for the wrong thing"
    assert PASSWORD not in log


def test_a_database_that_somebody_else_vouches_for_is_none(tmp_path, hub, hub_python, database):
    write_secrets(tmp_path)
    facts = facts_of(database) | {"authority": str(hub.folder / "front/authority.crt")}
    with (
        pytest.raises(AssertionError, match="certificate verify failed") as told,
        real_hub(tmp_path, lambda site: site.update(database=facts), "INFO", hub_python),
    ):
        pytest.fail("the hub has believed a database that it does not know")
    assert "hub@localhost" in str(told.value)
    assert PASSWORD not in str(told.value)
