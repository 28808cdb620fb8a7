"""A real session with all four GPUs of a node: each notebook has its own, and a killed kernel's is free again."""

from contextlib import closing

import pytest
from support.person import log_in
from support.session_process import run_cell
from support.web import open_websocket

USER = "student06"
WHERE = "import os, socket; print(socket.gethostname(), os.getpid())"
SEEN = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['SLURM_JOB_GPUS'])"


@pytest.fixture
def person(cluster, wait_for):
    """Start a session with four GPUs."""
    person = log_in(cluster, USER)
    person.stop(wait_for)
    person.start(wait_for, "four-gpus")
    yield person
    person.stop(wait_for)


@pytest.fixture
def open_notebook(cluster, person):
    """Return a function that opens a notebook, and returns the answer and how to run a cell in it."""

    def opened(path):
        book = {"path": path, "name": path, "type": "notebook", "kernel": {"name": "tf-cpu"}}
        answer = person.ask_session("POST", "/api/sessions", json=book)

        def run(code):
            address = f"{cluster.user_url(USER)}/api/kernels/{answer.json()['kernel']['id']}/channels"
            header = [f"Authorization: token {person.token}"]
            with closing(open_websocket(address, timeout=60, header=header)) as channel:
                return run_cell(channel, code).strip()

        return answer, run

    return opened


def test_four_notebooks_hold_four_gpus_and_a_fifth_waits_for_one(cluster, person, open_notebook, wait_for):
    def held():
        rows = person.ask_session("GET", "/davide/facts").json()["leases"]["held"]
        return {row["path"]: row["gpus"] for row in rows}

    four = {path: open_notebook(path)[1] for path in ("a.ipynb", "b.ipynb", "c.ipynb", "d.ipynb")}
    seen = {path: run(SEEN).split() for path, run in four.items()}
    [of_job] = {all_of_them for _, all_of_them in seen.values()}
    assert sorted(own for own, _ in seen.values()) == of_job.split(",") == ["0", "1", "2", "3"]

    refused, _ = open_notebook("e.ipynb")
    assert refused.status_code == 500
    told = refused.json()["message"]
    assert all(f"GPU {own}: {path}" in told for path, (own, _) in seen.items())
    assert "To share one" in told

    node, process = four["b.ipynb"](WHERE).split()
    cluster.output(node, f"kill -KILL {process}")
    # Jupyter starts it again by itself.
    wait_for(lambda: four["b.ipynb"](WHERE) != f"{node} {process}", "the killed kernel is back", 30)
    assert four["b.ipynb"](SEEN).split()[0] == seen["b.ipynb"][0]

    person.ask_session("DELETE", f"/api/sessions/{session_of(person, 'c.ipynb')}").raise_for_status()
    wait_for(lambda: "c.ipynb" not in held(), "the GPU of a notebook that was shut down is free", 30)
    assert open_notebook("e.ipynb")[1](SEEN).split()[0] == seen["c.ipynb"][0]


def session_of(person, path):
    """Return the number of a notebook's session."""
    return next(one["id"] for one in person.ask_session("GET", "/api/sessions").json() if one["path"] == path)
