"""Attacks by what is typed or sent as a name: of a profile, an option, a server, a user; and by sizes."""

from __future__ import annotations

from faults.hosts import CONTROLLER, HUB
from support.web import browser

from attacks.attack import Attack, Outcome
from attacks.calls import call
from attacks.rows_rest import GOOD, NAME
from attacks.scene import Scene
from attacks.web import heard

# Written by a shell of root's, if there is one.
WITNESS = "/run/davide-broker/attack-was-here"
NO_PROFILE = r"400 .*no profile 'no-gpu"
BAD_NAME = r"400 .*Invalid server_name"


def line_for_slurm(scene: Scene, evil: bool) -> Outcome:
    """Wants a whole node for the price of a small session, by a second line in a profile's name (#SBATCH injection)."""
    profile = "no-gpu\n#SBATCH --exclusive\n#" if evil else "no-gpu"
    with scene.closed_queue():
        try:
            path = scene.mallory.server_path(NAME)
            reply = scene.web(scene.mallory, "POST", path, json={"profile": profile})
            jobs = scene.soon(evil, lambda: scene.slurm.jobs_of(scene.mallory.name))
            told = scene.output(CONTROLLER, f"scontrol show job {jobs[-1].number}") if jobs else ""
            return Outcome("OverSubscribe=NO" in told if evil else bool(told), heard(reply))
        finally:
            scene.end(scene.mallory, NAME)


def text_for_a_shell(scene: Scene, evil: bool) -> Outcome:
    """Wants root's shell on the hub's host to read a profile's name (command injection)."""
    profile = f"no-gpu;touch {WITNESS};" if evil else "no-gpu"

    def has_reached() -> bool:
        return scene.run(HUB, f"rm {WITNESS}").returncode == 0 if evil else bool(scene.mallory.server(NAME))

    with scene.closed_queue():
        try:
            path = scene.mallory.server_path(NAME)
            reply = scene.web(scene.mallory, "POST", path, json={"profile": profile})
            return Outcome(scene.soon(evil, has_reached), heard(reply))
        finally:
            scene.end(scene.mallory, NAME)


def _kept(scene: Scene, options: dict[str, str]) -> Outcome:
    try:
        reply = scene.web(scene.mallory, "PUT", scene.mallory.server_path(NAME), json={"user_options": options})
        return Outcome(scene.kept_of(scene.mallory, NAME)[1] == options, heard(reply))
    finally:
        scene.end(scene.mallory, NAME)


def profile_in_other_letters(scene: Scene, evil: bool) -> Outcome:
    """Wants a profile that looks like another one on every page (homoglyphs)."""
    return _kept(scene, {"profile": "n\N{GREEK SMALL LETTER OMICRON}-gpu" if evil else "no-gpu"})


def profile_of_many_letters(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to keep and hand on as much as is sent (missing limit of length)."""
    return _kept(scene, {"profile": "no-gpu" + " " * 50_000 if evil else "no-gpu"})


def option_key_with_a_line(scene: Scene, evil: bool) -> Outcome:
    """Wants a line of the own in log and batch script, by the name of an option (CRLF injection)."""
    return _kept(scene, GOOD | ({"x\n#SBATCH --exclusive\n[I hub] all is well": "yes"} if evil else {}))


def body_of_megabytes(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to hold many megabytes in memory for one request, sent past the front (missing limit of size)."""
    mallory, running = scene.mallory, scene.session(scene.mallory)
    order = {"method": "PUT", "token": mallory.token, "spaces": 8 * 1024 * 1024 if evil else 8}
    try:
        path = mallory.server_path(NAME)
        answer = call(scene, mallory, running.secrets, path, {"user_options": GOOD}, host=running.node, **order)
        return Outcome(NAME in mallory.servers(), answer)
    finally:
        scene.end(scene.mallory, NAME)


def _named(scene: Scene, name: str) -> Outcome:
    try:
        reply = scene.web(scene.mallory, "PUT", scene.mallory.server_path(name), json={"user_options": GOOD})
        return Outcome(name in scene.mallory.servers(), heard(reply))
    finally:
        scene.end(scene.mallory, name)


def server_that_climbs(scene: Scene, evil: bool) -> Outcome:
    """Wants a server whose address is that of another's session (path traversal)."""
    return _named(scene, f"../{scene.victim.name}" if evil else NAME)


def server_with_a_line(scene: Scene, evil: bool) -> Outcome:
    """Wants a server whose name makes a line of its own wherever it is written (CRLF injection)."""
    return _named(scene, f"{NAME}\n#SBATCH --exclusive" if evil else NAME)


def renamed_to_climb(scene: Scene, evil: bool) -> Outcome:
    """Wants a server to get the address of another's session later, when nobody checks (path traversal)."""
    name = f"../{scene.victim.name}/.." if evil else f"{NAME}-renamed"
    path = scene.mallory.server_path(NAME)
    try:
        scene.web(scene.mallory, "PUT", path, json={"user_options": GOOD}).raise_for_status()
        reply = scene.web(scene.mallory, "PATCH", path, json={"name": name})
        return Outcome(name in scene.mallory.servers(), heard(reply))
    finally:
        for one in (NAME, name):
            scene.end(scene.mallory, one)


def user_in_other_letters(scene: Scene, evil: bool) -> Outcome:
    """Wants to be a second person for the hub with one account, by wide letters in the form (Unicode normalization)."""
    typed = scene.mallory.name.replace("s", "\N{FULLWIDTH LATIN SMALL LETTER S}", 1)
    if not evil:
        typed = f"{scene.mallory.name.capitalize()} "
    web = browser()
    web.get(f"{scene.mallory.url}/hub/login", timeout=20).raise_for_status()
    reply = scene.mallory.fill_in(web, typed, scene.mallory.password)
    shown = web.get(f"{scene.mallory.url}/hub/api/user", headers={"X-XSRFToken": scene.mallory.crumb(web)}, timeout=20)
    name = shown.json().get("name", "") if shown.status_code == 200 else ""
    if not evil:
        return Outcome(name == scene.mallory.name, heard(reply))
    if name == typed:
        scene.web(scene.mallory, "DELETE", f"/hub/api/users/{typed}").raise_for_status()
    return Outcome(name == typed, heard(reply))


ROWS = (
    Attack(
        name="a-line-for-slurm-in-a-profile",
        area="injection",
        attempt=line_for_slurm,
        refused=NO_PROFILE,
        logged=r"400 POST .*no profile 'no-gpu\\n#SBATCH",
        weakness="broker/writes-names-as-sent",
    ),
    Attack(
        name="text-for-a-shell-in-a-profile",
        area="injection",
        attempt=text_for_a_shell,
        refused=NO_PROFILE,
        logged=r"400 POST .*no profile 'no-gpu;touch",
        weakness="broker/asks-a-shell",
    ),
    Attack(
        name="a-profile-in-letters-that-look-alike",
        area="injection",
        attempt=profile_in_other_letters,
        refused=r"400 .*no profile 'n\\+u03bf-gpu'",
        logged=r"400 PUT .*no profile 'n\\u03bf-gpu'",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="a-profile-of-fifty-thousand-letters",
        area="injection",
        attempt=profile_of_many_letters,
        refused=NO_PROFILE,
        logged=r"400 PUT .*no profile 'no-gpu",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="the-key-of-an-option-with-a-line-of-its-own",
        area="injection",
        attempt=option_key_with_a_line,
        refused=r"400 .*no option 'x\\+n#SBATCH",
        logged=r"400 PUT .*no option 'x\\n#SBATCH",
        weakness="hub/takes-any-option",
    ),
    Attack(
        name="a-body-of-eight-megabytes",
        area="injection",
        attempt=body_of_megabytes,
        refused=r"400 |hung up",
        logged=r"Malformed HTTP message .*Content-Length too long",
        weakness="hub/reads-bodies-of-any-size",
    ),
    Attack(
        name="a-server-that-climbs-to-another-address",
        area="injection",
        attempt=server_that_climbs,
        refused=BAD_NAME,
        logged=r"Invalid server_name: '\.\./",
        weakness="hub/takes-any-server-name",
    ),
    Attack(
        name="a-server-with-a-line-of-its-own",
        area="injection",
        attempt=server_with_a_line,
        refused=BAD_NAME,
        logged=r"Invalid server_name: 'attack\\n#SBATCH",
        weakness="hub/takes-any-server-name",
    ),
    Attack(
        name="a-server-renamed-to-climb",
        area="injection",
        attempt=renamed_to_climb,
        refused=BAD_NAME,
        logged=r"Invalid server_name: '\.\./",
        weakness="hub/takes-any-server-name",
    ),
    Attack(
        name="a-user-in-letters-that-look-alike",
        area="injection",
        attempt=user_in_other_letters,
        refused=r"403 .*Invalid username or password",
        logged=r"Failed login for",
        weakness="hub/believes-the-typed-name",
    ),
)
