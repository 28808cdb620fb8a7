"""Hub, proxy and sessions show each other who they are: on the real cluster, from both sides."""

import json
import re
import shlex
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
import yaml
from support.person import Person, log_in
from support.proxy import proxy_api
from support.web import request, user_url

FOLDER = ".local/share/davide-hub"
# Run on the node as a user: call an address by a name with what a session was given, and say what came of it.
CALL = """
import json, socket, ssl, sys, tempfile
environment, address, port, name, path = sys.argv[1:]
given = json.load(open(environment))
with tempfile.NamedTemporaryFile("w") as pair, tempfile.NamedTemporaryFile("w") as known:
    pair.write(given["JUPYTERHUB_TLS_KEY"] + given["JUPYTERHUB_TLS_CERTIFICATE"]); pair.flush()
    known.write(given["JUPYTERHUB_TLS_AUTHORITY"]); known.flush()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(pair.name)
    context.load_verify_locations(known.name)
    if name == "-":  # whoever it is
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((address, int(port)), timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=name) as secure:
                secure.sendall(f"GET {path} HTTP/1.0\\r\\n\\r\\n".encode())
                print((secure.recv(100) or b"closed").split(b"\\r\\n")[0].decode())
    except OSError as error:
        print("refused:", error)
"""


# Run on the node as a user: serve one word to the proxy, under the name of the user's own session.
SERVE = """
import http.server, json, ssl, sys, tempfile
given = json.load(open(sys.argv[1]))
class Word(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"mine now")
server = http.server.HTTPServer(("", 0), Word)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
with tempfile.NamedTemporaryFile("w") as pair:
    pair.write(given["JUPYTERHUB_TLS_KEY"] + given["JUPYTERHUB_TLS_CERTIFICATE"]); pair.flush()
    context.load_cert_chain(pair.name)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.timeout = 30
for _ in range(2):
    server.handle_request()
"""


@dataclass(frozen=True)
class Place:
    """Where a session listens, as the proxy has it."""

    node: str
    key: str
    port: str


@pytest.fixture(scope="module")
def people(cluster, wait_for):
    """Yield two students with a session each."""
    found = [log_in(cluster, name) for name in ("student01", "student02")]
    for person in found:
        person.stop(wait_for)
        person.start(wait_for)
    yield found
    for person in found:
        person.stop(wait_for)


def place_of(cluster, person: Person) -> Place:
    """Return where the proxy takes a person."""
    host = urlsplit(user_url(cluster.hub_url, person.name)).hostname
    target = json.loads(proxy_api(cluster, "GET", ""))[f"/{host}/user/{person.name}"]["target"]
    found = re.fullmatch(r"https://(gpu\d+)\.([0-9a-f]{16})\.sessions\.internal:(\d+)", target)
    assert found, target
    return Place(*found.groups())


def secrets_of(person: Person, place: Place) -> str:
    """Return the path of what a session was given."""
    return f"/home/{person.name}/{FOLDER}/{place.key}/environment.json"


def call(cluster, caller: Person, theirs: Place, address: str, port: str, name: str, path: str) -> str:
    """Return what somebody hears who calls from a node, with what the caller's own session was given."""
    words = " ".join((secrets_of(caller, theirs), address, port, name, path))
    done = cluster.as_user(caller.name, f"python3 -I -c {shlex.quote(CALL)} {words}", theirs.node)
    return str(done.stdout + done.stderr).strip()


def hub_of(cluster) -> tuple[str, str]:
    """Return the hub's address and port, as nodes reach it."""
    hub = yaml.safe_load(cluster.output("hub01", "cat /etc/davide-hub/site.yml"))["site"]["hub"]
    return hub["address"], str(hub["api_port"])


def test_people_reach_their_sessions(people):
    for person in people:
        assert "kernels" in person.ask_session("GET", "/api/status").json()


def test_a_neighbour_with_a_valid_certificate_of_his_own_does_not_enter(cluster, people):
    """The twin: with the same certificate he calls the hub, which hears him."""
    victim, neighbour = (place_of(cluster, person) for person in people)
    path = f"/user/{people[0].name}/api"
    heard = call(cluster, people[1], neighbour, victim.node, victim.port, "-", path)
    assert heard.startswith("refused:"), heard
    address, port = hub_of(cluster)
    assert "200 OK" in call(cluster, people[1], neighbour, address, port, address, "/hub/api")


def test_who_takes_over_a_port_receives_nothing_of_another_user(cluster, people, wait_for):
    """A neighbour listens where the victim's route leads. The twin: the same server, under the name it may show."""
    victim, neighbour = (place_of(cluster, person) for person in people)
    log = f"/tmp/test-tls-{neighbour.key}"
    serve = f"nohup timeout 60 python3 -I -c {shlex.quote(SERVE)} {secrets_of(people[1], neighbour)} > {log} 2>&1 &"
    cluster.as_user(people[1].name, serve, neighbour.node)
    port = wait_for(lambda: cluster.output(neighbour.node, f"head -1 {log}"), "the neighbour's server", 20)
    paths = {"/taken": victim.key, "/his-own": neighbour.key}
    host = urlsplit(cluster.hub_url).hostname
    for path, key in paths.items():
        target = {"target": f"https://{neighbour.node}.{key}.sessions.internal:{port}"}
        proxy_api(cluster, "POST", f"/{host}{path}", json.dumps(target))
    try:
        taken = request("GET", f"{cluster.hub_url}/taken/", timeout=60)
        assert taken.status_code == 503
        assert "mine now" not in taken.text
        assert request("GET", f"{cluster.hub_url}/his-own/", timeout=60).text == "mine now"
    finally:
        for path in paths:
            proxy_api(cluster, "DELETE", f"/{host}{path}")
        cluster.run(neighbour.node, f"rm -f {log}")


@pytest.mark.parametrize("whom", ["hub", "session"])
def test_without_tls_nobody_is_heard(cluster, people, whom):
    place = place_of(cluster, people[0])
    address, port = hub_of(cluster) if whom == "hub" else (place.node, place.port)
    asked = f"import urllib.request as u; u.urlopen('http://{address}:{port}/', timeout=10)"
    done = cluster.run("gpu02", f"python3 -I -c {shlex.quote(asked)}")
    assert done.returncode != 0
    assert "HTTP Error" not in done.stderr


def test_a_kernel_inherits_no_key(cluster, people):
    place = place_of(cluster, people[0])
    found = cluster.output(place.node, "grep -lz JUPYTERHUB_TLS_ /proc/[0-9]*/environ || true")
    assert found == ""


def test_no_key_stays_when_a_session_ends(cluster, people, wait_for):
    person = people[1]
    place = place_of(cluster, person)
    look = f"ls {secrets_of(person, place)}; find /tmp -user {person.name} -name '*.key'"
    while_it_runs = cluster.run(place.node, look).stdout.splitlines()
    assert [path.rpartition("/")[2] for path in while_it_runs] == ["environment.json", "session.key"]
    person.stop(wait_for)
    wait_for(lambda: not cluster.run(place.node, look).stdout, "the keys to be gone", 30)
    on_the_hub = cluster.run(
        "hub01", f"grep -rl {place.key}.sessions.internal /var/lib/davide-hub /var/lib/davide-broker"
    )
    assert "key" not in cluster.output("hub01", "find /var/lib/davide-hub -name '*.key'")
    assert all("sqlite" in path for path in on_the_hub.stdout.splitlines()), "only the database may know the name"
