"""Vectors turned so that what nearly all pictures share counts less.

A network spends most of its vector on the few directions that tell its training's characters
apart. On pictures of others they say less than their share, and the rest says more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from core.face import Vectors

_LEAST_REACH = 0.02
"""Of the mean: keeps directions in which there is next to nothing from being blown up."""


def whitening_matrix(reference: Vectors, dimensions: int, strength: float) -> Vectors:
    """What vectors are to be multiplied by, before they are made unit length again.

    The directions kept are those in which the rows of `reference` reach farthest, not moved to
    their mean first: a cosine is measured from the origin. At strength 0 cosines stay as they are
    as well as can be (Eckart and Young 1936); above, wide directions are shortened and narrow ones
    stretched (Jegou and Chum 2012, "Negative evidences and co-occurrences in image retrieval").

    Args:
        reference: ``(n, d)``, of pictures like those to come.
        dimensions: Of the result.
        strength: 0: none; 1: every direction reaches as far as every other.

    Returns:
        ``(d, dimensions)``; columns that nothing is left for are zero.
    """
    products: NDArray[np.float64] = reference.T.astype(np.float64) @ reference / len(reference)
    strengths, directions = np.linalg.eigh(products)
    kept = directions[:, ::-1][:, :dimensions]
    reach = np.maximum(strengths[::-1][:dimensions], 0.0)
    # An eigenvector's sign is arbitrary; the largest entry decides, so that machines agree.
    kept = kept * np.sign(kept[np.abs(kept).argmax(0), np.arange(kept.shape[1])])
    found = np.zeros((reference.shape[1], dimensions), np.float32)
    found[:, : kept.shape[1]] = kept * (reach + _LEAST_REACH * reach.mean()) ** (-strength / 2)
    return found
