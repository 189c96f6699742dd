"""Which pictures meet in a batch.

Every draw follows from the seed and the number of the step alone, so that a resumed training
draws what an uninterrupted one would have drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


class BalancedBatches:
    """`identities` different identities with `pictures` pictures each (P x K).

    An identity never appears twice in a batch: the losses would take its two groups as one
    identity where they compare labels, and as two where they count groups. Identities are drawn
    in proportion to the square root of their number of pictures: even shares would show the
    pictures of rare characters too often, proportional shares would drown them.
    """

    def __init__(self, labels: Indices, identities: int, pictures: int, seed: int) -> None:
        """
        Args:
            labels: ``(n,)``, the identity of each picture.
            identities: P, at most the number of different labels.
            pictures: K; an identity with fewer pictures repeats some of them.
            seed: Together with the step it fixes the draw.

        Raises:
            ValueError: There are fewer than P identities.
        """
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        if identities > len(self.members):
            raise ValueError(
                f"A batch of {identities} identities cannot be drawn from {len(self.members)}."
            )
        self.identities, self.pictures, self.seed = identities, pictures, seed
        weights = np.sqrt([len(rows) for rows in self.members])
        self.shares = weights / weights.sum()

    def draw(self, step: int) -> Indices:
        """Row numbers of one batch, ``(identities * pictures,)``, grouped by identity."""
        rng = np.random.default_rng([self.seed, step, 1])
        chosen = rng.choice(
            len(self.members), self.identities, replace=False, p=self.shares, shuffle=True
        )
        rows = []
        for identity in chosen:
            members = self.members[identity]
            rows.append(rng.choice(members, self.pictures, replace=len(members) < self.pictures))
        return np.concatenate(rows)


class Passes:
    """Batches that show every row once before any row comes again."""

    def __init__(self, rows: int, batch: int, seed: int) -> None:
        if batch > rows:
            raise ValueError(f"A batch of {batch} cannot be drawn from {rows} rows.")
        self.rows, self.batch, self.seed = rows, batch, seed
        self._order: tuple[int, Indices] | None = None

    def draw(self, step: int) -> Indices:
        """Row numbers of one batch, ``(batch,)``, all different."""
        per_pass = self.rows // self.batch
        number, place = divmod(step, per_pass)
        if self._order is None or self._order[0] != number:
            rng = np.random.default_rng([self.seed, number, 2])
            self._order = (number, rng.permutation(self.rows))
        return self._order[1][place * self.batch : (place + 1) * self.batch]
