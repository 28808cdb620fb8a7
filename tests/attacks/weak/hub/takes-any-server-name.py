"""Servers may be called anything."""

from jupyterhub import user
from jupyterhub.handlers import base

for module in (base, user):
    module.is_valid_safe_slug = module.is_valid_display_name = lambda _name: True
