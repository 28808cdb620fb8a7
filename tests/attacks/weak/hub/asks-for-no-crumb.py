"""Whatever comes with somebody's cookies counts as that somebody's wish: no _xsrf, and any type of content."""

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.handlers.base import BaseHandler
from jupyterhub.handlers.login import LoginHandler

for _handler in (BaseHandler, APIHandler, LoginHandler):
    _handler.check_xsrf_cookie = lambda _self: None
APIHandler.check_post_content_type = lambda _self: True
