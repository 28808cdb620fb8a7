"""A request may be as large as its sender likes."""

from davide_hub import bounds

bounds.BODY_BYTES = 1 << 30
