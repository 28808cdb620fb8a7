"""The proxy's own interface: which routes it has."""

from __future__ import annotations

import shlex

import yaml

from support.cluster import Cluster


def proxy_api(cluster: Cluster, method: str, path: str, body: str = "") -> str:
    """Ask the proxy's API as root on the hub's host, who knows its token."""
    port = yaml.safe_load(cluster.output("hub01", "cat /etc/davide-hub/site.yml"))["site"]["hub"]["proxy_api_port"]
    return str(
        cluster.output(
            "hub01",
            ". /etc/davide-hub/proxy.env; /opt/davide/envs/hub/bin/python -c 'import sys, urllib.request as u; "
            "m, url, token, body = sys.argv[1:]; print(u.urlopen(u.Request(url, body.encode() or None, "
            '{"Authorization": "token " + token}, method=m)).read().decode())\' '
            f"{method} http://127.0.0.1:{port}/api/routes{path} $CONFIGPROXY_AUTH_TOKEN {shlex.quote(body)}",
        )
    )
