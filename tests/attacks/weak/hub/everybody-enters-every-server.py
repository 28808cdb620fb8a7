"""Everybody may enter everybody's session, and nobody is asked for a confirmation."""

from jupyterhub import roles
from jupyterhub.apihandlers.auth import OAuthAuthorizeHandler

_true = roles.roles_to_expanded_scopes


def _with_all_servers(*args, **more):
    return frozenset(_true(*args, **more)) | {"access:servers"}


roles.roles_to_expanded_scopes = _with_all_servers
OAuthAuthorizeHandler.needs_oauth_confirm = lambda *_: False
