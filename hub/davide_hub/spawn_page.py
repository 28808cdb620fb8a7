"""The page with the session form, and the figures that it asks for while somebody looks at it."""

from __future__ import annotations

import time
from datetime import date
from typing import Any

from jupyterhub import handlers
from jupyterhub.apihandlers import APIHandler
from jupyterhub.handlers.pages import SpawnHandler
from jupyterhub.user import User
from tornado import web
from tornado.httputil import url_concat

from davide_hub.desk import FREE_SECONDS, Desk
from davide_hub.handlers import OwnersStart
from davide_hub.options import SessionFailed, chosen_plan, options_in
from davide_hub.plan import CHOICES, Plan, Wishes
from davide_hub.texts import text, texts_of

FIGURES_PATH = r"/api/davide/figures"


# A class has mostly the same to choose from, and half of it looks at the form in the same minute.
_made: dict[tuple[Any, ...], str] = {}
_MOST_MADE = 200
_addresses: dict[tuple[Any, ...], str] = {}


class FormHandler(OwnersStart, SpawnHandler):  # type: ignore[misc]
    """Shows the form, filled in by a link if one leads here. Only the form's own button starts anything."""

    desk: Desk
    filled_in: Plan | None = None

    def _get_user_options(self, query_options: dict[str, list[str]]) -> dict[str, list[str]]:
        """Return the options with which JupyterHub tries to start at once: none, if they are good for the form."""
        named = {name: values for name, values in query_options.items() if name != "_xsrf"}
        if not named or not named.keys() <= set(CHOICES):
            return named
        try:
            self.filled_in = chosen_plan(self.desk.site, options_in(named))
        except SessionFailed:
            return named  # which is refused, with the reason
        return {}

    def render_template(self, name: str, sync: bool = False, **variables: Any) -> Any:
        """Return a page; the one with the form is given what the form is made of.

        That one has nothing to wait for, and is made in half the time by what does not wait.
        """
        if name != "spawn.html":
            return super().render_template(name, sync, **variables)
        variables["form"] = self._form(variables["for_user"])
        page = super().render_template(name, sync=True, **variables)
        return page if sync else _soon(page)

    def static_url(self, path: str, include_host: bool | None = None, **more: Any) -> str:
        """Return the address of a file of JupyterHub's. Its files change with its version, and so only with the hub."""
        key = (path, include_host, *more.items())
        if key not in _addresses:
            _addresses[key] = super().static_url(path, include_host, **more)
        return _addresses[key]

    def _form(self, user: User) -> dict[str, Any]:
        server = self.path_args[1] if len(self.path_args) > 1 and self.path_args[1] else ""
        last = user.spawners[server].user_options or user.spawner.user_options
        wishes = self.filled_in.wishes() if self.filled_in else None
        # Not with what a link had: JupyterHub would drag it along to JupyterLab.
        after = self.get_argument("next", "")
        action = url_concat(self.request.path, {"next": after} if after else {})
        form = self.desk.form(user.name, wishes, saved_wishes(self._sent() or last))
        return form | {"by_link": self.filled_in is not None, "action": action, "fields": self._fields(form)}

    def _fields(self, form: dict[str, Any]) -> str:
        """Return what is chosen in the form, as it was made for whoever had the same to choose from just before."""
        key = same_fields(form)
        if key not in _made:
            if len(_made) >= _MOST_MADE:
                _made.clear()
            template = self.get_template("form_fields.html", sync=True)
            _made[key] = template.render(form=form, text=text, texts_of=texts_of)
        return _made[key]

    def _sent(self) -> dict[str, Any]:
        """Return what a form has sent, which is shown again beside what is wrong with it."""
        sent = self.request.body_arguments
        return options_in({str(name): [self.get_body_argument(name)] for name in CHOICES if name in sent})


class FiguresHandler(APIHandler):  # type: ignore[misc]
    """Tells what is free and when a session would start, for what is chosen in the form."""

    desk: Desk

    async def get(self) -> None:
        """Answer with the figures of all profiles; asks Slurm only if the last answer is too old."""
        user = self.current_user
        # A session's own token is a user too, and has no form.
        if not isinstance(user, User):
            raise web.HTTPError(403, "Log in to see what is free.")
        desk = self.desk
        asked = self.request.query_arguments
        fields = {str(name): [self.get_query_argument(name)] for name in CHOICES if name in asked}
        plan = chosen_plan(desk.site, options_in(fields))
        self._require_own(desk, user.name, plan)
        self.finish(await desk.fresh_figures(user.name, plan))

    def _require_own(self, desk: Desk, user: str, plan: Plan) -> None:
        """Refuse what the user may not use: each would be a question to Slurm."""
        may = desk.allowed(user)
        usual = chosen_plan(desk.site, {})
        good = (
            plan.account in (usual.account, *may.accounts)
            and plan.qos in ("", usual.qos, *may.qos.get(plan.account, ()))
            and plan.reservation in ("", usual.reservation, *(one.name for one in may.reservations))
        )
        if not good:
            raise web.HTTPError(400, "You may not use this account, quality of service or reservation.")


def same_fields(form: dict[str, Any]) -> tuple[Any, ...]:
    """Return what the fields of a form depend on, beside the site's facts.

    Part of it is the time, so that nothing is shown for longer than figures may be old, whatever was left out here.
    """
    figures = form["figures"]
    told = tuple((name, *one.values()) for name, one in figures["profiles"].items())
    may = (*form["accounts"], None, *form["qos"].items(), None, *form["reservations"])
    what = (form["plan"].wishes(), form["locked"], form["until"], form["recommended"], form["profiles"][0].name)
    return (date.today(), time.monotonic() // FREE_SECONDS, figures["silent"], told, may, what)


async def _soon(page: str) -> str:
    """Return what is there already, to whoever awaits it."""
    return page


def saved_wishes(options: Any) -> Wishes | None:
    """Return what somebody chose last, as the database has it; None where it is nothing that the form has."""
    known = {name: value for name, value in options.items() if name in CHOICES} if isinstance(options, dict) else {}
    fitting = all(type(value) is (int if name in ("gpus", "hours") else str) for name, value in known.items())
    return Wishes(**known) if known and fitting else None


def use_ours(desk: Desk) -> None:
    """Put our form in the place of JupyterHub's."""
    FormHandler.desk = FiguresHandler.desk = desk
    ours = {SpawnHandler: FormHandler}
    handlers.default_handlers[:] = [
        (path, ours.get(handler, handler), *more) for path, handler, *more in handlers.default_handlers
    ]
