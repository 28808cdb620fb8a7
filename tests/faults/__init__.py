"""The fault suite: one row per fault, over real sessions whose kernels hold a counter in memory."""
