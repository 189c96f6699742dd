"""How fast a training learns along its way, and how often it is kept."""

from __future__ import annotations

import math
from typing import Final

SECONDS_UNTIL_KEPT: Final = 300.0
"""Between two checkpoints within an epoch."""


def learning_rate(step: int, steps: int, *, highest: float, rising: int) -> float:
    """Of a step: a linear rise, then half a cosine down to a hundredth.

    Args:
        step: Counted from 0.
        steps: Of the whole training.
        highest: Learning rate.
        rising: Steps until it is reached; 0: at once.
    """
    if step < rising:
        return highest * (step + 1) / rising
    share = (step - rising) / max(1, steps - rising)
    return highest * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, share))) / 2)
