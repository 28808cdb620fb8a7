"""A job does not ask whether the session has one already."""

from davide_session import claim

claim.claim = lambda *_: None
