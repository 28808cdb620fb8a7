"""Kernels that run as Slurm jobs of their own, beside the session that uses them."""
