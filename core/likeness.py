"""How alike two vectors are: cosine, Euclidean, Manhattan. Larger is always more alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from core.face import Vectors


@dataclass(frozen=True, slots=True)
class Likeness:
    """A way to compare vectors.

    Attributes:
        name: For people.
        between: ``(a, d)`` and ``(b, d)`` -> ``(a, b)``, larger where more alike.
        without_face: Of one asking picture's likeness to every face ``(m,)``, what a picture
            without a face is given in their place.
    """

    name: str
    between: Callable[[Vectors, Vectors], Vectors]
    without_face: Callable[[Vectors], Vectors]


def _cosine(one: Vectors, other: Vectors) -> Vectors:
    return one @ other.T


# Row by row: by way of a matrix product, the distance of a vector to its copy would not be 0.
def _euclidean(one: Vectors, other: Vectors) -> Vectors:
    found = np.empty((len(one), len(other)), np.float32)
    for row, vector in enumerate(one):
        found[row] = -np.linalg.norm(other - vector, axis=1)
    return found


def _squared_euclidean(one: Vectors, other: Vectors) -> Vectors:
    squared: Vectors = -np.square(_euclidean(one, other))
    return squared


def _manhattan(one: Vectors, other: Vectors) -> Vectors:
    found = np.empty((len(one), len(other)), np.float32)
    for row, vector in enumerate(one):
        found[row] = -np.abs(other - vector).sum(1)
    return found


def _nothing_in_common(of_faces: Vectors) -> Vectors:
    return np.zeros(of_faces.shape[:-1], np.float32)


def _like_the_average(of_faces: Vectors) -> Vectors:
    return np.asarray(of_faces.mean(-1), np.float32)


# A cosine of 0 is nothing in common; a distance of 0 would be everything, so that there the
# distance to the average face takes its place.
COSINE = Likeness("cosine", _cosine, _nothing_in_common)
EUCLIDEAN = Likeness("Euclidean", _euclidean, _like_the_average)
SQUARED_EUCLIDEAN = Likeness("squared Euclidean", _squared_euclidean, _like_the_average)
MANHATTAN = Likeness("Manhattan", _manhattan, _like_the_average)
