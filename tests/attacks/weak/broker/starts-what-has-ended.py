"""A key that was used up starts a session again."""

from davide_hub.broker.sessions import SessionKeeper

_submit = SessionKeeper.submit


def submit(self, request):
    entry = self.ledger.find(request.session_key)
    if entry is not None and entry.state in ("closing", "closed"):
        return self._submit_first(request)
    return _submit(self, request)


SessionKeeper.submit = submit
