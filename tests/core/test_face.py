"""Boxes and crops: x runs along the width, y along the height."""

import numpy as np
import pytest

from core.face import Face, crop, distinct, largest, widened_square


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
def test_widened_square(box, margin, square):
    assert widened_square(box, margin) == square


def test_the_largest_faces_come_first_and_confidence_decides_between_equals():
    small = Face((0, 0, 1, 1), 0.9)
    unsure = Face((0, 0, 5, 5), 0.3)
    sure = Face((5, 5, 10, 10), 0.8)
    assert largest([small, unsure, sure], 2) == (sure, unsure)
    assert largest([], 3) == ()


@pytest.mark.parametrize(
    ("box", "kept"),
    [
        pytest.param((12, 12, 48, 48), 1, id="within the other: one face"),
        pytest.param((15, 10, 55, 50), 1, id="shifted a little: one face"),
        pytest.param((35, 10, 75, 50), 2, id="cheek to cheek: two faces"),
        pytest.param((60, 10, 100, 50), 2, id="apart: two faces"),
    ],
)
def test_several_boxes_around_one_face_are_one(box, kept):
    sure, other = Face((10, 10, 50, 50), 0.9), Face(box, 0.6)
    faces = distinct([other, sure])
    assert len(faces) == kept
    assert faces[0] is sure


@pytest.mark.parametrize("box", [(5, 0, 5, 9), (0, 9, 5, 3)])
def test_a_box_needs_a_size(box):
    with pytest.raises(ValueError, match="x0 < x1"):
        Face(box, 0.5)


def test_a_score_is_a_share():
    with pytest.raises(ValueError, match=r"0\.\.1"):
        Face((0, 0, 1, 1), 1.2)
