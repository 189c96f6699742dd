"""Each face of a gallery joined with those that are most like it.

What one picture of a character happens to show, the light, the hand, the angle, is noise to who it
shows; what the faces nearest to it share with it is less so. Each face therefore answers with the
sum of itself and of its nearest, these weighed by how like they are: database-side feature
augmentation (Turcot and Lowe, 2009, "Better matching with fewer features"; Arandjelovic and
Zisserman, 2012, "Three things everyone should know to improve object retrieval", 5), weighed as in
Radenovic et al., 2018, arXiv:1711.02512, 3.3. No name of a character is needed. A face that asks
stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.face import Vectors

FEWEST: Final = 40
"""Faces of a gallery from which on each is joined; in smaller ones, with two or three pictures of a
character, most of a face's nearest are of others, and nothing is gained."""

NEAREST: Final = 4
"""Faces that one is joined with, at most."""

KEPT: Final = 2 * NEAREST
"""Faces that are remembered for one: some may be of a picture that is left out."""

SHARE: Final = 0.25
POWER: Final = 2
"""One of them with the cosine c to a face counts ``SHARE * c ** POWER`` where the face itself
counts 1. Chosen on characters kept away from training, with 2 to 80 pictures of each."""

Between: TypeAlias = Callable[[], object]
"""Called again and again during long work, which it may hold up, or end by raising."""

# The trees of published indexes hold faces that were joined so: whoever changes this changes
# `core.index.FORMAT`, too.

_TOGETHER: Final = 8192
_COSINES_TOGETHER: Final = 1 << 23


def remembered(faces: int) -> int:
    """How many are remembered for each of so many faces; 0: too few to be anybody's neighbours."""
    return 0 if faces < FEWEST else KEPT


def nearest_of_each(faces: Vectors, between: Between = lambda: None) -> NDArray[np.int32]:
    """The faces most like each, itself apart.

    Args:
        faces: ``(n, d)`` of unit length.
        between: Called between blocks of faces.

    Returns:
        ``(n, remembered(n))``, nearest first.
    """
    count = len(faces)
    kept = remembered(count)
    if not kept:
        return np.zeros((count, 0), np.int32)
    nearest = np.empty((count, kept), np.int32)
    step = max(1, _COSINES_TOGETHER // count)
    for start in range(0, count, step):
        between()
        cosines = faces[start : start + step] @ faces.T
        rows = np.arange(len(cosines))
        cosines[rows, start + rows] = -np.inf
        found = np.argpartition(cosines, -kept, axis=1)[:, -kept:]
        found.sort(axis=1)  # of equals the first comes first
        order = np.argsort(-np.take_along_axis(cosines, found, 1), axis=1, kind="stable")
        nearest[start : start + step] = np.take_along_axis(found, order, 1)
    return nearest


class Neighbourhoods:
    """The faces of one gallery as they answer.

    Attributes:
        nearest: See `nearest_of_each`.
        joined: ``(n, d)`` of unit length: each face with its nearest.
    """

    def __init__(
        self,
        faces: Vectors,
        nearest: NDArray[np.int32] | None = None,
        between: Between = lambda: None,
    ) -> None:
        """
        Args:
            faces: ``(n, d)`` of unit length, as `core.face_space` compares them.
            nearest: Where it is known already.
            between: See `nearest_of_each`.
        """
        self._faces = faces
        self.nearest = nearest_of_each(faces, between) if nearest is None else nearest
        self.joined = faces
        if not self.nearest.shape[1]:
            return
        self.joined = np.empty_like(faces)
        for start in range(0, len(faces), _TOGETHER):
            some = np.arange(start, min(start + _TOGETHER, len(faces)))
            self.joined[some] = self._join(some, self.nearest[some, :NEAREST])

    def without(self, left_out: NDArray[np.int64]) -> tuple[NDArray[np.int64], Vectors]:
        """Which faces answer otherwise in a gallery that lacks some, and with what.

        Args:
            left_out: Their numbers.

        Returns:
            Numbers ``(m,)``, and their vectors ``(m, d)`` in place of those in `joined`.
        """
        gone = np.isin(self.nearest[:, :NEAREST], left_out)
        changed = np.flatnonzero(gone.any(1))
        known = self.nearest[changed]
        # Those that are left come first, in their order.
        stays = np.argsort(np.isin(known, left_out), axis=1, kind="stable")[:, :NEAREST]
        nearest = np.take_along_axis(known, stays, 1)
        return changed, self._join(changed, nearest, ~np.isin(nearest, left_out))

    def _join(
        self,
        numbers: NDArray[np.int64],
        nearest: NDArray[np.int32],
        there: NDArray[np.bool_] | None = None,
    ) -> Vectors:
        own, others = self._faces[numbers], self._faces[nearest]
        cosines = np.clip(np.einsum("nd,nkd->nk", own, others), 0.0, None)
        shares = np.float32(SHARE) * cosines**POWER
        if there is not None:
            shares *= there
        joined = own + np.einsum("nk,nkd->nd", shares, others)
        # Faces at acute angles alone are added, so that nothing cancels out.
        joined /= np.linalg.norm(joined, axis=1, keepdims=True)
        return np.asarray(joined, np.float32)
