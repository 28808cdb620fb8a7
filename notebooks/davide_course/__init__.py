"""Plumbing of the course: data, checks, plots and hand-outs. What a lesson teaches stays in the lesson."""
