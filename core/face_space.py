"""Faces compared as the faces of one gallery differ, too, and not only as they are.

The faces of a gallery share a style: one medium, a few hands. What all of them share says nothing
about who is who and yet is part of every cosine; it goes where the origin is moved to their mean
(Jegou and Chum, 2012, "Negative evidences and co-occurrences in image retrieval"). What they
differ in most is whom they show, and counts more where products are taken by the gallery's
covariance, as words that go together count in Wong et al., 1985, "Generalized vector space model in
information retrieval". Neither needs a label. A share of each cosine stays what it was: two
pictures of one scene are alike in what is small, too.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.face import Vectors

FEWEST: Final = 10
"""Faces that say what a gallery is like; fewer are compared as they are."""

AS_THEY_ARE: Final = 0.65
"""Share of the plain cosine in a cosine of the space: the least of those tried with which the
nearest picture is right as often as without the space, on characters kept away from training."""

# The trees of published indexes hold vectors that were made so: whoever changes this changes
# `core.index.FORMAT`, too.

_SHORTEST: Final = 1e-3
_TOGETHER: Final = 8192


class FaceSpace:
    """The space in which the faces of one gallery are compared."""

    def __init__(self, faces: Vectors) -> None:
        """
        Args:
            faces: All of a gallery, ``(n, d)`` of unit length.
        """
        self._mean: NDArray[np.float32] | None = None
        if len(faces) < FEWEST:
            return
        mean = faces.mean(0, dtype=np.float64)
        products = np.zeros((faces.shape[1], faces.shape[1]))
        for start in range(0, len(faces), _TOGETHER):
            moved = faces[start : start + _TOGETHER] - mean
            products += moved.T @ moved
        variances, directions = np.linalg.eigh(products / len(faces))
        # Half of the covariance on either side of a product.
        reach = np.sqrt(np.maximum(variances / max(variances[-1], 1e-12), 0.0))
        self._mean = mean.astype(np.float32)
        # Back in the first directions: which way an eigenvector points is up to the machine.
        self._stretch: NDArray[np.float32] = ((directions * reach) @ directions.T).astype(
            np.float32
        )

    def of(self, vectors: Vectors) -> Vectors:
        """Vectors ``(..., d)`` of unit length as they are compared there, of unit length again.

        Returns:
            ``(..., dimensions_in_space(n, d))``.
        """
        if self._mean is None:
            return vectors
        moved = (vectors - self._mean) @ self._stretch
        lengths = np.linalg.norm(moved, axis=-1, keepdims=True)
        moved /= np.maximum(lengths, np.float32(_SHORTEST))
        shares = np.sqrt(np.array([AS_THEY_ARE, 1 - AS_THEY_ARE], np.float32))
        return np.concatenate([shares[0] * vectors, shares[1] * moved], -1)


def dimensions_in_space(faces: int, dimensions: int) -> int:
    """Length of the vectors that a gallery of so many faces is compared by."""
    return dimensions if faces < FEWEST else 2 * dimensions
