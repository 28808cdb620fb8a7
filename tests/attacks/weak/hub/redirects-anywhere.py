"""After the log-in people are sent wherever the link said."""

from jupyterhub.handlers.base import BaseHandler

BaseHandler._validate_next_url = lambda _self, address: address
