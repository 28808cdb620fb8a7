"""Attacks that use something up: passwords, memory, patience, places, connections. Bounded in count and time."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from faults.waiting import wait_for

from attacks.attack import Attack, Outcome
from attacks.neighbours import hub_port, on_node
from attacks.scene import Scene
from attacks.web import SECONDS, Person, browser

GUESSES, JUDGED = 40, 10
CLASSROOM = 60
CONNECTIONS, FEW = 300, 20


def guessed_passwords(scene: Scene, evil: bool) -> Outcome:
    """Wants to try many passwords of one account (brute force). The twin: a classroom logs in from one address."""
    if evil:
        return _guesses(scene)
    names = sorted(scene.cluster.accounts)
    class_ = [Person(names[n % len(names)], "", scene.cluster.hub_url) for n in range(CLASSROOM)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda one: _try(one, scene.cluster.password(one.name)), class_))
    return Outcome(answers == [302] * CLASSROOM, f"{answers.count(302)} of {CLASSROOM} are in")


def _guesses(scene: Scene) -> Outcome:
    guessed = Person("student08", scene.cluster.password("student08"), scene.cluster.hub_url)
    with ThreadPoolExecutor(GUESSES) as pool:
        answers = list(pool.map(lambda number: _try(guessed, f"guess-{number}"), range(GUESSES)))
    judged, slowed = answers.count(403), answers.count(429)
    # Whoever owns the account gets in again within seconds.
    wait_for(lambda: _try(guessed, guessed.password) == 302, f"{guessed.name} to be let in again", 30, every=1)
    return Outcome(judged > JUDGED, f"{judged} judged, {slowed} answered 429")


def _try(person: Person, password: str) -> int:
    web = browser()
    web.get(f"{person.url}/hub/login", timeout=SECONDS)
    return person.fill_in(web, person.name, password).status_code


def _activity(scene: Scene, **how: float) -> Outcome:
    """Send a session's sign of activity from its node, past the proxy."""
    own = scene.session(scene.mallory)
    plain: dict[str, float] = {"header": 0, "pieces": 1, "pause": 0}
    path = f"/hub/api/users/{scene.mallory.name}/activity"
    order = hub_port(scene) | {"path": path} | plain | how
    answer = on_node(scene, scene.mallory, own.node, "post", environment=own.secrets, **order)
    return Outcome(answer.startswith("HTTP/1.1 200"), answer)


def long_header(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub to keep headers of any length in its memory."""
    return _activity(scene, header=200 * 1024 if evil else 1024)


def slow_body(scene: Scene, evil: bool) -> Outcome:
    """Wants a connection kept waiting by a body that comes in drops (slow post)."""
    return _activity(scene, pieces=1000, pause=0.35 if evil else 0.01)


def many_connections(scene: Scene, evil: bool) -> Outcome:
    """Wants all the hub's connections for one session, so that nobody else's calls home (connection flood)."""
    own = scene.session(scene.mallory)
    number = CONNECTIONS if evil else FEW
    answer = on_node(scene, scene.mallory, own.node, "hold", environment=own.secrets, number=number, **hub_port(scene))
    return Outcome(answer == f"held {number} of {number}", answer)


def _bounded(name: str, attempt: Callable[[Scene, bool], Outcome], refused: str, logged: str) -> Attack:
    return Attack(name, "exhaustion", attempt, refused, logged, weakness="hub/sets-no-bounds")


ROWS = (
    Attack(
        name="many-passwords-of-one-account",
        area="exhaustion",
        attempt=guessed_passwords,
        refused=r"^[0-9] judged, 3[0-9] answered 429",
        logged=r'"user": "student08".*"refused": "too_many"',
        unit="davide-broker",
        weakness="broker/counts-no-wrong-passwords",
    ),
    _bounded("a-header-of-200-kilobytes", long_header, r"refused: ", r"Unsatisfiable read, closing connection"),
    _bounded("a-body-that-comes-in-drops", slow_body, r"refused: ", r"Timeout reading body from"),
    _bounded("hundreds-of-connections-of-one-session", many_connections, r"held 2\d\d of 300", r"closing a connection"),
)
