"""The hub's log repeats what a browser calls itself."""

import jupyterhub.app
from tornado.log import access_log

_log_request = jupyterhub.app.log_request


def log_request(handler):
    _log_request(handler)
    access_log.info("%s", handler.request.headers.get("User-Agent", ""))


jupyterhub.app.log_request = log_request
