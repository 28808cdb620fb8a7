"""The hub as operated at larger sites: its state in a real PostgreSQL, watched by a real Prometheus."""
