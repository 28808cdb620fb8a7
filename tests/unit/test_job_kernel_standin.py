"""What a page hears while there is no kernel."""

import pytest
from davide_session.jobkernel.messages import Writer, read
from davide_session.jobkernel.standin import StandIn

PAGE = Writer(b"key")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def standin(clock):
    return StandIn(Writer(b"key"), "python", clock)


def request(kind, **content):
    return PAGE.write(kind, content, to=[b"page"])


def words(out):
    """Return what goes where, and what it says that matters."""
    shown = []
    for channel, frames in out:
        message = read(frames)
        content = message.content
        said = content.get("text") or content.get("evalue") or content.get("execution_state") or content.get("status")
        shown.append((channel, message.kind, said))
    return shown


def test_a_page_that_opens_waits_for_the_kernel_a_while_and_is_then_answered(standin, clock):
    standin.keep("shell", request("kernel_info_request"))
    assert standin.impatient() == []
    clock.now = 5.0
    out = standin.impatient()
    assert words(out) == [
        ("iopub", "status", "busy"),
        ("shell", "kernel_info_reply", "ok"),
        ("iopub", "status", "idle"),
    ]
    (_, reply) = out[1]
    assert reply[0] == b"page", "it goes to who asked"
    # Asked once more, nobody waits again; and the kernel itself is not asked for what has its answer.
    standin.keep("shell", request("kernel_info_request"))
    assert len(standin.impatient()) == 3
    assert standin.release() == ([], [])


def test_what_is_told_stands_in_the_first_cell_and_goes_away(standin):
    assert standin.tell("nobody waits") == []
    for code in ("1", "2"):
        standin.keep("shell", request("execute_request", code=code))
    assert words(standin.tell("it waits")) == [("iopub", "status", "busy"), ("iopub", "stream", "it waits\n")]
    assert [kind for _, kind, _ in words(standin.tell("it still waits"))] == ["clear_output", "stream"]
    to_pages, to_kernel = standin.release()
    assert [kind for _, kind, _ in words(to_pages)] == ["clear_output"]
    assert [read(frames).content["code"] for _, frames in to_kernel] == ["1", "2"]


def test_the_output_of_a_cell_that_runs_is_not_cleared(standin):
    standin.note_request("shell", request("execute_request", code="1"))
    assert "clear_output" not in [kind for _, kind, _ in words(standin.tell("silent") + standin.tell("back"))]


def test_the_first_cell_is_told_why_and_the_others_are_aborted(standin):
    for code in ("1", "2"):
        standin.keep("shell", request("execute_request", code=code))
    standin.keep("shell", request("complete_request"))
    said = words(standin.give_up("the job is gone"))
    assert [one for one in said if one[1] != "status"] == [
        ("iopub", "error", "the job is gone"),
        ("shell", "execute_reply", "the job is gone"),
        ("shell", "execute_reply", "aborted"),
        ("shell", "complete_reply", "the job is gone"),
    ]
    assert not standin.waited_for
    assert words(standin.answer("shell", request("execute_request")))[1] == ("iopub", "error", "the job is gone")


def test_a_cell_that_has_its_answer_is_not_told_of_the_end(standin):
    frames = request("execute_request", code="1")
    standin.note_request("shell", frames)
    standin.note_answer("shell", PAGE.write("execute_reply", {"status": "ok"}, parent=read(frames).header))
    assert standin.give_up("the job is gone") == []


def test_a_restart_forgets_what_the_old_kernel_was_asked_and_keeps_what_the_new_one_will_be(standin):
    standin.note_request("shell", request("execute_request", code="old"))
    standin.keep("shell", request("execute_request", code="new"))
    standin.forget()
    assert [kind for _, kind, _ in words(standin.give_up("x")) if kind == "execute_reply"] == ["execute_reply"]


@pytest.mark.parametrize("frames", [[], [b"x"], [b"<IDS|MSG>", b"", b"{", b"{}", b"{}", b"{}"], [b"<IDS|MSG>", b""]])
def test_what_is_no_message_is_passed_over(standin, frames):
    assert read(frames) is None
    standin.keep("shell", frames)
    assert standin.answer("shell", frames) == standin.give_up("x") == []
