"""The server reads what lies in ~/.jupyter, as a stock one does."""

from davide_session import launch

_finish_sync = launch.finish_sync


def finish_sync(sync):
    # Late: the server must be imported when and as the launcher does it.
    from davide_session.server import SessionServer
    from jupyter_server.serverapp import ServerApp

    SessionServer.config_file_paths = ServerApp.config_file_paths
    _finish_sync(sync)


launch.finish_sync = finish_sync
