"""Attacks through the victim's browser: other pages that send requests, links that start or lead somewhere, cookies."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote, urlsplit

import requests
from faults.hosts import HUB
from support.web import browser, cookies_for, crumb_at

from attacks.attack import Attack, Outcome
from attacks.neighbours import DAVIDE_HUB, SessionLog, close_terminal, last_answer, new_terminal, third, type_into
from attacks.scene import Scene
from attacks.web import SECONDS, Person, copy_of, heard

FOREIGN = "https://evil.example"
# What a browser says of a request: of a page elsewhere, and of one of the same address.
CROSS_SITE = {"Origin": FOREIGN, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
LOGIN_COOKIE = "jupyterhub-hub-login"


def _of_a_neighbour(scene: Scene) -> dict[str, str]:
    """Return what a browser says of a request of a page in mallory's session: the site is one, and cookies go along."""
    return {"Origin": scene.mallory.origin, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}


# -- cookies and origins


def socket_of_a_neighbours_page(scene: Scene, evil: bool) -> Outcome:
    """Wants a notebook of the own, shown to the victim, to type into the victim's terminal (websocket hijacking)."""
    log = SessionLog(scene, scene.session(scene.victim))
    address = new_terminal(scene.victim)
    headers = {
        "Cookie": cookies_for(scene.victim.visit(), address),
        "Origin": (scene.mallory if evil else scene.victim).origin,
        "Sec-Fetch-Mode": "websocket",
    }
    try:
        shown = type_into(address, "echo by-$(id --user --name)", f"by-{scene.victim.name}", headers)
        said = f"; its log: {log.line('Blocking Cross Origin WebSocket')}" if shown == "403" else ""
        return Outcome(f"by-{scene.victim.name}" in shown, f"{shown}{said}")
    finally:
        close_terminal(scene.victim, address)


def post_of_a_neighbours_page(scene: Scene, evil: bool) -> Outcome:
    """Wants a notebook of the own, shown to the victim, to open a terminal in the victim's session (forged request)."""
    log = SessionLog(scene, scene.session(scene.victim))
    address, web = scene.victim.at("/api/terminals"), scene.victim.visit()
    # The only types that a page may send anywhere without asking first.
    headers = _of_a_neighbour(scene) | {"Sec-Fetch-Mode": "no-cors", "Content-Type": "text/plain"}
    if not evil:
        headers = SAME_ORIGIN | {"Content-Type": "application/json", "X-XSRFToken": crumb_at(web, address)}
    reply = web.post(address, data="{}", headers=headers, timeout=SECONDS)
    if reply.status_code == 200:
        scene.victim.ask("DELETE", f"{address}/{reply.json()['name']}")
    said = f"; its log: {log.line('40[0-9] POST .*/api/terminals')}" if reply.status_code >= 400 else ""
    return Outcome(reply.status_code == 200, f"{reply.status_code}{said}")


def _read(scene: Scene, web: requests.Session, address: str, evil: bool) -> tuple[bool, requests.Response]:
    """Say whether a script reads an address with the victim's cookies: mallory's, or one of the address itself."""
    headers = _of_a_neighbour(scene) if evil else SAME_ORIGIN | {"X-XSRFToken": crumb_at(web, address)}
    reply = web.get(address, headers=headers, allow_redirects=False, timeout=SECONDS)
    shown = not evil or reply.headers.get("Access-Control-Allow-Origin") == scene.mallory.origin
    return reply.status_code == 200 and shown, reply


def neighbours_script_reads_a_session(scene: Scene, evil: bool) -> Outcome:
    """Wants a script of the own session to read the victim's files as the victim (cross-origin reading)."""
    log = SessionLog(scene, scene.session(scene.victim))
    reached, reply = _read(scene, scene.victim.visit(), scene.victim.at("/api/contents"), evil)
    said = f"; its log: {log.line('40[34] GET .*/api/contents')}" if reply.status_code >= 400 else ""
    return Outcome(reached, f"{reply.status_code}{said}")


def neighbours_script_reads_the_hub(scene: Scene, evil: bool) -> Outcome:
    """Wants a script of the own session to read what the hub tells the victim alone (cross-origin reading)."""
    reached, reply = _read(scene, scene.victim.web, f"{scene.victim.url}/hub/api/user", evil)
    return Outcome(reached and scene.victim.name in reply.text, heard(reply))


def hub_at_a_users_name(scene: Scene, evil: bool) -> Outcome:
    """Wants the hub's pages at the name of the own session, where a script of its reads them as the victim."""
    scene.session(scene.mallory)
    place = scene.mallory.origin if evil else scene.victim.url
    headers = SAME_ORIGIN | {"X-XSRFToken": crumb_at(scene.victim.web, f"{place}/hub/api/user")}
    reply = scene.victim.web.get(f"{place}/hub/api/user", headers=headers, allow_redirects=False, timeout=SECONDS)
    reached = reply.status_code == 200 and reply.json()["name"] == scene.victim.name
    return Outcome(reached, f"{heard(reply)} {reply.headers.get('Location', '')}")


def tossed_login(scene: Scene, evil: bool) -> Outcome:
    """Wants the victim's browser logged in as the attacker, by a cookie that a script of the own session sets.

    Cookie tossing, session fixation: a page at a user's name may set cookies for the hub's name, too, but none whose
    name begins with `__Host-`.
    """
    name, value = next((one.name, one.value) for one in scene.mallory.web.cookies if one.name.endswith(LOGIN_COOKIE))
    cookie = f"{LOGIN_COOKIE if evil else name}={value}"
    page = browser().get(
        f"{scene.mallory.url}/hub/home", headers={"Cookie": cookie}, allow_redirects=False, timeout=SECONDS
    )
    return Outcome(page.status_code == 200, f"{page.status_code} {page.headers.get('Location', '')}")


def post_to_the_hub(scene: Scene, evil: bool) -> Outcome:
    """Wants a page that the victim looks at to start a session by the hub's API (cross-site request forgery)."""
    headers = CROSS_SITE | {"Content-Type": "text/plain"}
    if not evil:
        headers = SAME_ORIGIN | {"Content-Type": "application/json", "X-XSRFToken": scene.victim.crumb()}
    path = f"/hub/api/users/{scene.victim.name}/servers/attack"

    def send() -> requests.Response:
        url = scene.victim.url + path
        return scene.victim.web.post(url, data='{"profile": "no-gpu"}', headers=headers, timeout=60)

    return _started(scene, send)


def cookie_at_anothers_path(scene: Scene, evil: bool) -> Outcome:
    """Wants into another's session with the cookies that the own session gave (cookie confusion)."""
    scene.session(scene.mallory)
    log = SessionLog(scene, scene.session(scene.victim))
    owner = scene.victim if evil else scene.mallory
    kept = cookies_for(scene.mallory.visit(), scene.mallory.at("/api/contents"))
    # Under the name that the other session looks for, too.
    cookies = f"{kept}; {kept.replace(scene.mallory.name, owner.name)}" if evil else kept
    reply = browser().get(owner.at("/api/contents"), headers={"Cookie": cookies}, timeout=SECONDS)
    said = f"; its log: {log.line('403 GET .*/api/contents')}" if reply.status_code == 403 else ""
    return Outcome(reply.status_code == 200 and "content" in reply.json(), f"{reply.status_code}{said}")


def _home(web: requests.Session, person: Person) -> Outcome:
    page = web.get(f"{person.url}/hub/home", allow_redirects=False, timeout=SECONDS)
    return Outcome(page.status_code == 200, f"{page.status_code} {page.headers.get('Location', '')}")


def after_log_out(scene: Scene, evil: bool) -> Outcome:
    """Wants to go on with a copy of a cookie when its owner has logged out (insufficient session expiration)."""
    person = third(scene)
    copied = copy_of(person.web)
    if evil:
        person.web.get(f"{person.url}/hub/logout", timeout=SECONDS).raise_for_status()
    return _home(copied, person)


def after_a_ban(scene: Scene, evil: bool) -> Outcome:
    """Wants to go on with a cookie after the administrators have banned its owner."""
    person = third(scene)
    if evil:
        scene.output(HUB, f"{DAVIDE_HUB} ban {person.name} --reason attack")
    try:
        return last_answer(lambda: _home(person.web, person), evil)
    finally:
        scene.run(HUB, f"{DAVIDE_HUB} unban {person.name}")


# -- cross-site request forgery


def _started(scene: Scene, send: Callable[[], requests.Response]) -> Outcome:
    """Say whether a request started the victim's session `attack`; end it."""
    try:
        reply = send()
        return Outcome(bool(scene.victim.server("attack")), heard(reply))
    finally:
        if scene.victim.server("attack"):
            scene.end(scene.victim, "attack")


def _form(scene: Scene, crumb: str, headers: dict[str, str]) -> Outcome:
    url = f"{scene.victim.url}/hub/spawn/{scene.victim.name}/attack"
    form = {"profile": "no-gpu", **({"_xsrf": crumb} if crumb else {})}
    headers = {"Sec-Fetch-Mode": "navigate", **headers}
    return _started(scene, lambda: scene.victim.web.post(url, data=form, headers=headers, timeout=60))


def form_without_crumb(scene: Scene, evil: bool) -> Outcome:
    """Wants the victim to send a form that starts a session, from another page (cross-site request forgery)."""
    return _form(scene, "" if evil else scene.victim.crumb(), {})


def form_with_anothers_crumb(scene: Scene, evil: bool) -> Outcome:
    """Wants the same with an _xsrf that is valid for the attacker (cross-site request forgery)."""
    return _form(scene, (scene.mallory if evil else scene.victim).crumb(), {})


def tossed_crumb(scene: Scene, evil: bool) -> Outcome:
    """Wants the same when the attacker's _xsrf stands in the victim's browser too (cookie tossing, double submit)."""
    if not evil:
        return form_without_crumb(scene, False)
    address, crumb = f"{scene.victim.url}/hub/spawn/{scene.victim.name}/attack", scene.mallory.crumb()
    kept = re.sub(r"_xsrf=[^;]*", f"_xsrf={crumb}", cookies_for(scene.victim.web, address))
    form, headers = {"profile": "no-gpu", "_xsrf": crumb}, {"Cookie": kept, "Sec-Fetch-Mode": "navigate"}
    return _started(scene, lambda: browser().post(address, data=form, headers=headers, timeout=60))


def start_by_a_link(scene: Scene, evil: bool) -> Outcome:
    """Wants a link in a mail to start a session of whoever follows it (request forgery by GET)."""
    if not evil:
        return form_without_crumb(scene, False)
    url = f"{scene.victim.url}/hub/spawn/{scene.victim.name}/attack?profile=no-gpu"
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
    return _started(scene, lambda: scene.victim.web.get(url, headers=headers, timeout=60))


def log_in_as_the_attacker(scene: Scene, evil: bool) -> Outcome:
    """Wants the victim's browser logged in as the attacker, who reads later what is done there (log-in forgery)."""
    web = browser()
    login = f"{scene.mallory.url}/hub/login"
    if not evil:
        web.get(login, timeout=SECONDS)
    form = {"username": scene.mallory.name, "password": scene.mallory.password, "_xsrf": scene.mallory.crumb(web)}
    reply = web.post(login, data=form, headers={"Sec-Fetch-Mode": "navigate"}, timeout=40, allow_redirects=False)
    return Outcome(reply.status_code == 302 and _home(web, scene.mallory).reached, heard(reply))


# -- redirects


def _host_of(base: str, location: str) -> str:
    """Return the host to which a browser goes from `base`: it takes a backslash for a slash, and passes over tabs."""
    seen = re.sub(r"[\t\r\n]", "", location).replace("\\", "/")
    scheme = urlsplit(base).scheme
    if (found := re.match(r"(https?):(/*)", seen)) and (found[1] != scheme or found[2]):
        return str(urlsplit(f"{found[1]}://{seen[found.end() :]}").netloc.rpartition("@")[2])
    if seen.startswith("//"):
        return str(urlsplit("//" + seen.lstrip("/")).netloc.rpartition("@")[2])
    return str(urlsplit(base).netloc)


def _lead_to(wanted: Callable[[str], str]) -> Callable[[Scene, bool], Outcome]:
    def attempt(scene: Scene, evil: bool) -> Outcome:
        """Wants people sent to another site after the log-in, by a link to ours (open redirect)."""
        base = scene.mallory.url
        address = wanted(base) if evil else "/hub/token"
        page = scene.web(scene.mallory, "GET", f"/hub/login?next={quote(address, safe='')}", by="cookies")
        location = page.headers.get("Location", "")
        reached = _host_of(base, location) == "evil.example" if evil else location == address
        return Outcome(page.status_code == 302 and reached, f"{page.status_code} {location}")

    return attempt


def _other_scheme(base: str) -> str:
    # Where page and address have one scheme, browsers take what follows for a path.
    return f"{'http' if base.startswith('https') else 'https'}:evil.example/x"


def _csrf(name: str, attempt: Callable[[Scene, bool], Outcome], words: str) -> Attack:
    return Attack(
        name,
        "csrf",
        attempt,
        refused=rf"403 .*{words}",
        logged=r"403 POST /hub/spawn/student04/attack",
        weakness="hub/asks-for-no-crumb",
    )


def _redirect(name: str, wanted: Callable[[str], str]) -> Attack:
    return Attack(
        name,
        "redirect",
        _lead_to(wanted),
        refused=r"302 (/hub/|https://student03\.)",
        logged=r"Disallowing redirect outside JupyterHub",
        weakness="hub/redirects-anywhere",
    )


ROWS = (
    Attack(  # The session refuses, in its own log.
        name="a-websocket-of-a-neighbours-page",
        area="cookies-and-origins",
        attempt=socket_of_a_neighbours_page,
        refused=r"403; its log: .*Blocking Cross Origin WebSocket Attempt.*//student03\.",
        weakness="session/takes-orders-of-any-page",
    ),
    Attack(  # As above.
        name="a-post-of-a-neighbours-page-to-a-session",
        area="cookies-and-origins",
        attempt=post_of_a_neighbours_page,
        refused=r"40[34]; its log: .*40[34] POST",
        weakness="session/takes-orders-of-any-page",
    ),
    Attack(  # As above.
        name="a-neighbours-script-reads-a-session",
        area="cookies-and-origins",
        attempt=neighbours_script_reads_a_session,
        refused=r"40[34]; its log: .*40[34] GET",
        weakness="session/takes-orders-of-any-page",
    ),
    Attack(
        name="a-neighbours-script-reads-the-hub",
        area="cookies-and-origins",
        attempt=neighbours_script_reads_the_hub,
        refused=r"403 ",
        logged=r"403 GET /hub/api/user ",
        weakness="hub/lets-every-page-read",
    ),
    Attack(  # The front answers, and keeps no log of requests: the hub hears nothing of it.
        name="the-hub-at-a-users-name",
        area="cookies-and-origins",
        attempt=hub_at_a_users_name,
        refused=r"302 .*https://davide\.localhost:\d+/hub/api/user",
        weakness="host/the-front-serves-the-hub-everywhere",
    ),
    Attack(
        name="a-log-in-cookie-that-a-users-page-sets",
        area="cookies-and-origins",
        attempt=tossed_login,
        refused=r"302 .*/hub/login",
        logged=r"302 GET /hub/home -> /hub/login",
        weakness="hub/cookies-for-all-names",
    ),
    Attack(
        name="a-post-of-a-foreign-page-to-the-hub",
        area="cookies-and-origins",
        attempt=post_to_the_hub,
        refused=r"403 ",
        logged=r"403 POST /hub/api/users/student04/servers/attack",
        weakness="hub/asks-for-no-crumb",
    ),
    Attack(  # The session refuses, in its own log.
        name="cookies-of-ones-own-session-at-anothers",
        area="cookies-and-origins",
        attempt=cookie_at_anothers_path,
        refused=r"403; its log: .*403 GET",
        weakness="session/any-users-cookie-counts",
    ),
    Attack(
        name="a-copied-cookie-after-the-log-out",
        area="cookies-and-origins",
        attempt=after_log_out,
        refused=r"302 .*/hub/login",
        logged=r"Invalid cookie token",
        weakness="hub/a-copied-cookie-survives-a-log-out",
    ),
    Attack(
        name="a-cookie-after-a-ban",
        area="cookies-and-origins",
        attempt=after_a_ban,
        refused=r"302 .*/hub/login",
        logged=r"Invalid cookie token|student05 has stale auth info",
        weakness="hub/turns-nobody-out",
    ),
    _csrf("a-form-without-xsrf", form_without_crumb, "argument missing"),
    _csrf("a-form-with-anothers-xsrf", form_with_anothers_crumb, "does not match"),
    _csrf("a-form-with-a-tossed-xsrf-cookie", tossed_crumb, "does not match"),
    Attack(
        name="a-start-by-a-link",
        area="csrf",
        attempt=start_by_a_link,
        # The link fills in the form. It starts nothing.
        refused=r"200 .*nothing has started. Look it over and press Start",
        logged=r"200 GET /hub/spawn/student04/attack\?profile=no-gpu",
        weakness="hub/starts-from-a-link",
    ),
    Attack(
        name="a-log-in-as-somebody-else-from-a-foreign-page",
        area="csrf",
        attempt=log_in_as_the_attacker,
        refused=r"403 ",
        logged=r"XSRF error on login form",
        weakness="hub/asks-for-no-crumb",
    ),
    _redirect("to-another-host-by-two-slashes", lambda _: "//evil.example/x"),
    _redirect("to-another-host-by-backslashes", lambda _: "\\\\evil.example/x"),
    _redirect("to-another-host-by-a-bare-scheme", _other_scheme),
    _redirect("to-another-host-behind-our-name", lambda base: f"{base}@evil.example/x"),
)
