"""Passwords may be tried as often as one likes, and many at a time."""

from contextlib import nullcontext

from davide_hub.broker.attempts import Attempts
from davide_hub.broker.locks import Locks
from davide_hub.broker.verbs import Verbs


class _NoLocks(Locks):
    def of(self, _name):
        return nullcontext()


_true = Verbs.__init__


def _without(self, *args, **more):
    _true(self, *args, **more)
    self._trying = _NoLocks()


Verbs.__init__ = _without
Attempts.wait = lambda *_: 0
