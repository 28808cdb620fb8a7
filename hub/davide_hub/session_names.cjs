// The proxy finds sessions by their names: NODE.KEY.sessions.internal is on NODE, where `--` stands for a dot.
//
// Loaded before configurable-http-proxy (node --require), which looks names up as every program of node.js does. A
// name only tells where to go. Whether the right session listens there, TLS decides: its certificate holds for
// *.KEY.sessions.internal (davide_hub/certificates.py).
//
// A session that stands still (Slurm has suspended its job, its node is silent) says so to nobody: its node's kernel goes
// on taking what is sent, or nothing comes back for minutes. Who calls it gets the page of a session that is away.
"use strict";

const dns = require("node:dns");
const net = require("node:net");
const tls = require("node:tls");

const NAME = /^([a-z0-9-]+)\.[a-z0-9-]+\.sessions\.internal$/;
const ANSWERS_MS = 10_000;
const QUIET_MS = 15_000;
const lookup = dns.lookup;

dns.lookup = function (name, ...rest) {
  const found = NAME.exec(name);
  return lookup.call(dns, found ? found[1].replaceAll("--", ".") : name, ...rest);
};

/**
 * Give up a connection to a session that does not answer.
 *
 * A new one has to be answered at once. One on which all is quiet may wait for a long answer: that is told by whether
 * another new one, which `again` makes, is answered. What nobody uses is ended by the agent, when its time is over.
 */
function watch(socket, again) {
  const late = Object.assign(new Error("the session does not answer"), { code: "ETIMEDOUT" });
  const timer = setTimeout(() => socket.destroy(late), ANSWERS_MS);
  for (const event of ["secureConnect", "close"]) socket.once(event, () => clearTimeout(timer));

  const wait = () => socket.setTimeout(QUIET_MS);
  const probe = () => {
    if (socket.destroyed) return;
    const other = again();
    let answered = false;
    other.once("secureConnect", () => {
      answered = true;
      other.end();
      wait();
    });
    // Without an error: half an answer may be on its way, and configurable-http-proxy would begin another.
    other.on("error", () => answered || socket.destroy());
  };
  wait();
  // The agent, which hears both events after us, takes the time away with the first, and ends unused ones with the other.
  socket.on("free", () => process.nextTick(wait));
  socket.on("timeout", () => setImmediate(probe));
}

// node.js takes the name that the other side has to prove from the request's Host header, if that is a name
// (calculateServerName in lib/_http_agent.js). The header is the browser's word; the route says who it has to be.
const connect = tls.connect;

tls.connect = function (options, ...rest) {
  if (options && options.host) options.servername = net.isIP(options.host) ? "" : options.host;
  const socket = connect.call(tls, options, ...rest);
  if (options && NAME.test(options.host)) watch(socket, () => tls.connect(options));
  return socket;
};
