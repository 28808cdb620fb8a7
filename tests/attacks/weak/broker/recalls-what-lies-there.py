"""A session's secrets stay when it ends; and they are handed out whatever its state, and whoever wrote them."""

import json

from davide_hub.broker import owner, sessions


def recall(self, request):
    entry = self._entry(request.session_key, request.user)
    kept = sessions._kept(owner.recall(sessions._account(entry), entry.key))
    return json.dumps({"token": kept.token, "profile": entry.profile, "port": kept.port})


sessions.SessionKeeper.recall = recall
owner.discard = lambda *_: True
