"""The broker's verbs and socket, with Slurm's commands replaced by ones that write down what they get."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import threading
import time
from pathlib import Path

import pamela
import pytest
from davide_hub.broker import accounts, as_user, directory, owner, server, sessions, verbs
from davide_hub.broker.accounts import Account, NotAllowed, WrongPassword
from davide_hub.broker.client import BrokerClient, BrokerRefused, BrokerUnreachable, LedgerEntry
from davide_hub.broker.keep import Tickets
from davide_hub.broker.ledger import Ledger
from davide_hub.broker.mark import load_marker
from davide_hub.broker.protocol import (
    Answer,
    Cancel,
    Claim,
    Estimate,
    Log,
    Login,
    Look,
    Recall,
    Refusal,
    Sessions,
    Submit,
    Ticket,
)
from davide_hub.broker.sessions import SessionKeeper
from davide_hub.broker.verbs import SiteFile, Verbs
from davide_hub.plan import Wishes
from pydantic import SecretStr
from support.broker import verbs_over

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "ansible/inventory/local/group_vars/all/site.yml"
SBATCH = """#!/bin/bash
{ printf '%s\\n' "$@"; echo --; env | sort; echo --; umask; pwd; echo --; cat; } > "$HOME/sbatch-got"
"""
SCANCEL = '#!/bin/bash\nprintf "%s\\n" "$@" > "$HOME/scancel-got"\n'
# What squeue prints about the one job there is; its comment is the one that sbatch got.
SQUEUE = """#!/bin/bash
mark=$(sed -n s/^--comment=//p "$HOME/sbatch-got")
echo 'JOBID|STATE|EXEC_HOST|REASON|UID|SUBMIT_TIME|COMMENT'
echo "4711|%s|gpu01|None|$(id -u)|$(date +%%FT%%T)|$mark"
"""
SUBMIT = Submit(
    user="student01",
    server="",
    profile="one-gpu",
    session_key="ab12",
    environment={"JUPYTERHUB_API_TOKEN": "top-secret"},
)


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Return a function that puts a command of our making where Slurm's would be found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setattr(as_user, "PATH", f"{folder}:/usr/bin:/bin")

    def put(name: str, text: str) -> None:
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)

    put("sbatch", SBATCH + "echo 4711")
    put("squeue", SQUEUE % "RUNNING")
    put("scancel", SCANCEL)
    return put


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return the home of student01, who is whoever runs the tests."""
    home = tmp_path / "home"
    home.mkdir()
    student = Account("student01", os.getuid(), os.getgid(), home, "/bin/bash")
    for module in (verbs, sessions):
        monkeypatch.setattr(module, "find_account", lambda _name: student)
        monkeypatch.setattr(module, "check_membership", lambda _account, _group: None)
    monkeypatch.setattr(as_user, "identity", lambda _account: {})
    return home


@pytest.fixture
def broker(tmp_path, command, home):
    site, tickets = SiteFile(SITE), Tickets(tmp_path / "tickets")
    keeper = SessionKeeper(
        lambda: broker.site_file.read(),
        ROOT / "spawner_templates",
        tickets,
        Ledger(tmp_path / "ledger"),
        load_marker(tmp_path / "mark.json"),
    )
    broker = verbs_over(tmp_path, site, keeper)
    tickets.give("student01", os.getuid())
    return broker


def test_a_session_is_submitted_with_a_clean_environment(broker, home, monkeypatch):
    monkeypatch.setenv("CONFIGPROXY_AUTH_TOKEN", "the hub's secret")
    assert broker.answer(SUBMIT) == Answer(value="4711")
    argv, environment, place, script = (home / "sbatch-got").read_text().split("\n--\n", 3)
    mark = broker.sessions.marker.mark("ab12", os.getuid())
    assert argv.split() == ["--parsable", "--propagate=NONE", f"--comment={mark}"]
    names = {line.split("=")[0] for line in environment.splitlines()}
    assert names - {"_", "PWD", "SHLVL", "OLDPWD"} == {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG"}
    assert place.split() == ["0022", str(home)]
    assert script.startswith("#!/bin/bash")
    assert "#SBATCH --account=tra26_davide" in script
    assert "#SBATCH --gres=gpu:tesla:1" in script


def test_secrets_travel_in_a_file_of_the_user_alone(broker, home):
    broker.answer(SUBMIT)
    folder = home / ".local/share/davide-hub/ab12"
    secrets = folder / "environment.json"
    assert json.loads(secrets.read_text()) == {"JUPYTERHUB_API_TOKEN": "top-secret", "DAVIDE_PROFILE": "one-gpu"}
    assert [path.stat().st_mode & 0o777 for path in (folder, secrets)] == [0o700, 0o600]
    assert "top-secret" not in (home / "sbatch-got").read_text()


def test_asking_twice_submits_once(broker, home):
    broker.answer(SUBMIT)
    (home / "sbatch-got").unlink()
    assert broker.answer(SUBMIT) == Answer(value="4711")
    assert not (home / "sbatch-got").exists()


def test_without_a_ticket_nothing_is_submitted(broker, home):
    broker.tickets._clock = lambda: 1e12
    refusal = broker.answer(SUBMIT)
    assert refusal.kind == "no_ticket"
    assert "Log out and in again" in refusal.sentence
    assert not list(home.iterdir())


def test_an_unknown_profile_names_the_choices(broker):
    refusal = broker.answer(SUBMIT.model_copy(update={"profile": "huge; rm -rf ~"}))
    assert refusal.kind == "unknown_profile"
    assert "this site has one-gpu" in refusal.sentence


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (
            "sbatch: error: Batch job submission failed: Invalid account or account/partition combination specified",
            "Batch job submission failed: Invalid account or account/partition combination specified",
        ),
        (
            "sbatch: error: No account given: say which one.\n"
            "sbatch: error: Batch job submission failed: Unspecified error",
            "No account given: say which one. · Batch job submission failed: Unspecified error",
        ),
        ("", "Slurm's command ended with code 1 and no words."),
    ],
)
def test_slurms_own_sentence_comes_back(broker, command, said, sentence):
    command("sbatch", f'#!/bin/bash\necho "{said}" >&2\nexit 1')
    assert broker.answer(SUBMIT) == Refusal(kind="slurm", sentence=f"Slurm refused the session: {sentence}")


def test_a_refused_session_leaves_no_secrets(broker, command, home):
    command("sbatch", "#!/bin/bash\nexit 1")
    broker.answer(SUBMIT)
    assert not list(home.rglob("environment.json"))


@pytest.mark.parametrize("printed", ["", "Submitted batch job", "-1", "٣"])
def test_what_is_no_job_number_is_no_success_and_no_failure(broker, command, printed):
    command("sbatch", f"#!/bin/bash\necho '{printed}'")
    assert broker.answer(SUBMIT).kind == "busy"
    assert broker.sessions.ledger.find("ab12").state == "intended"


def test_a_federations_answer_has_the_number_first(broker, command):
    command("sbatch", "#!/bin/bash\necho '12;davide'")
    assert broker.answer(SUBMIT) == Answer(value="12")


def test_a_full_home_is_told_as_such(broker, home):
    home.joinpath(".local").write_text("a file where the folder should be")
    refusal = broker.answer(SUBMIT)
    assert "Your home folder could not be used" in refusal.sentence


def test_an_sbatch_that_hangs_is_killed(broker, command, monkeypatch):
    command("sbatch", "#!/bin/bash\nsleep 60 & wait")
    monkeypatch.setattr(owner, "_ORDER_SECONDS", 0.5)
    assert broker.answer(SUBMIT).kind == "busy"


def test_what_a_lost_reply_started_is_found_by_its_mark(broker, command, home):
    command("sbatch", SBATCH + "kill -9 $$")
    assert broker.answer(SUBMIT).kind == "busy"
    command("sbatch", '#!/bin/bash\ntouch "$HOME/second-job"; echo 4712')
    assert broker.answer(SUBMIT) == Answer(value="4711")
    assert not (home / "second-job").exists()


def test_a_session_is_cancelled_by_its_own_job_number_and_its_secrets_go(broker, command, home):
    broker.answer(SUBMIT)
    broker.tickets._clock = lambda: 1e12  # ending works without a ticket
    assert broker.answer(Cancel(user="student01", session_key="ab12")) == Answer(value="asked")
    assert (home / "scancel-got").read_text().split() == ["--", "4711"]
    assert not (home / ".local/share/davide-hub/ab12/environment.json").exists()
    command("squeue", SQUEUE % "CANCELLED")
    assert broker.answer(Cancel(user="student01", session_key="ab12")) == Answer(value="gone")


def test_a_job_that_ended_meanwhile_counts_as_cancelled(broker, command):
    broker.answer(SUBMIT)
    command("scancel", "#!/bin/bash\necho 'scancel: error: Invalid job id specified' >&2; exit 1")
    assert broker.answer(Cancel(user="student01", session_key="ab12")).ok


def test_a_silent_slurm_is_told_and_the_session_is_cancelled_later(broker, command, home):
    broker.answer(SUBMIT)
    command("squeue", "#!/bin/bash\necho 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1")
    refusal = broker.answer(Cancel(user="student01", session_key="ab12"))
    assert (refusal.kind, refusal.sentence) == ("busy", sessions._SILENT)
    assert not (home / ".local/share/davide-hub/ab12/environment.json").exists(), "no secrets, whatever Slurm does"


@pytest.mark.parametrize(
    "request_",
    [
        Cancel(user="student02", session_key="ab12"),
        Log(user="student02", session_key="ab12"),
        Look(user="student02", session_key="ab12"),
        Recall(user="student02", session_key="ab12"),
        Claim(user="student02", session_key="ab12", job="4711"),
        SUBMIT.model_copy(update={"user": "student02"}),
    ],
)
def test_nobody_reaches_a_session_that_is_not_theirs(broker, request_):
    broker.answer(SUBMIT)
    assert broker.answer(request_).kind == "unknown_session"


def test_the_owner_is_told_what_slurm_says_of_the_session(broker):
    broker.answer(SUBMIT)
    told = json.loads(broker.answer(Look(user="student01", session_key="ab12")).value)
    assert (told["number"], told["state"], told["node"], told["uid"]) == ("4711", "RUNNING", "gpu01", os.getuid())


def test_a_job_that_left_the_queue_is_looked_up_in_accounting(broker, command):
    broker.answer(SUBMIT)
    command("squeue", "#!/bin/bash\necho 'JOBID|STATE|EXEC_HOST|REASON|UID|SUBMIT_TIME|COMMENT'")
    command("sacct", "#!/bin/bash\necho 'JobIDRaw|State|NodeList|UID'; echo \"4711|TIMEOUT|gpu01|$(id -u)\"")
    told = json.loads(broker.answer(Look(user="student01", session_key="ab12")).value)
    assert (told["number"], told["state"]) == ("4711", "TIMEOUT")


def test_what_a_session_was_started_with_is_read_as_the_user(broker, home):
    broker.answer(SUBMIT)
    (home / ".local/share/davide-hub/ab12/listening.json").write_text('{"port": 40123}')
    told = json.loads(broker.answer(Recall(user="student01", session_key="ab12")).value)
    assert told == {"token": "top-secret", "profile": "one-gpu", "port": 40123}


def test_a_link_in_the_place_of_the_secrets_is_not_followed(broker, home):
    broker.answer(SUBMIT)
    secrets = home / ".local/share/davide-hub/ab12/environment.json"
    secrets.rename(home / "elsewhere.json")
    secrets.symlink_to(home / "elsewhere.json")
    assert broker.answer(Recall(user="student01", session_key="ab12")).kind == "busy"


def test_secrets_are_gone_only_where_their_folder_can_be_seen(broker, home):
    broker.answer(SUBMIT)
    recall = Recall(user="student01", session_key="ab12")
    mounted = home.rename(home.with_name("elsewhere"))
    assert broker.answer(recall).kind == "busy"
    home.mkdir()
    assert broker.answer(recall).kind == "busy", "the bare mount point of a home that is not mounted"
    home.rmdir()
    mounted.rename(home)
    assert broker.answer(recall).ok
    (home / ".local/share/davide-hub/ab12/environment.json").unlink()
    assert broker.answer(recall).kind == "gone"


def test_a_home_that_hangs_refuses_nothing_for_good(broker, monkeypatch):
    broker.answer(SUBMIT)
    monkeypatch.setattr(owner, "_HOME_SECONDS", 0)
    assert broker.answer(Recall(user="student01", session_key="ab12")).kind == "busy"


def test_the_end_of_a_log_is_read_as_the_user(broker, home):
    broker.answer(SUBMIT)
    (home / ".local/share/davide-hub/ab12/session.log").write_text("x" * 9000 + "\nthe last line\n")
    log = broker.answer(Log(user="student01", session_key="ab12")).value
    assert log.endswith("the last line\n")
    assert len(log) == 4096


def test_a_session_without_a_log_has_an_empty_one(broker):
    broker.answer(SUBMIT)
    assert broker.answer(Log(user="student01", session_key="ab12")) == Answer(value="")


def test_a_changed_site_yml_counts_at_once(broker, tmp_path):
    broker.site_file.path = tmp_path / "site.yml"
    text = SITE.read_text()
    broker.site_file.path.write_text(text)
    assert broker.answer(SUBMIT.model_copy(update={"profile": "tiny"})).kind == "unknown_profile"
    broker.site_file.path.write_text(text.replace(": one-gpu", ": tiny"))
    assert broker.answer(SUBMIT.model_copy(update={"profile": "tiny"})).ok


# -- what is chosen, and when it would start

WISHES = {"profile": "one-gpu", "gpus": 2, "hours": 3, "account": "other26", "qos": "high", "reservation": "dl"}


def test_what_was_chosen_is_in_the_script(broker, home):
    assert broker.answer(SUBMIT.model_copy(update=WISHES)).ok
    lines = set((home / "sbatch-got").read_text().splitlines())
    assert {
        "#SBATCH --account=other26",
        "#SBATCH --qos=high",
        "#SBATCH --reservation=dl",
        "#SBATCH --gres=gpu:tesla:2",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH --mem=12G",
        "#SBATCH --time=3:00:00",
    } < lines


@pytest.mark.parametrize("change", [{"gpus": 5}, {"gpus": 0}, {"hours": 9}, {"profile": "no-gpu", "gpus": 1}])
def test_what_the_profile_does_not_have_is_refused_here_too(broker, home, change):
    refusal = broker.answer(SUBMIT.model_copy(update=change))
    assert refusal.kind == "bad_choice"
    assert "this profile has" in refusal.sentence
    assert not (home / "sbatch-got").exists()


def test_what_a_course_has_locked_is_locked_here_too(broker, home, tmp_path):
    broker.site_file.path = tmp_path / "site.yml"
    locked = "    profile: one-gpu\n    locked: [profile, account]\n"
    broker.site_file.path.write_text(SITE.read_text().replace("    profile: one-gpu\n", locked))
    for change in ({"profile": "no-gpu"}, {"account": "other26"}):
        assert "The course sets" in broker.answer(SUBMIT.model_copy(update=change)).sentence
    assert not (home / "sbatch-got").exists()
    assert broker.answer(SUBMIT).ok


TEST_ONLY = """if [ "$1" = --test-only ]; then
  printf '%s\\n' "$@" > "$HOME/test-only"; cat >> "$HOME/test-only"
  echo "sbatch: Job 8 to start at 2026-03-02T14:00:30 using 4 processors on nodes gpu01 in partition dvd_usr_prod" >&2
  exit 0
fi
exit 1
"""


def test_an_estimate_is_the_fixed_command_with_the_same_script_and_submits_nothing(broker, command, home):
    command("sbatch", "#!/bin/bash\n" + TEST_ONLY)
    told = broker.answer(Estimate(user="student01", **WISHES))
    assert json.loads(told.value) == {"start": time.mktime((2026, 3, 2, 14, 0, 30, 0, 0, -1))}
    argv, _, script = (home / "test-only").read_text().partition("#!/bin/bash")
    assert argv.split() == ["--test-only", "--propagate=NONE"]
    assert "#SBATCH --gres=gpu:tesla:2" in script
    assert json.loads(broker.answer(Sessions()).value)["sessions"] == []
    assert not (home / ".local").exists(), "an estimate leaves something in the home"


def test_what_would_never_start_is_refused_in_slurms_words(broker, command):
    command(
        "sbatch", "#!/bin/bash\necho 'allocation failure: Requested node configuration is not available' >&2; exit 1"
    )
    refusal = broker.answer(Estimate(user="student01", **WISHES))
    assert (refusal.kind, refusal.sentence) == (
        "slurm",
        "allocation failure: Requested node configuration is not available",
    )


def test_an_estimate_of_a_silent_slurm_is_none(broker, command):
    command("sbatch", "#!/bin/bash\necho 'sbatch: error: Unable to contact slurm controller' >&2; exit 1")
    assert broker.answer(Estimate(user="student01", **WISHES)).kind == "busy"


def test_an_estimate_is_for_who_is_logged_in_and_within_bounds(broker, command, home):
    command("sbatch", "#!/bin/bash\n" + TEST_ONLY)
    assert broker.answer(Estimate(user="student01", profile="one-gpu", hours=99)).kind == "bad_choice"
    broker.tickets.drop("student01")
    assert broker.answer(Estimate(user="student01", profile="one-gpu")).kind == "no_ticket"
    assert not (home / "test-only").exists()


# -- passwords


def login(broker: Verbs) -> Answer | Refusal:
    return broker.answer(Login(user="student01", password=SecretStr("correct horse")))


@pytest.fixture
def pam(monkeypatch):
    """Let PAM answer with a number of our choice (0 is success), and note what it was asked."""
    asked = []

    def answer(errno: int, account: int = 0):
        def authenticate(user, password, **options):
            asked.append((user, password, options))
            if errno:
                raise pamela.PAMError(errno=errno)

        def check_account(user, service):
            if account:
                raise pamela.PAMError(errno=account)

        monkeypatch.setattr(pamela, "authenticate", authenticate)
        monkeypatch.setattr(pamela, "check_account", check_account)
        return asked

    return answer


def test_the_right_password_gives_a_ticket(broker, pam):
    asked = pam(0)
    broker.tickets._clock = lambda: 2e12
    assert broker.answer(Ticket(user="student01")) == Answer(value="no")
    assert login(broker) == Answer(value="student01")
    assert broker.answer(Ticket(user="student01")) == Answer(value="yes")
    assert asked == [("student01", "correct horse", {"service": "davide-hub", "resetcred": 0, "check": False})]


def test_a_silent_directory_throws_nobody_out(broker, monkeypatch):
    def silent(_name):
        raise WrongPassword

    monkeypatch.setattr(verbs, "find_account", silent)
    assert broker.answer(Ticket(user="student01")) == Answer(value="yes")
    assert broker.answer(Ticket(user="student09")) == Answer(value="no")


@pytest.mark.parametrize(
    ("errno", "kind", "words"),
    [
        (7, "wrong_password", "Wrong user name or password"),
        (10, "wrong_password", "Wrong user name or password"),
        (13, "not_allowed", "has expired"),
        (12, "not_allowed", "must be changed"),
        (9, "failed", "administrators"),
    ],
)
def test_pam_says_no(broker, pam, errno, kind, words):
    pam(errno)
    broker.tickets._clock = lambda: 2e12
    refusal = login(broker)
    assert refusal.kind == kind
    assert words in refusal.sentence
    assert broker.answer(Ticket(user="student01")) == Answer(value="no")


@pytest.mark.parametrize(
    ("errno", "closed", "words"),
    [
        (13, "", "has expired"),
        (7, "expired", "has expired"),
        (7, "locked", "is locked"),
        (7, "", "may not be used here"),
    ],
)
def test_a_right_password_of_an_account_that_is_closed_is_told_so(broker, pam, monkeypatch, errno, closed, words):
    pam(0, account=errno)
    monkeypatch.setattr(accounts.directory, "closed", lambda _name: closed)
    refusal = login(broker)
    assert refusal.kind == "not_allowed"
    assert words in refusal.sentence


def test_only_members_of_the_sites_group_get_a_ticket(broker, pam, monkeypatch):
    pam(0)
    monkeypatch.setattr(verbs, "check_membership", accounts.check_membership)
    monkeypatch.setattr(directory, "gid_of_group", lambda _name: 424242)
    monkeypatch.setattr(directory, "_services", lambda *_: [])
    monkeypatch.setattr(os, "getgrouplist", lambda _n, gid: [gid])
    refusal = login(broker)
    assert refusal.kind == "not_allowed"
    assert "not in the group davide" in refusal.sentence


@pytest.mark.parametrize("silent", ["group", "memberships"])
def test_a_directory_that_does_not_tell_who_is_a_member_is_asked_again(broker, pam, monkeypatch, silent):
    pam(0)
    for module in (verbs, sessions):
        monkeypatch.setattr(module, "check_membership", accounts.check_membership)
    if silent == "memberships":
        monkeypatch.setattr(directory, "gid_of_group", lambda _name: 424242)
    else:
        monkeypatch.setattr(directory, "_ask", lambda *_: None)
    monkeypatch.setattr(directory, "_services", lambda *_: ["made_up"])
    monkeypatch.setattr(directory, "_status", lambda *_: -1)
    monkeypatch.setattr(os, "getgrouplist", lambda _n, gid: [gid])
    broker.tickets.give("student01", os.getuid())
    for refusal in (login(broker), broker.answer(SUBMIT)):
        assert refusal.kind == "busy"  # the hub tries a Start again
        assert "directory of accounts does not answer" in refusal.sentence
    # Whose first group it is, needs no answer.
    monkeypatch.setattr(directory, "gid_of_group", lambda _name: os.getgid())
    assert isinstance(login(broker), Answer)


def test_a_group_that_is_nowhere_is_for_the_administrators(broker, pam, monkeypatch):
    pam(0)
    monkeypatch.setattr(verbs, "check_membership", accounts.check_membership)
    monkeypatch.setattr(directory, "gid_of_group", lambda _name: None)
    refusal = login(broker)
    assert refusal.kind == "failed"
    assert "knows no group davide" in refusal.sentence


@pytest.mark.parametrize("name", ["root", "daemon", "nobody", "no-such-user"])
def test_system_accounts_do_not_exist_here(name):
    with pytest.raises(WrongPassword):
        accounts.find_account(name)


def test_an_account_without_a_shell_may_not_log_in(monkeypatch):
    me = Account(getpass.getuser(), os.getuid(), os.getgid(), Path("/"), "/usr/sbin/nologin")
    monkeypatch.setattr(directory, "gid_of_group", lambda _name: os.getgid())
    with pytest.raises(NotAllowed, match="may not log in"):
        accounts.check_membership(me, "davide")


# -- the socket


@pytest.fixture
def listening(broker, tmp_path, monkeypatch):
    """Return a function that lets the broker listen, for callers of some uids."""
    monkeypatch.setattr("davide_hub.broker.client._PAGE_SECONDS", 30)  # what machine the tests run on is not known
    running = []

    def listen(callers: set[int]) -> BrokerClient:
        path = tmp_path / "broker.sock"
        running.append(server.Server(path, broker, callers))
        threading.Thread(target=running[0].serve_forever, kwargs={"poll_interval": 0.05}).start()
        return BrokerClient(path)

    yield listen
    for one in running:
        one.shutdown()
        one.server_close()


def test_hub_and_broker_talk(listening):
    client = listening({os.getuid()})

    async def scenario():
        job = await client.submit("student01", "my one", Wishes("one-gpu"), "ab12", {"JUPYTERHUB_API_TOKEN": "t"})
        open_ = await client.sessions()
        told = await client.look("student01", "ab12")
        kept = await client.recall("student01", "ab12")
        name = await client.claim("student01", "ab12", job)
        gone = await client.cancel("student01", "ab12")
        await client.close("student01", "ab12")
        return job, open_, told["state"], kept["token"], name, gone, await client.sessions()

    job, (hub, entries), state, token, name, gone, after = asyncio.run(scenario())
    assert (job, state, token, name, gone) == ("4711", "RUNNING", "t", "my one", False)
    assert entries == [LedgerEntry("ab12", "student01", "my one", "submitted", "4711")]
    assert after == (hub, [])


def test_only_the_hub_may_ask(listening):
    client = listening({os.getuid() + 1})
    with pytest.raises(BrokerRefused, match="Only the hub"):
        asyncio.run(client.holds_ticket("student01"))


def test_a_name_that_is_none_is_a_wrong_password(listening):
    with pytest.raises(BrokerRefused) as refusal:
        asyncio.run(listening({os.getuid()}).login("../../etc/passwd", "x"))
    assert refusal.value.kind == "wrong_password"


def test_the_journal_tells_who_did_what_and_no_password(listening, pam, caplog):
    pam(7)
    client = listening({os.getuid()})
    caplog.set_level("INFO")
    with pytest.raises(BrokerRefused):
        asyncio.run(client.login("student01", "my secret password"))
    line = json.loads(caplog.messages[-1])
    assert (line["verb"], line["user"], line["refused"]) == ("login", "student01", "wrong_password")
    assert "my secret password" not in caplog.text


def test_a_broker_that_is_not_there_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr("davide_hub.broker.client._CONNECT_SECONDS", 0.3)
    with pytest.raises(BrokerUnreachable, match="Try again in a minute"):
        asyncio.run(BrokerClient(tmp_path / "nothing.sock").holds_ticket("student01"))


def test_garbage_on_the_socket_harms_nobody(listening):
    client = listening({os.getuid()})

    async def scenario():
        for line in (b"\n", b"{}\n", b"\xff" * 200_000 + b"\n"):
            _reader, writer = await asyncio.open_unix_connection(client.socket)
            writer.write(line)
            writer.close()
        return await client.holds_ticket("student01")

    assert asyncio.run(scenario())
