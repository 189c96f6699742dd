"""Squares of pictures: x runs along the width, y along the height."""

import numpy as np
import pytest

from core.framing import Framing, crop, cut_square, framed, holdable, resized, whole_square
from tests.core.cuts import widest_cut


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
    ("box", "framing", "square"),
    [
        ((10, 10, 20, 20), Framing(0.0), (10, 10, 20, 20)),
        ((10, 10, 20, 20), Framing(0.5), (5, 5, 25, 25)),
        # The longer side rules, the centre stays.
        ((0, 10, 40, 20), Framing(0.0), (0, -5, 40, 35)),
        # It is moved up, by a share of that side.
        ((0, 10, 40, 20), Framing(0.0, lift=0.25), (0, -15, 40, 25)),
    ],
)
def test_the_square_around_a_face(box, framing, square):
    assert framing.square(box) == square


@pytest.mark.parametrize(
    ("size", "square"), [((40, 90), (0, -25, 90, 65)), ((90, 40), (-25, 0, 65, 90))]
)
def test_the_square_around_a_whole_picture_leaves_nothing_out(size, square):
    assert whole_square(np.zeros((*size, 3), np.uint8)) == square


@pytest.mark.parametrize("box", [None, (0, 0, 60_000, 20)], ids=["crop", "box"])
@pytest.mark.parametrize("wide", [True, False])
def test_no_face_along_a_strip_needs_a_square_of_its_length(monkeypatch, wide, box):
    sides = widest_cut(monkeypatch)
    strip = np.zeros((20, 60_000, 3), np.uint8)
    strip[:, 30_000:] = 200
    if box is not None and not wide:
        box = (box[1], box[0], box[3], box[2])
    found = framed(strip if wide else strip.transpose(1, 0, 2), box, Framing(0.55), 64)
    found = found if wide else found.transpose(1, 0, 2)
    assert len(sides) == 1
    assert (found[:, :31] == 0).all()
    assert (found[:, 33:] == 200).all()


def test_a_square_far_around_a_strip_shows_where_it_lies(monkeypatch):
    widest_cut(monkeypatch)
    strip = np.zeros((400, 40_000, 3), np.uint8)
    strip[:200] = 200
    found = cut_square(strip, (-20_000, -60_000, 60_000, 20_000), 80)
    assert (found[:60] == 200).all()
    assert (found[61:] == 0).all()


def test_a_picture_that_is_shrunk_for_its_square_keeps_its_colours():
    """Given the view that swaps the channels of what OpenCV reads."""
    strip = np.zeros((20, 60_000, 3), np.uint8)
    strip[..., 0] = 200
    square = framed(strip[..., ::-1], None, Framing(0.0), 8)
    assert (square == (0, 0, 200)).all()


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((300, 4000), None),
        ((700, 700), None),
        ((480, 640), (100.5, 50.2, 180.0, 160.9)),
        ((480, 640), (0, 0, 640, 480)),
        ((480, 640), (-30, 300, 90, 480)),
        ((50, 2000), (0, 0, 2000, 50)),
        # The largest that a stranger may send.
        ((7000, 7000), (1000, 2000, 5000, 6000)),
    ],
)
def test_what_is_seen_of_other_faces_is_cut_as_it_is(size, box):
    picture = np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8)
    framing = Framing(0.55, 0.4)
    square = whole_square(picture) if box is None else framing.square(box)
    expected = resized(crop(picture, square), 96)
    assert holdable(picture, square)[0] is picture
    assert (framed(picture, box, framing, 96) == expected).all()
