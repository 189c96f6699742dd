"""Faces in a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]
"""A decoded picture or crop, ``(height, width, 3)``, RGB."""

Vectors: TypeAlias = NDArray[np.float32]
"""One vector a row, ``(n, dimensions)``."""

Point: TypeAlias = tuple[float, float]
"""``(x, y)`` in pixels."""

Landmarks: TypeAlias = tuple[Point, Point, Point, Point, Point]
"""Left eye, right eye, tip of the nose, left and right corner of the mouth, as a viewer sees them:
the left ones have the smaller ``x`` in an upright face."""


@dataclass(frozen=True, slots=True)
class Face:
    """A face found in a picture.

    Attributes:
        box: ``(x0, y0, x1, y1)`` in pixels of its picture; ``x1`` and ``y1`` lie just outside.
        score: The detector's confidence, 0..1.
        points: In pixels of its picture; None where the detector gives none.
    """

    box: tuple[float, float, float, float]
    score: float
    points: Landmarks | None = None

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.box
        if not (x0 < x1 and y0 < y1):
            raise ValueError(f"A face needs a box with x0 < x1 and y0 < y1, not {self.box}.")
        if not 0.0 <= self.score <= 1.0:
            raise ValueError(f"A face's score lies in 0..1, not {self.score}.")

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


def of_unit_length(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which vectors can be compared by their cosine: ``(..., dimensions)`` -> ``(...)``."""
    with np.errstate(over="ignore"):  # what is too long for a number is no 1 either
        lengths = np.linalg.norm(vectors, axis=-1)
    return np.asarray(np.abs(lengths - 1) < 1e-3)  # not a number compares as False, too


SAME_FACE_OVERLAP: Final = 0.7
"""Boxes that share so much of the smaller one's area are taken to show one face."""


def distinct(faces: Sequence[Face]) -> tuple[Face, ...]:
    """The faces, most confident first, without further boxes around one of them.

    A detector's own suppression compares boxes by intersection over union, under which a box
    within a much larger one passes as another face; here the smaller area is the measure.
    """
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.score):
        if all(
            _shared_area(face, other) < SAME_FACE_OVERLAP * min(face.area, other.area)
            for other in kept
        ):
            kept.append(face)
    return tuple(kept)


def _shared_area(first: Face, second: Face) -> float:
    width = min(first.box[2], second.box[2]) - max(first.box[0], second.box[0])
    height = min(first.box[3], second.box[3]) - max(first.box[1], second.box[1])
    return max(0.0, width) * max(0.0, height)


def largest(faces: Sequence[Face], count: int) -> tuple[Face, ...]:
    """The `count` largest faces, largest first; of equals, the more confident first."""
    return tuple(sorted(faces, key=lambda face: (-face.area, -face.score))[:count])
