"""A password ends where C ends it."""

from davide_hub.broker import verbs

_check = verbs.check_password


def check_password(account, password, service):
    _check(account, password.split("\0")[0], service)


verbs.check_password = check_password
