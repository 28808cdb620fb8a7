"""A session that asks neither where a page comes from nor for its _xsrf, and lets every page read."""

import davide_session.settings as _module

_true = _module.settings


def _settings(place):
    config = _true(place)
    config.ServerApp.allow_origin_pat = ".*"
    config.ServerApp.allow_credentials = True
    config.ServerApp.disable_check_xsrf = True
    return config


_module.settings = _settings
