"""Looking for secrets on the whole machine: what they are, where they may be, and where they must not."""
