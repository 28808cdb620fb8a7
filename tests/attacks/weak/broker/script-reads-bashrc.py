"""The batch script begins like a log-in: with the user's own start-up file."""

from davide_hub.broker import sessions

_render = sessions.render_session


def render_session(*words, **more):
    return _render(*words, **more).replace("\nsession=$(", "\n[ ! -e ~/.bashrc ] || . ~/.bashrc\nsession=$(")


sessions.render_session = render_session
