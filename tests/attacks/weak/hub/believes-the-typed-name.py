"""Who logs in is called what was typed, although the account is looked for in a tidied form of it."""

import unicodedata

from davide_hub.auth import BrokerAuthenticator

_true_authenticate = BrokerAuthenticator.authenticate


async def _authenticate(self, handler, data):
    typed = data.get("username", "")
    tidied = unicodedata.normalize("NFKC", typed)
    told = await _true_authenticate(self, handler, {**data, "username": tidied})
    return told if told is None or tidied == typed else {"name": typed}


BrokerAuthenticator.authenticate = _authenticate
