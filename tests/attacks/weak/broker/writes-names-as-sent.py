"""A profile is looked for by the beginning of its name, and goes into the batch script as it was sent."""

from davide_hub import plan


def _find(profiles, name):
    found = next((profile for profile in profiles if name.startswith(profile.name)), profiles[0])
    return found.model_copy(update={"name": name})


plan.find_profile = _find
