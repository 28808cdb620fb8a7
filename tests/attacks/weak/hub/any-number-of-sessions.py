"""Nobody counts how many sessions somebody has."""

from davide_hub.spawner import DavideSpawner

DavideSpawner._require_room = lambda _self: None
