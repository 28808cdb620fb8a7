"""A socket that everybody on the host may connect to."""

from davide_hub.broker import server


def _let_connect(path, _group):
    path.chmod(0o666)


server._let_connect = _let_connect
