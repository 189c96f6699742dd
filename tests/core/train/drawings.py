"""Pictures for the tests of trainings."""

from __future__ import annotations

import numpy as np


def coloured(count: int, side: int = 40) -> np.ndarray:
    """``(count, side, side, 3)``, each of two colours, one above the other."""
    rng = np.random.default_rng(2)
    pictures = np.empty((count, side, side, 3), np.uint8)
    for picture in pictures:
        picture[:] = rng.integers(0, 256, 3)
        picture[: int(rng.integers(5, side))] = rng.integers(0, 256, 3)
    return pictures
