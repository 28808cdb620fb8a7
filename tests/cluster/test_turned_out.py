"""Who may not stay is out within a minute, with the reason; and a directory that is silent turns nobody out.

With a real session of JupyterLab each time, and the accounts of the hub's own host changed as an administrator would.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import pytest
import requests
from davide_hub.broker.watch import EVERY_SECONDS
from support.visitor import Visitor
from support.web import fill_in, request

HUB = "/opt/davide/envs/hub/bin/davide-hub"
ACCOUNTS = "/var/lib/extrausers"
# What is promised; the two looks and the hub's own beat are 34 s of it.
WITHIN_SECONDS = 60
# The session's end is ordered in the same moment, and Slurm takes its own time for that.
GONE_SECONDS = 90
# Who is refused in two looks of the broker's is out; here are three, and time for the hub to hear of it.
SILENT_SECONDS = 3.5 * EVERY_SECONDS


@dataclass(frozen=True)
class End:
    """What ends somebody's access, and the words in which that is told.

    Attributes
    ----------
    name
        Whose access.
    words
        What the home page says when all is as it was: how the last session ended.
    file, script
        Which file of accounts is changed, and how, for sed; no file where an administrator bans.
    """

    name: str
    words: str
    file: str = ""
    script: str = ""


BANNED = End("student01", "closed this service")
ENDS = {
    "banned": BANNED,
    "expired": End("student02", "has expired", "shadow", "s/^student02:\\(.*\\):::$/student02:\\1::1:/"),
    "locked": End("student07", "is locked", "shadow", "s/^student07:/student07:!/"),
    "removed": End("student08", "There is no account student08", "passwd", "/^student08:/d"),
}


@dataclass(frozen=True)
class Told:
    """What somebody read who was refused at the log-in, what the trail said then, and what was read afterwards."""

    refused: requests.Response
    trail: str
    back: requests.Response


def is_out(visitor: Visitor) -> bool:
    """Return whether the token is void, and the cookie opens no page."""
    if visitor.ask("GET", "user").status_code != 403:
        return False
    return "/hub/login" in visitor.browser.get(f"{visitor.hub}/home", timeout=30).url


def bring_in(visitors: list[Visitor], wait_for) -> None:
    """Let people log in, and have a session each that runs."""
    for visitor in visitors:
        assert visitor.log_in().status_code == 200
        visitor.take_token()
    new = [one for one in visitors if not one.ready()]
    wait_for(lambda: not any(one.jobs() for one in new), "what an earlier test left is still there", 120)
    for visitor in new:
        visitor.start()
    wait_for(lambda: all(one.ready() for one in new), "the sessions are not up", 180)


def send_home(visitors: list[Visitor], wait_for) -> None:
    """End the sessions of those who can log in."""
    here = [one for one in visitors if one.log_in().status_code == 200]
    for visitor in here:
        visitor.take_token()
        visitor.stop()
    wait_for(lambda: not any(one.jobs() for one in here), "the sessions do not end", 120)


@pytest.fixture(scope="module")
def lasting(cluster, wait_for):
    """Return student03, who has a session as long as the tests here leave it."""
    made = Visitor(cluster, "student03")
    yield made
    send_home([made], wait_for)


@pytest.fixture
def visitor(lasting, wait_for):
    """Return student03 with a session that runs."""
    bring_in([lasting], wait_for)
    return lasting


@contextmanager
def changed(cluster, file: str, script: str):
    """Change a file of accounts on the hub's host by sed, and put it back as it was."""
    path = f"{ACCOUNTS}/{file}"
    cluster.output("hub01", f"cp -p {path} {path}.before && sed -i '{script}' {path}")
    try:
        yield
    finally:
        cluster.output("hub01", f"mv {path}.before {path}")


@contextmanager
def banned(cluster, name: str):
    """Ban somebody as an administrator does, and take it back."""
    cluster.output("hub01", f"{HUB} ban {name} --reason mining")
    try:
        yield
    finally:
        cluster.output("hub01", f"{HUB} unban {name}")


def wait_until_out(visitors: list[Visitor], begun: float, wait_for) -> None:
    """Wait until all are out, nobody longer than is promised since access began to end; and their jobs have ended."""
    inside = list(visitors)

    def all_out() -> bool:
        for visitor in [one for one in inside if is_out(one)]:
            inside.remove(visitor)
            print(f"{visitor.name} was out after {time.monotonic() - begun:.0f} s")
        assert time.monotonic() - begun < WITHIN_SECONDS or not inside, [f"{one.name} is still in" for one in inside]
        return not inside

    wait_for(all_out, "people are still in", 2 * WITHIN_SECONDS)
    rest = begun + GONE_SECONDS - time.monotonic()
    wait_for(lambda: not any(one.jobs() for one in visitors), "their sessions do not end", rest)


@pytest.fixture(scope="module")
def told(cluster, wait_for):
    """End the access of four people, each for another reason and all at once; return what each read."""
    people = {why: Visitor(cluster, end.name) for why, end in ENDS.items()}
    everybody = list(people.values())
    bring_in(everybody, wait_for)
    try:
        with ExitStack() as stack:
            stack.enter_context(banned(cluster, BANNED.name))
            for file in ("shadow", "passwd"):
                scripts = "; ".join(end.script for end in ENDS.values() if end.file == file)
                stack.enter_context(changed(cluster, file, scripts))
            begun = time.monotonic()
            wait_until_out(everybody, begun, wait_for)
            refused = {why: one.log_in() for why, one in people.items()}
            trails = {why: cluster.output("hub01", f"{HUB} audit --user {one.name}") for why, one in people.items()}
        back = {why: one.log_in() for why, one in people.items()}
        yield {why: Told(refused[why], trails[why], back[why]) for why in people}
    finally:
        send_home(everybody, wait_for)


@pytest.mark.parametrize("why", list(ENDS))
def test_access_ends_within_a_minute_with_the_reason(told, why):
    assert told[why].refused.status_code == 403
    assert told[why].back.status_code == 200
    assert ENDS[why].words in told[why].back.text, "how the last session ended"


def test_a_banned_user_reads_why_and_the_trail_tells_of_it(told):
    assert f"closed this service to {BANNED.name} (mining)" in told["banned"].refused.text
    trail = told["banned"].trail
    assert "verb=ban" in trail
    assert "answer=not_allowed" in trail.splitlines()[-1]


def test_a_silent_directory_turns_nobody_out(cluster, visitor):
    job = visitor.jobs()
    path = f"{ACCOUNTS}/passwd"
    cluster.output("hub01", f"mv {path} {path}.away")
    try:
        until = time.monotonic() + SILENT_SECONDS
        while time.monotonic() < until:
            assert visitor.jobs() == job
            assert visitor.ask("GET", "user").status_code == 200
            time.sleep(0.3)
    finally:
        cluster.output("hub01", f"mv {path}.away {path}")
    assert visitor.ready()


def test_a_revocation_ends_all_and_the_next_log_in_begins_anew(cluster, visitor, wait_for):
    cluster.output("hub01", f"{HUB} revoke {visitor.name}")
    begun = time.monotonic()
    wait_until_out([visitor], begun, wait_for)
    page = visitor.log_in()
    assert page.status_code == 200
    visitor.take_token()
    visitor.start()
    wait_for(visitor.ready, "the new session is not up", 180)


def test_everybody_logs_in_again_after_a_new_cookie_secret_and_sessions_go_on(cluster, visitor, wait_for):
    job = visitor.jobs()
    cluster.output("hub01", f"{HUB} rotate cookie-secret")
    wait_for(lambda: _answers(visitor), "the hub is not back", 60)
    assert "/hub/login" in visitor.browser.get(f"{visitor.hub}/home", timeout=30).url
    assert visitor.log_in().status_code == 200
    assert visitor.jobs() == job
    assert visitor.ready()


def test_new_authorities_end_the_sessions_and_new_ones_begin(cluster, visitor, wait_for):
    folder = "/etc/davide-hub/tls"
    who_may = f"cd {folder} && stat -c '%n %a %U %G' . *"
    what = f"cd {folder} && sha256sum *"
    modes, old = cluster.output("hub01", who_may), set(cluster.output("hub01", what).splitlines())
    try:
        said = cluster.output("hub01", f"{HUB} rotate ca")
        begun = time.monotonic()
        assert f"ended the sessions of {visitor.name}" in said
        assert cluster.output("hub01", who_may) == modes
        assert not old & set(cluster.output("hub01", what).splitlines())
        wait_for(lambda: _answers(visitor), "the hub is not back", 60)
        wait_until_out([visitor], begun, wait_for)
        page = visitor.log_in()
        assert page.status_code == 200
        assert "The administrators have ended all that was open" in page.text, "how the last session ended"
        visitor.take_token()
        visitor.start()
        wait_for(visitor.ready, "the new session is not up", 180)
        # Through the proxy, so each of the three showed the others a certificate of the new authorities.
        assert "kernels" in visitor.ask_session("GET", "status").json()
    finally:
        cluster.output("hub01", f"rm -r {folder}.old-*")


def _answers(visitor) -> bool:
    try:
        return request("GET", f"{visitor.hub}/health", timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def test_wrong_passwords_slow_down_one_account_and_not_the_place(cluster):
    stranger = Visitor(cluster, "student05")
    stranger.browser.get(f"{stranger.hub}/login", timeout=30)
    guesses = [fill_in(stranger.browser, cluster.hub_url, stranger.name, "guess") for _ in range(7)]
    assert guesses[-1].status_code == 429
    assert Visitor(cluster, "student06").log_in().status_code == 200
