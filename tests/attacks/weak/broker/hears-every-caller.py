"""A broker that does not look who asks."""

from davide_hub.broker import server


class _Everybody:
    def __contains__(self, _uid):
        return True


# A property, so that what `__init__` sets does not count.
server.Server.callers = property(lambda _self: _Everybody(), lambda _self, _callers: None)
