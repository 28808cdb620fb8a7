"""Options: names and nothing else, on every way by which they come in."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from davide_hub.facts import load_site
from davide_hub.handlers import SessionHandler
from davide_hub.options import SessionFailed, chosen_plan, options_in
from davide_hub.spawner import DavideSpawner
from fake_broker import FakeBroker
from tornado import web
from traitlets.config import Config

SITE = load_site(Path(__file__).parents[2] / "ansible/inventory/local/group_vars/all/site.yml")
BAD = [
    ({"profile": "huge"}, "no profile 'huge'; this site has one-gpu"),
    ({"profile": "one-gpu\n#SBATCH --account=x"}, "no profile 'one-gpu\\\\n"),
    ({"profile": ["one-gpu"]}, "this site has one-gpu"),
    ({"profile": None}, "this site has one-gpu"),
    ({"profile": "one-gpu", "partition": "other"}, "no option 'partition'; there is profile, gpus"),
    ({"PROFILE": "one-gpu"}, "no option 'PROFILE'; there is profile, gpus"),
    ({"profile": "one-gpu", "gpus": 5}, "this profile has 1 to 4"),
    ({"profile": "one-gpu", "hours": "2"}, "hours '2' is not a whole number"),
    ({"profile": "one-gpu", "gpus": True}, "gpus True is not a whole number"),
    ({"account": "x --uid=0"}, "account 'x --uid=0' is not a name that Slurm has"),
    ({"qos": "-x"}, "qos '-x' is not a name"),
    ({"reservation": None}, "reservation None is not a name"),
    (["one-gpu"], "an object with the names"),
    ("one-gpu", "an object with the names"),
]
bad_options = pytest.mark.parametrize(("options", "words"), BAD)


def handler(method: str, body: object = None, saved: object = None, server: str = "") -> SessionHandler:
    config = Config()
    config.DavideSpawner.site = SITE
    made = SessionHandler.__new__(SessionHandler)  # only the parts that read a body
    made.application = SimpleNamespace(settings={"config": config})
    made.request = SimpleNamespace(method=method, body=b"" if body is None else json.dumps(body).encode())
    made.path_args = ["student01", server] if server else ["student01"]
    made.find_user = lambda _name: SimpleNamespace(orm_spawners={server: SimpleNamespace(user_options=saved)})
    return made


def test_no_options_are_the_first_profile():
    assert chosen_plan(SITE, {}) == chosen_plan(SITE, None)
    assert chosen_plan(SITE, {}).profile == SITE.profiles[0]


@bad_options
def test_what_is_no_option_is_refused_with_the_names_there_are(options, words):
    with pytest.raises(SessionFailed, match=words) as refused:
        chosen_plan(SITE, options)
    assert refused.value.status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("shape", [lambda options: options, lambda options: {"user_options": options}])
@bad_options
def test_a_request_with_bad_options_is_refused_before_anything_begins(method, shape, options, words):
    with pytest.raises(web.HTTPError) as refused:
        handler(method, shape(options)).get_server_json_body()
    assert refused.value.status_code == 400


@bad_options
def test_a_change_to_bad_options_is_refused(options, words):
    with pytest.raises(SessionFailed, match=words):
        handler("PATCH", {"user_options": options}).get_json_body()


@pytest.mark.parametrize(
    ("method", "body"),
    [
        ("POST", {"user_options": {"profile": "one-gpu"}, "account": "x"}),
        ("PATCH", {"state": {"job_id": "17"}}),
        ("DELETE", {"remove": True, "force": True}),
    ],
)
def test_a_field_that_does_not_exist_is_refused_with_those_that_do(method, body):
    one = handler(method, body)
    with pytest.raises(web.HTTPError, match=r"There is no field '.*'; there is ") as refused:
        one.get_server_json_body() if method == "POST" else one.get_json_body()
    assert refused.value.status_code == 400


@pytest.mark.parametrize("body", [[], "x", 7, {"name": 7}, {"display_name": None}])
def test_a_change_that_is_no_object_of_texts_is_refused(body):
    with pytest.raises(web.HTTPError) as refused:
        handler("PATCH", body).get_json_body()
    assert refused.value.status_code == 400


@pytest.mark.parametrize("body", [{"profile": "one-gpu"}, {"user_options": {"profile": "one-gpu"}}])
def test_good_options_go_through(body):
    assert handler("POST", body).get_server_json_body()["user_options"] == {"profile": "one-gpu"}


def test_a_start_without_options_is_checked_against_the_saved_ones():
    assert handler("POST", saved={"profile": "no-gpu"}).get_server_json_body()["user_options"] is None
    with pytest.raises(SessionFailed, match="no profile 'of last year'"):
        handler("POST", saved={"profile": "of last year"}).get_server_json_body()
    with pytest.raises(SessionFailed, match="an object"):
        handler("POST", saved=["planted"], server="two").get_server_json_body()


def test_a_form_with_a_bad_option_is_refused_before_it_is_kept():
    spawner = DavideSpawner(site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01"))
    sent = {"profile": ["one-gpu"], "gpus": ["2"], "hours": ["3"], "qos": [""], "_xsrf": ["t"]}
    assert spawner.options_from_form(sent) == {"profile": "one-gpu", "gpus": 2, "hours": 3, "qos": ""}
    with pytest.raises(SessionFailed, match="no option 'memory'"):
        spawner.options_from_form({"profile": ["one-gpu"], "memory": ["4096"]})


def test_a_database_that_holds_no_options_at_all_hurts_nobody():
    spawner = DavideSpawner(
        site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01"), user_options=["planted"]
    )
    assert spawner.user_options == {}


def test_a_number_in_a_form_is_a_number_only_if_it_is_written_as_one():
    fields = {"gpus": ["1", "2"], "hours": ["٣"], "profile": ["4"]}
    assert options_in(fields) == {"gpus": 2, "hours": "٣", "profile": "4"}
    assert options_in({"hours": ["-1"]}) == {"hours": "-1"}


def test_a_link_with_what_is_not_possible_is_refused_with_the_reason():
    spawner = DavideSpawner(site=SITE, broker=FakeBroker(), user=SimpleNamespace(name="student01"))
    with pytest.raises(SessionFailed, match="this profile has 1 to 8"):
        spawner.options_from_query({"profile": ["one-gpu"], "hours": ["99"]})
