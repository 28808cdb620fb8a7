// The proxy finds sessions by their names: NODE.KEY.sessions.internal is on NODE, where `--` stands for a dot.
//
// Loaded before configurable-http-proxy (node --require), which looks names up as every program of node.js does. A
// name only tells where to go. Whether the right session listens there, TLS decides: its certificate holds for
// *.KEY.sessions.internal (davide_hub/certificates.py).
"use strict";

const dns = require("node:dns");

const NAME = /^([a-z0-9-]+)\.[a-z0-9-]+\.sessions\.internal$/;
const lookup = dns.lookup;

dns.lookup = function (name, ...rest) {
  const found = NAME.exec(name);
  return lookup.call(dns, found ? found[1].replaceAll("--", ".") : name, ...rest);
};
