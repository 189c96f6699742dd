"""The matrix that evens vectors out."""

from __future__ import annotations

import numpy as np
import pytest

from core.train.whitening import whitening_matrix
from tests.core.directions import whitened


def test_fewer_dimensions_keep_the_cosines_that_matter() -> None:
    rng = np.random.default_rng(3)
    inner = rng.standard_normal((200, 5)).astype(np.float32)
    vectors = inner @ rng.standard_normal((5, 40)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    kept = whitened(vectors, whitening_matrix(vectors, 5, 0.0))

    assert kept.shape == (200, 5)
    assert kept @ kept.T == pytest.approx(vectors @ vectors.T, abs=1e-4)
    wide = whitened(vectors, whitening_matrix(vectors, 60, 0.0))
    assert wide.shape == (200, 60)
    assert wide @ wide.T == pytest.approx(vectors @ vectors.T, abs=1e-4)
    short = whitened(vectors, whitening_matrix(vectors, 2, 0.0))
    assert np.abs(short @ short.T - vectors @ vectors.T).max() > 0.1


def test_the_largest_entry_of_every_direction_is_positive() -> None:
    """Either sign would do: so machines agree."""
    rng = np.random.default_rng(6)
    found = whitening_matrix(rng.standard_normal((300, 12)).astype(np.float32), 8, 0.5)
    assert (found[np.abs(found).argmax(0), np.arange(8)] > 0).all()


def test_whitening_evens_out_how_far_the_directions_reach() -> None:
    rng = np.random.default_rng(4)
    vectors = (rng.standard_normal((4000, 6)) * [8, 4, 2, 1, 0.5, 0.25]).astype(np.float32)

    def reaches(strength: float) -> np.ndarray:
        found = whitened(vectors, whitening_matrix(vectors, 6, strength))
        assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(4000), abs=1e-5)
        return np.sqrt((found**2).mean(0))

    none, half, full = reaches(0.0), reaches(0.5), reaches(1.0)
    assert none.max() / none.min() > half.max() / half.min() > full.max() / full.min()
    assert full.max() / full.min() < 2.5


@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_directions_with_next_to_nothing_are_not_blown_up(strength: float) -> None:
    """Along each axis the rows reach as far as is known; the last one's reach is rounding."""
    lengths = np.array([4.0, 2.0, 1.0, 1e-6])
    reference = np.concatenate([np.diag(lengths), -np.diag(lengths)]).astype(np.float32)

    found = whitening_matrix(reference, 4, strength)

    reach = lengths**2 / 4
    expected = np.diag((reach + 0.02 * reach.mean()) ** (-strength / 2))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_directions_are_those_of_the_pictures_referred_to() -> None:
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((50, 4)).astype(np.float32)
    reference = np.zeros((100, 4), np.float32)
    # Two directions that reach equally far, so that there is nothing to even out.
    reference[::2, 2], reference[1::2, 3] = 1.0, -1.0
    kept = whitened(vectors, whitening_matrix(reference, 2, 0.5))
    seen = vectors[:, 2:] / np.linalg.norm(vectors[:, 2:], axis=1, keepdims=True)
    assert kept @ kept.T == pytest.approx(seen @ seen.T, abs=1e-4)
