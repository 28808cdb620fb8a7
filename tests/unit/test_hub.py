"""JupyterHub's settings, its pages, and the call home, with a real JupyterHub application where it takes one."""

from __future__ import annotations

import asyncio
import re
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jinja2
import pytest
from davide_hub import callhome, configure, handlers
from davide_hub.announce import Announcement
from davide_hub.auth import BrokerAuthenticator, Leave
from davide_hub.broker.client import BrokerRefused, BrokerUnreachable
from davide_hub.callhome import CallHomeHandler
from davide_hub.desk import Desk
from davide_hub.drain import Drain, Gate
from davide_hub.facts import load_site
from davide_hub.handlers import SessionHandler
from davide_hub.heard import HeardServer
from davide_hub.news import News
from davide_hub.options import SessionFailed
from davide_hub.questions import SlurmSilent
from davide_hub.routes import sentinel
from davide_hub.shown import Shown
from davide_hub.spawn_page import saved_wishes
from davide_hub.spawner import DavideSpawner, digest
from davide_hub.texts import text, texts_of
from fake_broker import FakeBroker
from jupyterhub import apihandlers
from jupyterhub.apihandlers.users import UserServerAPIHandler
from tornado import web
from traitlets.config import Config

ROOT = Path(__file__).resolve().parents[2]
SITE_YML = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
SITE = load_site(SITE_YML)


# -- settings


@pytest.fixture
def config():
    c = Config()
    configure.configure(c, SITE)
    return c


def test_the_facts_become_settings(config):
    assert config.JupyterHub.hub_bind_url == "https://10.77.0.10:8081"
    assert config.ConfigurableHTTPProxy.api_url == "http://127.0.0.1:8001"
    assert config.BrokerAuthenticator.admin_users == {"admin01"}


def test_a_full_queue_locks_nobody_out(config):
    assert config.JupyterHub.concurrent_spawn_limit == 0


def test_a_restart_of_the_hub_ends_no_session(config):
    assert config.JupyterHub.cleanup_servers is False
    assert config.ConfigurableHTTPProxy.should_start is False


def test_all_sessions_share_one_view_of_slurm(config):
    first, second = (DavideSpawner(config=config) for _ in range(2))
    assert first.proof is second.proof
    assert first.proof.broker is config.DavideSpawner.broker


def test_the_nodes_are_those_of_all_partitions(config):
    assert list(DavideSpawner.nodes.names) == [name for one in SITE.slurm.partitions for name in one.node_names]


def test_a_route_that_is_always_there_tells_whether_the_proxy_has_its_routes(config):
    assert config.ConfigurableHTTPProxy.extra_routes == {sentinel(SITE): "https://10.77.0.10:8081"}


def test_each_user_has_an_origin_of_the_own_unless_the_site_opts_out(config):
    assert config.JupyterHub.subdomain_host == SITE.public_url
    assert config.JupyterHub.cookie_host_prefix_enabled
    c = Config()
    configure.configure(c, SITE.model_copy(update={"origins": "shared"}))
    assert "subdomain_host" not in c.JupyterHub
    assert list(c.ConfigurableHTTPProxy.extra_routes) == ["/davide-hub-routes/"]
    assert c.JupyterHub.public_url == SITE.public_url


@pytest.mark.parametrize(("number", "named"), [(1, False), (2, True)])
def test_named_servers_come_with_a_second_session(number, named):
    c = Config()
    session = SITE.session.model_copy(update={"per_user": number})
    configure.configure(c, SITE.model_copy(update={"session": session}))
    assert c.JupyterHub.allow_named_servers is named


def test_the_configuration_file_reads_the_facts_and_the_sites_own_settings(tmp_path):
    for name in ("jupyterhub_config.py", "site.yml"):
        source = SITE_YML if name == "site.yml" else ROOT / "hub" / name
        (tmp_path / name).write_text(source.read_text())
    (tmp_path / "jupyterhub_config.d").mkdir()
    (tmp_path / "jupyterhub_config.d" / "own.py").write_text("")
    c, loaded = Config(), []
    names = {"get_config": lambda: c, "load_subconfig": loaded.append}
    runpy.run_path(str(tmp_path / "jupyterhub_config.py"), init_globals=names)
    assert c.DavideSpawner.site == SITE
    assert [Path(path).name for path in loaded] == ["own.py"]


# -- log-in


def authenticator(answer) -> BrokerAuthenticator:
    return BrokerAuthenticator(broker=FakeBroker(login=answer, ticket=answer))


def log_in(answer, **data):
    return asyncio.run(authenticator(answer).authenticate(None, data))


def test_a_phones_capital_and_space_do_no_harm():
    one = authenticator("student01")
    got = asyncio.run(one.authenticate(None, {"username": " Student01 ", "password": " keep spaces "}))
    assert got == {"name": "student01"}
    asked = one.broker.said[0]
    assert (asked.user, asked.password.get_secret_value()) == ("student01", " keep spaces ")


def test_a_wrong_password_is_refused():
    assert log_in(BrokerRefused("wrong_password", "no"), username="a", password="b") is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BrokerRefused("not_allowed", "You are not in the group davide."), 403),
        (BrokerRefused("busy", "Too many people."), 503),
        (BrokerUnreachable(), 503),
    ],
)
def test_who_may_not_log_in_gets_a_sentence(error, code):
    with pytest.raises(web.HTTPError) as refused:
        log_in(error, username="a", password="b")
    assert refused.value.status_code == code
    assert refused.value.log_message == str(error)


@pytest.mark.parametrize(
    ("answer", "counts"),
    [("yes", True), ("no", False), (BrokerRefused("wrong_password", "no"), False), (BrokerUnreachable(), True)],
)
def test_a_log_in_counts_until_the_broker_says_no(answer, counts):
    user = SimpleNamespace(name="student01")
    assert asyncio.run(authenticator(answer).refresh_user(user)) is counts


def test_who_logs_in_with_a_password_leaves_for_good_too():
    first = dict(reversed(authenticator("student01").get_handlers(None)))
    assert first["/logout"] is Leave


# -- call home


def call_home(
    monkeypatch,
    *,
    token: str | None = "own",  # noqa: S107
    body=None,
    port=0,
    up=True,
    session=None,
):
    called = []

    async def note(number, address):
        called.append((number, address))
        return up

    session = session or SimpleNamespace(token_digest=digest("own"), port=port, call_home=note, other_port=0)
    others = SimpleNamespace(token_digest="", port=0)
    monkeypatch.setattr(callhome, "User", SimpleNamespace)
    handler = SimpleNamespace(
        get_auth_token=lambda: token,
        get_json_body=lambda: body,
        current_user=SimpleNamespace(spawners={"other": others, "": session}) if token else None,
        set_status=called.append,
        _port=CallHomeHandler._port,
        # A header says otherwise, and is not asked.
        request=SimpleNamespace(
            remote_ip="203.0.113.1", connection=SimpleNamespace(context=SimpleNamespace(address=("192.0.2.21", 50123)))
        ),
    )
    handler._peer = lambda: CallHomeHandler._peer(handler)
    handler._own_session = lambda: CallHomeHandler._own_session(handler)
    asyncio.run(CallHomeHandler.post(handler))
    return called


def test_a_call_home_is_noted(monkeypatch):
    assert call_home(monkeypatch, body={"port": 40123}) == [(40123, "192.0.2.21"), 204]


def test_calling_twice_is_calling_once(monkeypatch):
    assert call_home(monkeypatch, body={"port": 40123}, port=40123) == [(40123, "192.0.2.21"), 204]


@pytest.mark.parametrize(
    ("token", "port", "code", "noted"),
    [("own", 50000, 409, 50000), ("of somebody else", 50000, 403, 0), (None, 50000, 403, 0), ("own", 80, 400, 0)],
)
def test_a_call_from_another_port_is_refused_and_with_the_sessions_own_token_noted(
    monkeypatch, token, port, code, noted
):
    session = SimpleNamespace(token_digest=digest("own"), port=40123, other_port=0)
    with pytest.raises(web.HTTPError) as refused:
        call_home(monkeypatch, token=token, body={"port": port}, session=session)
    assert (refused.value.status_code, session.other_port, session.port) == (code, noted, 40123)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"token": "of somebody else"}, 403),
        ({"token": None}, 403),
        ({"port": 50000}, 409),
        ({"up": False}, 503),
        ({"body": {"port": 80}}, 400),
        ({"body": {"port": 65536}}, 400),
        ({"body": {"port": "40123"}}, 400),
        ({"body": {"port": True}}, 400),
        ({"body": {"port": 40123, "node": "gpu02"}}, 400),
        ({"body": [40123]}, 400),
        ({"body": None}, 400),
    ],
)
def test_anything_else_is_refused(monkeypatch, change, code):
    with pytest.raises(web.HTTPError) as refused:
        call_home(monkeypatch, **({"body": {"port": 40123}} | change))
    assert refused.value.status_code == code


# -- a server that was heard of, and handlers of ours


def test_nobody_has_to_try_whether_a_session_is_up_that_called_home():
    answer = asyncio.run(HeardServer().wait_up(timeout=30, http=True))
    assert answer.headers["X-JupyterHub-Version"]


def ends(monkeypatch, error) -> list[object]:
    told = []

    async def stock(_self, _user, _name=""):
        if error:
            raise error

    monkeypatch.setattr(UserServerAPIHandler, "delete", stock)
    handler = SessionHandler.__new__(SessionHandler)
    handler.set_status = told.append
    handler.set_header = lambda *_: None
    monkeypatch.setattr(SessionHandler, "log", SimpleNamespace(info=lambda *_: None))
    asyncio.run(handler.delete("student01"))
    return told


@pytest.mark.parametrize("error", [RuntimeError("not running"), KeyError("")])
def test_an_end_that_overtakes_its_cancellation_is_no_failure(monkeypatch, error):
    assert ends(monkeypatch, error) == [202]


def test_an_ordinary_end_is_jupyterhubs_own(monkeypatch):
    assert ends(monkeypatch, None) == []
    with pytest.raises(web.HTTPError):
        ends(monkeypatch, web.HTTPError(404))


def test_our_handlers_take_the_places_of_jupyterhubs(tmp_path):
    handlers.use_ours(Gate(tmp_path / "drain.json", None))
    used = {handler[1] for handler in apihandlers.default_handlers}
    assert SessionHandler in used
    assert UserServerAPIHandler not in used


# -- pages


def page(name: str, **values) -> str:
    """Return a page of ours within JupyterHub's own."""
    import jupyterhub

    stock = str(Path(jupyterhub.__file__).parents[4] / "share/jupyterhub/templates")
    loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader([str(ROOT / "hub/templates"), stock]),
            jinja2.PrefixLoader({"templates": jinja2.FileSystemLoader(stock)}, "/"),
        ]
    )
    environment = jinja2.Environment(loader=loader, autoescape=True)
    user = SimpleNamespace(
        name="student01", escaped_name="student01", json_escaped_name="student01", spawners={"": idle()}
    )
    common = {
        "site": SITE,
        "slurm": SimpleNamespace(silent=False),
        "text": text,
        "texts_of": texts_of,
        "own_sessions": lambda _user: [],
        "free_name": lambda _user: None,
        "oversees": False,
        "xsrf_token": "t",
        "base_url": "/hub/",
        "static_url": lambda path, **_: f"/hub/static/{path}",
        "user": user,
        "no_spawner_check": True,
        "parsed_scopes": {},
    }
    return environment.get_template(name).render(common | values)


def idle(**values) -> SimpleNamespace:
    nothing = {
        "ended": "",
        "ended_as": "",
        "ended_log": "",
        "ended_advice": "",
        "user_options": {},
        "pending": None,
        "active": False,
        "ready": False,
        "name": "",
        "profile_name": "no-gpu",
        "news": News(),
    }
    return SimpleNamespace(**(nothing | values))


def form(**values) -> str:
    user = SimpleNamespace(name="student01", json_escaped_name="student01")
    defaults = {"spawner": idle(), "for_user": user, "user": user, "xsrf_token": "t"}
    given = defaults | values

    async def made():
        desk = Desk(SITE, _silent, FakeBroker())
        return desk.form(user.name, None, saved_wishes(given["spawner"].user_options))

    made_of = asyncio.run(made()) | {"by_link": False, "action": "/hub/spawn"}
    made_of["fields"] = page("form_fields.html", form=made_of, text=text, texts_of=texts_of)
    return page("spawn.html", form=made_of, text=text, texts_of=texts_of, **given)


def test_a_session_that_does_not_answer_has_a_page_that_asks_again():
    html = page("503.html", text=text, status_code=503, message_html="Your server appears to be down.")
    assert text("away.session_title") in html
    assert "appears to be down" not in html
    assert "setTimeout(ask" in html


def test_a_refusal_of_the_hub_is_shown_with_its_reason_and_stays():
    refusal = web.HTTPError(503, "The log-in service is busy.")
    html = page("503.html", text=text, status_code=503, message="The log-in service is busy.", exception=refusal)
    assert "The log-in service is busy." in html
    assert text("away.session_title") not in html
    assert "setTimeout(ask" not in html


async def _silent(_question, _jobs):
    raise SlurmSilent("squeue can't be started")


def test_the_form_shows_a_card_for_each_profile_and_sends_names():
    html = form()
    for profile in SITE.profiles:
        assert f'name="profile" value="{profile.name}"' in html
        assert profile.title in html
    assert html.count("checked") == 1
    assert "1 GPU<" in html
    assert "4 GPUs<" in html


def test_the_last_choice_is_chosen_again():
    assert 'value="no-gpu" checked' in form(spawner=idle(user_options={"profile": "no-gpu"}))


def test_a_choice_that_is_gone_is_the_first_again():
    assert 'value="one-gpu" checked' in form(spawner=idle(user_options={"profile": "of last year"}))


def test_slurms_sentence_stands_on_the_form_and_can_inject_nothing():
    html = form(error_message="Slurm refused: <script>alert(1)</script>")
    assert "Slurm refused: &lt;script&gt;" in html
    assert "<script>alert" not in html


def test_a_drain_stands_on_every_page_and_the_form_starts_nothing():
    html = form(drain=Drain("Thursday <b>14:00</b>"))
    assert "until Thursday &lt;b&gt;14:00&lt;/b&gt;, because of maintenance" in html
    assert re.search(r'<button type="submit"[^>]* disabled aria-describedby="drain"', html)
    assert not re.search(r'<button type="submit"[^>]* disabled', form())


def failure(**values) -> str:
    failed = {"exception": SessionFailed("It failed.", reason="x"), "failed": True, "server_name": ""}
    return page("not_running.html", **({"spawn_url": "/hub/spawn/student01"} | failed | values))


def test_the_failure_page_shows_the_sentence_what_to_do_and_the_log():
    session = idle(ended="It failed.", ended_advice="Try <b>.", ended_log="No space left <b>")
    html = failure(user=SimpleNamespace(name="student01", json_escaped_name="student01", spawners={"": session}))
    assert "It failed." in html
    assert "Try &lt;b&gt;." in html
    assert "No space left &lt;b&gt;" in html


def test_trying_again_sends_the_same_choice_and_the_proof_against_forgery():
    session = idle(ended="It failed.", user_options={"profile": "one-gpu", "gpus": 2})
    html = failure(user=SimpleNamespace(name="student01", json_escaped_name="student01", spawners={"": session}))
    assert '<form action="/hub/spawn/student01" method="post">' in html
    for name, value in (("_xsrf", "t"), ("profile", "one-gpu"), ("gpus", "2")):
        assert f'<input type="hidden" name="{name}" value="{value}">' in html


def test_a_failure_that_is_none_of_ours_tells_nothing_of_the_hubs_inside():
    html = failure(exception=RuntimeError("secret path"))
    assert "Something went wrong in the hub" in html
    assert "secret path" not in html


def test_the_home_page_tells_how_the_last_session_ended():
    html = page("home.html", default_server=idle(ended="The session reached its time limit."), url="/x")
    assert "The session reached its time limit." in html


@pytest.mark.parametrize("silent", [True, False])
def test_the_home_page_tells_that_slurm_is_silent(silent):
    html = page("home.html", default_server=idle(), url="/x", slurm=SimpleNamespace(silent=silent))
    assert ("Slurm does not answer at the moment" in html) is silent


SHOWN = Shown(
    "student01", "", "running", "One GPU", "1 GPU (tesla)", "50 %, 3.0 of 16 GB", "gpu01", "17", "", "", "", "14:00",
    "1 h 5 min left", "now",
)  # fmt: skip


def home(*sessions: Shown, **values) -> str:
    user = SimpleNamespace(
        name="student01", escaped_name="student01", json_escaped_name="student01", server_url=lambda name: f"/u/{name}"
    )
    return page("home.html", default_server=idle(), own_sessions=lambda _user: sessions, user=user, **values)


def test_the_home_page_offers_to_open_and_end_what_runs():
    html = " ".join(home(SHOWN).split())
    assert "Runs on gpu01, job 17" in html
    facts = ("1 GPU (tesla)", "GPU use: 50 %, 3.0 of 16 GB", "1 h 5 min left")
    assert " ".join(f"<span>{one}</span>" for one in facts) in html
    assert 'data-stop-url="/hub/api/users/student01/server"' in html


def test_the_home_page_says_in_a_sentence_why_a_session_waits():
    waits = replace(SHOWN, state="waiting", node="", said="Job 17 waits: others are before you in the queue.")
    assert "Job 17 waits: others are before you in the queue." in home(waits)


def test_each_named_session_has_its_own_buttons_and_no_id_twice():
    html = home(SHOWN, replace(SHOWN, name="session-2"), free_name=lambda _user: "session-3")
    assert 'data-stop-url="/hub/api/users/student01/servers/session-2"' in html
    assert 'href="/u/session-2"' in html
    assert 'href="/hub/spawn/student01/session-3"' in html
    assert html.count('id="session-stop"') == 1


def test_the_home_page_warns_before_it_ends_an_idle_session():
    assert "ends in 4 min" in home(replace(SHOWN, idle_left=4))
    assert "ends in" not in home(SHOWN)


def test_an_announcement_is_text_and_never_a_script():
    html = home(SHOWN, announcement=Announcement("<script>alert(1)</script>", "danger"))
    assert 'alert-danger" role="status" id="announcement">&lt;script&gt;alert(1)' in html


@pytest.mark.parametrize("oversees", [True, False])
def test_only_overseers_are_shown_the_way_to_the_overview(oversees):
    assert ('href="/hub/overview"' in home(SHOWN, oversees=oversees)) is oversees


@pytest.mark.parametrize(("name", "path"), [("", "server"), ("my one", "servers/my%20one")])
def test_cancel_on_the_pending_page_reaches_the_right_session(name, path):
    html = page("spawn_pending.html", spawner=idle(name=name), progress_url="/p")
    assert f'data-stop-url="/hub/api/users/student01/{path}"' in html
