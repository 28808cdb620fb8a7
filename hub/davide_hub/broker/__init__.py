"""The broker: the one privileged part of DAVIDE Hub. It checks log-ins and submits as the user, no more."""

from __future__ import annotations


def main() -> None:
    """Run the broker (console script `davide-broker`)."""
    # Imported here: the hub uses only `protocol` and `client`, and never loads the privileged code.
    from davide_hub.broker.server import main as serve

    serve()
