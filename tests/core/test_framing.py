"""Squares of pictures: x runs along the width, y along the height."""

import numpy as np
import pytest

from core.framing import Framing, crop


def test_a_crop_does_not_swap_its_axes():
    pixels = np.zeros((30, 80, 3), dtype=np.uint8)
    pixels[5:10, 60:75] = 255
    cut = crop(pixels, (60, 5, 75, 10))
    assert cut.shape == (5, 15, 3)
    assert cut.min() == 255


def test_a_crop_over_the_edge_repeats_the_edge():
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels[0, 0] = (1, 2, 3)
    pixels[3, 3] = (7, 8, 9)
    cut = crop(pixels, (-2, -2, 6, 6))
    assert cut.shape == (8, 8, 3)
    assert cut[0, 0].tolist() == [1, 2, 3]
    assert cut[7, 7].tolist() == [7, 8, 9]


def test_a_crop_wholly_outside_is_still_of_its_size():
    assert crop(np.zeros((4, 4, 3), dtype=np.uint8), (10, 10, 13, 13)).shape == (3, 3, 3)


@pytest.mark.parametrize("left", [-30, -3, 0, 4, 9, 40])
@pytest.mark.parametrize("top", [-30, -3, 0, 4, 9, 40])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (5, 3), (37, 41)])
def test_every_pixel_of_a_crop_is_the_pictures_nearest(left, top, width, height):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 10, 3)).astype(np.uint8)
    rows = np.clip(np.arange(top, top + height), 0, 6)
    columns = np.clip(np.arange(left, left + width), 0, 9)
    cut = crop(pixels, (left, top, left + width, top + height))
    np.testing.assert_array_equal(cut, pixels[rows][:, columns])


def test_an_empty_crop_is_refused():
    with pytest.raises(ValueError, match="empty"):
        crop(np.zeros((4, 4, 3), dtype=np.uint8), (2, 2, 2, 3))


@pytest.mark.parametrize(
    ("box", "margin", "square"),
    [
        ((10, 10, 20, 20), 0.0, (10, 10, 20, 20)),
        ((10, 10, 20, 20), 0.5, (5, 5, 25, 25)),
        # The longer side rules, the centre stays.
        ((0, 10, 40, 20), 0.0, (0, -5, 40, 35)),
    ],
)
def test_the_square_around_a_face(box, margin, square):
    assert Framing(margin).square(box) == square
