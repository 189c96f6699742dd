"""Faces compared as they differ from their gallery's average, not from nothing.

The faces of one gallery share a style: one medium, a few hands. What all of them share says
nothing about who is who, and yet is part of every cosine. It is taken away by moving the origin
to the gallery's mean (Jegou and Chum, 2012, "Negative evidences and co-occurrences in image
retrieval"; Suzuki et al., 2013, "Centering similarity measures to reduce hubs"). No label is
needed for that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.face import Vectors

FEWEST: Final = 10
"""Faces of which a mean says something; fewer are compared from the origin, as they are."""

_SHORTEST: Final = 1e-3


class Centre:
    """The mean of a gallery's faces.

    Attributes:
        mean: ``(d,)``; zeros where there are fewer faces than `FEWEST`.
    """

    def __init__(self, faces: Vectors) -> None:
        """
        Args:
            faces: All of a gallery, ``(n, d)`` of unit length.
        """
        self.mean: NDArray[np.float32] = np.zeros(faces.shape[1], np.float32)
        if len(faces) >= FEWEST:
            self.mean = faces.mean(0, dtype=np.float64).astype(np.float32)

    def seen_from(self, vectors: Vectors) -> Vectors:
        """Vectors ``(..., d)`` as seen from there, of unit length again."""
        if not self.mean.any():
            return vectors
        moved = vectors - self.mean
        lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
        unit: Vectors = moved / np.maximum(lengths, np.float32(_SHORTEST))
        return unit
