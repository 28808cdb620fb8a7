"""A session may say again and again where it listens."""

from davide_hub.callhome import CallHomeHandler


async def post(self):
    spawner = self._own_session()
    port = self._port(self.get_json_body())
    self.set_status(204 if await spawner.call_home(port, self._peer()) else 503)


CallHomeHandler.post = post
