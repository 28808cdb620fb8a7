"""Bans and revocations are not carried out, and a log-in counts without a ticket."""

from davide_hub.auth import Door
from davide_hub.doorkeeper import Doorkeeper


async def _look_away(_self):
    pass


async def _still_in(_self, _user, _handler=None):
    return True


Doorkeeper.once = _look_away
Door.refresh_user = _still_in
