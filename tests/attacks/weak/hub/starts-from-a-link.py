"""A link with a profile in it starts a session."""

from davide_hub.spawn_page import FormHandler
from davide_hub.spawner import DavideSpawner
from jupyterhub.handlers.pages import SpawnHandler

FormHandler._get_user_options = SpawnHandler._get_user_options
DavideSpawner.options_from_query = DavideSpawner.options_from_form
