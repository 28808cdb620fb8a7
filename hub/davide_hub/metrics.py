"""What Prometheus reads at /hub/metrics of the sessions as they are: looked at when it asks, and kept nowhere.

Whoever asks needs the scope `read:metrics`; `configure.py` gives it to the holder of one token, and nothing else.
What happened is counted in `counted.py`. Dashboard and alerts: hub/monitoring/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from davide_hub.facts import Site
from davide_hub.shown import gpus_of
from davide_hub.spawner import DavideSpawner
from davide_hub.states import Phase

# The service of JupyterHub that the token belongs to.
METRICS_READER = "prometheus"
STATES = ("waiting", "starting", "running", "ending")
# A profile that the site had when a session began, and has no more.
_OTHER = "other"


def state_of(spawner: DavideSpawner) -> str:
    """Return how far a session is: it waits in the queue, its job starts JupyterLab, it runs, or it is to end."""
    if spawner.pending == "stop" or spawner.stopping:
        return "ending"
    if spawner.ready:
        return "running"
    return "starting" if spawner.proof.view.last(spawner.job_id).phase is Phase.RUNNING else "waiting"


class Sessions(Collector):
    """The hub's sessions and their GPUs.

    Parameters
    ----------
    app
        The hub.
    site
        The site's facts.
    """

    def __init__(self, app: Any, site: Site) -> None:
        self.app = app
        self.site = site

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry would else look at the sessions of a hub that has none yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield what there is now."""
        profiles = [profile.name for profile in self.site.profiles]
        sessions: Counter[tuple[str, str]] = Counter()
        gpus: Counter[tuple[str, str]] = Counter()
        for spawner in self._spawners():
            profile = spawner.profile_name if spawner.profile_name in profiles else _OTHER
            kind = (state_of(spawner), profile)
            sessions[kind] += 1
            gpus[kind] += gpus_of(self.site, spawner)
        kinds = [(state, profile) for state in STATES for profile in (*profiles, _OTHER)]
        for name, text, found in (
            ("davide_sessions", "Sessions by state and profile.", sessions),
            ("davide_session_gpus", "GPUs of sessions: those that wait want them, all others hold them.", gpus),
        ):
            family = GaugeMetricFamily(name, text, labels=["state", "profile"])
            for kind in kinds:
                family.add_metric(kind, found[kind])
            yield family
        yield self._of_the_site()
        silent = GaugeMetricFamily("davide_slurm_silent", "1 if Slurm did not tell of the sessions when last asked.")
        silent.add_metric([], DavideSpawner.proof.view.silent)
        yield silent

    def _spawners(self) -> Iterator[DavideSpawner]:
        # Every user with a session is in this mapping; nothing is asked of the database.
        for user in list(self.app.users.values()):
            yield from (spawner for spawner in user.spawners.values() if spawner.active)

    def _of_the_site(self) -> Metric:
        family = GaugeMetricFamily("davide_partition_gpus", "GPUs of a partition, by site.yml.", labels=["partition"])
        for partition in self.site.slurm.partitions:
            family.add_metric([partition.name], len(list(partition.node_names)) * partition.gpus)
        return family
