"""No end of a request."""

from davide_hub.broker import protocol, server

protocol.MAX_LINE = server.MAX_LINE = 1 << 24
