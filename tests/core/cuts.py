"""How large the squares are that are cut out of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from core import framing
from core.framing import Square, crop


def widest_cut(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What is given back fills with the sides of the squares that are cut from then on."""
    sides: list[int] = []

    def cut(pixels: np.ndarray, square: Square) -> np.ndarray:
        sides.append(square[2] - square[0])
        assert square[3] - square[1] == sides[-1] <= 9000
        return crop(pixels, square)

    monkeypatch.setattr(framing, "crop", cut)
    return sides
