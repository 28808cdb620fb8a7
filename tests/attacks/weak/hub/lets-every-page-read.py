"""Answers that pages of any origin may read, with the cookies of who looks at them."""

from jupyterhub.handlers.base import BaseHandler

_true = BaseHandler.set_default_headers


def _for_all(self):
    _true(self)
    self.set_header("Access-Control-Allow-Origin", self.request.headers.get("Origin", "*"))
    self.set_header("Access-Control-Allow-Credentials", "true")


BaseHandler.set_default_headers = _for_all
