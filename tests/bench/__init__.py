"""`./davide bench`: how fast the hub is and what it costs Slurm, beside stock batchspawner on the same cluster."""
