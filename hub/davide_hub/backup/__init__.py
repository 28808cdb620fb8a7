"""Backup and restore of all that a hub's host can't make again: `davide-hub backup FILE`, `davide-hub restore FILE`."""
