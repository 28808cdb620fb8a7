"""What the lessons are tested for, and what they reached."""

from __future__ import annotations

# The mistake that each lesson's checks must notice: what to change in the solved lesson, and what the hint says.
SABOTAGE = {
    "01_undercomplete_autoencoder": (
        ("return error(model(test), test), ", "return error(model(train), train), "),
        "The network's error is that on the training images",
    ),
}
SEEDS = (0, 1, 2)
REACHED: list[str] = []
