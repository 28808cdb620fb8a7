// The proxy finds sessions by their names: NODE.KEY.sessions.internal is on NODE, where `--` stands for a dot.
//
// Loaded before configurable-http-proxy (node --require), which looks names up as every program of node.js does. A
// name only tells where to go. Whether the right session listens there, TLS decides: its certificate holds for
// *.KEY.sessions.internal (davide_hub/certificates.py).
"use strict";

const dns = require("node:dns");
const net = require("node:net");
const tls = require("node:tls");

const NAME = /^([a-z0-9-]+)\.[a-z0-9-]+\.sessions\.internal$/;
const lookup = dns.lookup;

dns.lookup = function (name, ...rest) {
  const found = NAME.exec(name);
  return lookup.call(dns, found ? found[1].replaceAll("--", ".") : name, ...rest);
};

// node.js takes the name that the other side has to prove from the request's Host header, if that is a name
// (calculateServerName in lib/_http_agent.js). The header is the browser's word; the route says who it has to be.
const connect = tls.connect;

tls.connect = function (options, ...rest) {
  if (options && options.host) options.servername = net.isIP(options.host) ? "" : options.host;
  return connect.call(tls, options, ...rest);
};
