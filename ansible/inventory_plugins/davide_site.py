"""Ansible inventory plugin: which host gets which role, from the site facts alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "hub"))
from davide_hub.hostlist import host_names

DOCUMENTATION = """
name: davide_site
short_description: Hosts and groups of a site, from its site.yml
description:
  - Reads group_vars/all/site.yml beside hosts.yml. Every role goes to site.hub.host, the broker to site.broker.host if
    there is one.
  - The group preflight gets the first node of each partition; that is where the preflight looks from.
  - A site whose hosts differ from that writes them into hosts.yml by hand.
options:
  plugin:
    description: The name of this plugin.
    required: true
    choices: [davide_site]
"""

_OF_THE_HUB = ("session", "kernels", "handouts", "front", "firewall", "proxy", "jupyterhub")


def groups_of(site: dict[str, Any]) -> dict[str, list[str]]:
    """Return the hosts of each group."""
    hub = site["hub"]["host"]
    nodes = [next(host_names(partition["nodes"][0])) for partition in site["slurm"]["partitions"]]
    return {
        **{name: [hub] for name in _OF_THE_HUB},
        "broker": [(site.get("broker") or site["hub"])["host"]],
        "preflight": list(dict.fromkeys(nodes)),
    }


class InventoryModule(BaseInventoryPlugin):
    """The plugin, as Ansible wants it."""

    NAME = "davide_site"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add hosts and groups to an inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        facts = Path(path).parent / "group_vars/all/site.yml"
        try:
            groups = groups_of(loader.load_from_file(str(facts))["site"])
        except (KeyError, TypeError, IndexError, StopIteration) as error:
            raise AnsibleParserError(
                f"{facts}: which hosts there are can't be read from it "
                f"({error!r}); ./davide check SITE says what is wrong"
            ) from None
        for group, hosts in groups.items():
            self.inventory.add_group(group)
            for host in hosts:
                self.inventory.add_host(host, group=group)
