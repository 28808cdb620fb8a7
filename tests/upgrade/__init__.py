"""From one release to the next and back, on the local cluster, while sessions run."""
