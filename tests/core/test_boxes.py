"""How boxes lie to each other, against plain arithmetic and pixels that are counted."""

from __future__ import annotations

import numpy as np
import pytest

from core.boxes import mirrored, overlaps, touched


def drawn(count: int, seed: int) -> np.ndarray:
    corners = np.random.default_rng(seed).integers(0, 20, (count, 2, 2))
    return np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)


def covered(box: np.ndarray, side: int = 24) -> np.ndarray:
    """The pixels of a picture that lie in a box."""
    pixels = np.zeros((side, side), bool)
    x0, y0, x1, y1 = box.astype(int)
    pixels[y0:y1, x0:x1] = True
    return pixels


def test_overlaps_are_shares_of_the_pixels_that_either_covers() -> None:
    some, others = drawn(9, 0), drawn(7, 1)
    expected = [
        [(covered(a) & covered(b)).sum() / (covered(a) | covered(b)).sum() for b in others]
        for a in some
    ]
    np.testing.assert_allclose(overlaps(some, others), expected, atol=1e-6)
    np.testing.assert_array_equal(overlaps(some, others), overlaps(others, some).T)
    np.testing.assert_allclose(np.diag(overlaps(some, some)), 1.0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_overlaps_are_as_exact_as_the_boxes(kind: type) -> None:
    third = overlaps(np.array([[0, 0, 1, 1]], kind), np.array([[0, 0, 3, 1]], kind))
    assert third.dtype == kind
    assert third[0, 0] == kind(1) / kind(3)


@pytest.mark.parametrize("counts", [(0, 3), (3, 0), (0, 0)])
def test_no_box_overlaps_none(counts: tuple[int, int]) -> None:
    assert overlaps(*(drawn(count, 0) for count in counts)).shape == counts


def test_a_box_without_area_overlaps_nothing() -> None:
    point = np.array([[2, 2, 2, 2]], np.float32)
    assert overlaps(point, point).tolist() == [[0.0]]


def test_boxes_are_where_the_mirror_image_shows_the_same() -> None:
    for box, other in zip(drawn(9, 2), mirrored(drawn(9, 2), 24), strict=True):
        np.testing.assert_array_equal(covered(other), covered(box)[:, ::-1])
    assert mirrored(drawn(0, 0), 24).shape == (0, 4)


def test_boxes_that_share_an_edge_do_not_touch() -> None:
    boxes = np.array([[0, 0, 5, 5], [5, 0, 9, 5], [4, 4, 9, 9]], np.float32)
    assert touched(np.array([0, 0, 5, 5]), boxes) == 2
    assert touched(np.array([5, 5, 6, 6]), boxes) == 1
    assert touched(np.array([20, 20, 21, 21]), boxes) == 0
    assert touched(np.array([0, 0, 5, 5]), boxes[:0]) == 0
