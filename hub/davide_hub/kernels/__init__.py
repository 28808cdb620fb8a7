"""Kernels: what a recipe is, which one fits a site's nodes, and their test on a real node."""
