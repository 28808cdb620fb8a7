"""The API asks only whether somebody is logged in, and lets anybody start anybody's session."""

from davide_hub.handlers import OwnersStart
from jupyterhub import roles, scopes
from jupyterhub.handlers.base import BaseHandler

_true_resolve = BaseHandler._resolve_roles_and_scopes
_ALL = next(role["scopes"] for role in roles.get_default_roles() if role["name"] == "admin")


def _resolve(self):
    _true_resolve(self)
    if self.current_user:
        self.expanded_scopes = set(self.expanded_scopes) | set(scopes.expand_scopes(frozenset(_ALL)))
        self.parsed_scopes = scopes.parse_scopes(frozenset(self.expanded_scopes))


BaseHandler._resolve_roles_and_scopes = _resolve
OwnersStart._require_owner = lambda *_: None
