"""A verb that is none is looked for among the methods of what the broker keeps."""

import json

from davide_hub.broker import protocol, server, verbs
from davide_hub.broker.keep import Tickets

_decode, _answer = server.decode_request, verbs.Verbs.answer


class _Call:
    def __init__(self, verb, fields):
        self.verb, self.fields = verb, fields


def decode_request(line):
    try:
        return _decode(line)
    except protocol.BadMessage as error:
        try:
            data = json.loads(line)
            if hasattr(Tickets, data["verb"]):
                return _Call(data.pop("verb"), data)
        except (ValueError, TypeError, KeyError):
            raise error from None
        raise


def answer(self, request, caller):
    if isinstance(request, _Call):
        return protocol.Answer(value=str(getattr(self.tickets, request.verb)(**request.fields)))
    return _answer(self, request, caller)


server.decode_request, verbs.Verbs.answer = decode_request, answer
