"""Boxes ``(n, 4)``, ``[x0, y0, x1, y1]`` in pixels: how they lie to each other."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

_Float = TypeVar("_Float", np.float32, np.float64)


def overlaps(a: NDArray[_Float], b: NDArray[_Float]) -> NDArray[_Float]:
    """Intersection over union of each of ``(n, 4)`` with each of ``(m, 4)``: ``(n, m)``, 0..1.

    Both may be empty. It is computed in the precision of the boxes.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0.0), -1)
    areas = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0.0), -1) for each in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9), a.dtype)


def mirrored(boxes: NDArray[_Float], width: int) -> NDArray[_Float]:
    """Where boxes come to lie in the mirror image of a picture of this width."""
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def touched(box: NDArray[Any], boxes: NDArray[Any]) -> int:
    """How many boxes ``(n, 4)`` a box ``(4,)`` reaches into."""
    x0, y0, x1, y1 = boxes.T
    return int(((x0 < box[2]) & (x1 > box[0]) & (y0 < box[3]) & (y1 > box[1])).sum())
