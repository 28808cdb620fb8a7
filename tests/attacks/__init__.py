"""The attack suite: every attack reaches its aim where our defences are taken away, and is refused where they are."""
