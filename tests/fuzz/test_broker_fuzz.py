"""Whatever comes over the socket: one answer, nothing done that was not asked for well, nothing left behind."""

from __future__ import annotations

import json
import os

from davide_hub.broker.protocol import Answer, Refusal, decode_reply
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lines import ROOTS_OWN, as_sent, is_request, lines

# In CI few and always the same ones; the long form sets the number and draws anew each time.
_ASKED = os.environ.get("DAVIDE_FUZZ_REQUESTS")
REQUESTS = int(_ASKED or 2000)
# Drawn together, since an example costs more than a request.
_TOGETHER = 10
# Every example begins with a session that there is.
SUBMIT = json.dumps(
    {
        "verb": "submit",
        "user": "student01",
        "server": "",
        "profile": "one-gpu",
        "session_key": "k1",
        "environment": {"JUPYTERHUB_API_TOKEN": "t"},
    }
).encode()

fuzz = settings(
    max_examples=REQUESTS // _TOGETHER,
    derandomize=_ASKED is None,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@fuzz
@given(st.lists(lines(), min_size=_TOGETHER, max_size=_TOGETHER))
def test_every_line_gets_one_answer_and_only_requests_are_answered(broker, sent):
    broker.forget()
    for line in map(as_sent, [SUBMIT, *sent]):
        answer = broker.send(line)
        assert answer.count(b"\n") == 1, "one line, whatever was asked"
        assert answer.endswith(b"\n")
        reply = decode_reply(answer)
        first = line.split(b"\n")[0]
        refused = isinstance(reply, Refusal) and reply.kind == "bad_request"
        assert refused != is_request(first), f"{first[:300]!r} got {reply}"
        if isinstance(reply, Answer):
            assert json.loads(first)["verb"] not in ROOTS_OWN, "an order of root's from the hub"
        if isinstance(reply, Answer) and (key := json.loads(first).get("session_key")):
            assert json.loads(first)["user"] == broker.owner(key), f"{first[:300]!r} reached a session of somebody else"
    assert broker.server.crashes == []
    assert broker.slurm.wrong == []


def test_the_pretended_slurm_was_reached(broker):
    assert broker.slurm.orders > 0, "a fuzz that never gets as far as sbatch shows nothing"
    assert broker.slurm.questions > 0
