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


def blob(side: int, box: tuple[int, int, int, int]) -> np.ndarray:
    """``(side, side, 3)``: a soft red blob on grey, whose deviation is a third of half of its box.

    A little to the left of it lies a blue one, so that the mirror image can be told.
    """
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    middle, half = np.add(box[:2], box[2:]) / 2, np.subtract(box[2:], box[:2]) / 2
    pixels = np.full((side, side, 3), 60.0)
    for channel, shift in ((0, 0.0), (2, -0.2)):
        u = (x - middle[0]) / half[0] - shift
        v = (y - middle[1]) / half[1]
        pixels[..., channel] += 190 * np.exp(-(u**2 + v**2) * 9 / 2)
    return np.round(pixels).astype(np.uint8)


def lies_at(pixels: np.ndarray, channel: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Middle and deviation ``[x, y]`` of `blob`, in pixels from the edge of the first one."""
    weights = pixels[..., channel].astype(float) - pixels[..., 1]
    rows, columns = pixels.shape[:2]
    places = (np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    shares = (weights.sum(0) / weights.sum(), weights.sum(1) / weights.sum())
    middle = np.array([share @ place for share, place in zip(shares, places, strict=True)])
    squares = [share @ place**2 for share, place in zip(shares, places, strict=True)]
    return middle, np.sqrt(np.array(squares) - middle**2)
