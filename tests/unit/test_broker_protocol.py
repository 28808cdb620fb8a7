"""The lines between hub and broker: what is a request, and what is none."""

from __future__ import annotations

import json

import pytest
from davide_hub.broker.protocol import (
    MAX_JOBS,
    MAX_LINE,
    AboutJobs,
    AboutSlurm,
    Answer,
    BadMessage,
    Cancel,
    Claim,
    Close,
    Estimate,
    Login,
    Look,
    Recall,
    Refusal,
    Sessions,
    Submit,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)
from pydantic import SecretStr

SUBMIT = {
    "verb": "submit",
    "user": "student01",
    "server": "",
    "profile": "one-gpu",
    "session_key": "ab12",
    "environment": {},
}
CLAIM = {"verb": "claim", "user": "student01", "session_key": "ab12", "job": "17"}


@pytest.mark.parametrize(
    "request_",
    [
        Login(user="student01", password=SecretStr("correct horse")),
        Submit(
            user="student01",
            server="my one",
            profile="one-gpu",
            session_key="ab12",
            environment={"JUPYTERHUB_API_TOKEN": "t"},
        ),
        Estimate(user="student01", profile="one-gpu", gpus=2, hours=3, account="other26", qos="", reservation=None),
        Cancel(user="student01", session_key="ab12"),
        Close(user="student01", session_key="ab12"),
        Look(user="student01", session_key="ab12"),
        Sessions(),
        Recall(user="student01", session_key="ab12"),
        Claim(user="student01", session_key="ab12", job="17"),
        AboutJobs(question="queue", jobs=("17", "18")),
        AboutSlurm(question="marks"),
    ],
)
def test_a_request_arrives_as_it_was_sent(request_):
    assert decode_request(encode_request(request_)) == request_


@pytest.mark.parametrize("reply", [Answer(value="17"), Refusal(kind="slurm", sentence="no")])
def test_a_reply_arrives_as_it_was_sent(reply):
    assert decode_reply(encode_reply(reply)) == reply


@pytest.mark.parametrize(
    "change",
    [
        {"user": "root; id"},
        {"user": "../student01"},
        {"user": "Student01"},
        {"user": "student01\n"},
        {"user": 7},
        {"session_key": "../../etc"},
        {"session_key": "-x"},
        {"session_key": ""},
        {"environment": {"LD_PRELOAD": "/tmp/x.so"}},
        {"environment": {"JUPYTERHUB_X": "a\0b"}},
        {"environment": {"JUPYTERHUB_X": 1}},
        {"environment": {"JUPYTERHUB_X": "y" * 9000}},
        {"profile": ""},
        {"server": "a/b"},
        {"server": "a\nb"},
        {"uid": 0},
        {"account": "other --uid=0"},
        {"account": "-x"},
        {"account": 7},
        {"qos": "high\n"},
        {"reservation": "a,b"},
        {"gpus": "4"},
        {"gpus": -1},
        {"gpus": 65},
        {"gpus": True},
        {"hours": 0},
        {"hours": 721},
        {"hours": 1.5},
        {"verb": "shell"},
    ],
)
def test_what_is_out_of_bounds_is_no_request(change):
    with pytest.raises(BadMessage):
        decode_request(json.dumps(SUBMIT | change).encode())


@pytest.mark.parametrize(
    "change", [{"job": "17_3"}, {"job": "-1"}, {"job": "1" * 11}, {"job": 17}, {"session_key": "-"}]
)
def test_only_a_number_is_a_job(change):
    with pytest.raises(BadMessage):
        decode_request(json.dumps(CLAIM | change).encode())


@pytest.mark.parametrize(
    "asked",
    [
        {"verb": "about_jobs", "question": "queue", "jobs": []},
        {"verb": "about_jobs", "question": "queue", "jobs": ["17", "-1"]},
        {"verb": "about_jobs", "question": "queue", "jobs": ["17,18"]},
        {"verb": "about_jobs", "question": "queue", "jobs": [17]},
        {"verb": "about_jobs", "question": "queue", "jobs": "17"},
        {"verb": "about_jobs", "question": "queue", "jobs": ["1"] * (MAX_JOBS + 1)},
        {"verb": "about_jobs", "question": "marks", "jobs": ["17"]},
        {"verb": "about_jobs", "question": "scontrol", "jobs": ["17"]},
        {"verb": "about_slurm", "question": "queue"},
        {"verb": "about_slurm", "question": "marks", "jobs": ["17"]},
    ],
)
def test_slurm_is_asked_nothing_but_what_is_known(asked):
    with pytest.raises(BadMessage):
        decode_request(json.dumps(asked).encode())


def test_as_many_jobs_as_may_be_asked_about_fit_into_a_line():
    request = AboutJobs(question="accounting", jobs=("9999999999",) * MAX_JOBS)
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize("line", [b"", b"\n", b"{", b"[]", b"null", b"\xff\xfe", b'{"verb": "submit"}'])
def test_a_broken_line_is_no_request(line):
    with pytest.raises(BadMessage):
        decode_request(line)


def test_a_line_that_is_too_long_is_no_request():
    with pytest.raises(BadMessage, match="longer than"):
        decode_request(b" " * (MAX_LINE + 1))


def test_a_refused_log_in_does_not_quote_the_password():
    line = json.dumps({"verb": "login", "user": "x" * 99, "password": "my secret", "more": 1}).encode()
    with pytest.raises(BadMessage) as refusal:
        decode_request(line)
    assert "my secret" not in str(refusal.value)
    assert "my secret" not in repr(Login(user="student01", password=SecretStr("my secret")))
