"""Sessions that sign their cookies with one secret, under one name, and don't ask whose they are."""

import davide_session.settings as _module

_true = _module.settings


def _settings(place):
    from jupyterhub.services.auth import HubAuth, HubOAuth

    HubOAuth.cookie_name = property(lambda _self: "jupyterhub-session")
    HubAuth.check_scopes = lambda _self, required, _user: set(required)
    config = _true(place)
    config.ServerApp.cookie_secret = b"one for all, and all for one....."
    return config


_module.settings = _settings
