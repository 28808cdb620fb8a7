// While the hub is away, the proxy shows people a page that tries again by itself, instead of "Service Unavailable".
//
// Loaded before configurable-http-proxy (node --require), which asks the hub for its page of an error, and has a bare
// text for when the hub is the one that does not answer. Programs still get that text, and all get the same status.
"use strict";

const fs = require("node:fs");
const path = require("node:path");

const HEADERS = {
  "Content-Type": "text/html; charset=utf-8",
  "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
  "Cache-Control": "no-store",
  "Retry-After": "5",
};

/** Return whether a person looks at what is answered: where an address was opened, or a form sent. */
function isPersons(request) {
  return ["GET", "POST"].includes(request.method) && /\btext\/html\b/.test(request.headers.accept || "");
}

/** Let a proxy of configurable-http-proxy's answer people with a page where the hub can't. */
function showPage(page, prototype) {
  const bare = prototype._handleProxyErrorDefault;
  if (!bare) {
    // No reason to leave everybody without a proxy.
    console.error("away.cjs: this version of configurable-http-proxy has no _handleProxyErrorDefault; no page is shown");
    return;
  }
  prototype._handleProxyErrorDefault = function (code, kind, request, response) {
    if (code !== 503 || kind !== "web" || response.headersSent || !isPersons(request)) {
      bare.call(this, code, kind, request, response);
      return;
    }
    response.writeHead(code, HEADERS);
    response.end(page);
  };
}

const page = process.env.DAVIDE_AWAY_PAGE; // by davide_hub/node.py
const script = process.argv[1]; // .../configurable-http-proxy/bin/configurable-http-proxy, which is about to run
if (page && script) {
  const proxy = path.join(path.dirname(fs.realpathSync(script)), "../lib/configproxy.js");
  if (fs.existsSync(proxy)) showPage(page, require(proxy).ConfigurableProxy.prototype);
}
