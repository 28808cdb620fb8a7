"""Any port, and whatever else is said beside it."""

from davide_hub.callhome import CallHomeHandler

CallHomeHandler._port = staticmethod(lambda body: int(body["port"]))
