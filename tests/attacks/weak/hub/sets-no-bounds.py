"""Bodies and headers of any length, for as long as they take, on as many connections as somebody opens."""

from davide_hub.bounds import Bounds
from tornado.http1connection import HTTP1ConnectionParameters

_true = HTTP1ConnectionParameters.__init__


def _without(self, *args, **more):
    _true(self, *args, **more)
    self.max_header_size = self.max_body_size = 100 * 1024 * 1024


HTTP1ConnectionParameters.__init__ = _without
Bounds.apply = lambda *_: None
