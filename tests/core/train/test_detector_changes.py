"""Strong changes: a box stays on what it boxes, and nothing is put over a face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.train.detector_changes import bent, cut_piece, pasted
from core.train.detector_sample import Sample
from tests.core.train.drawings import blob, lies_at

BOX = (60, 40, 100, 100)


def ellipse(colour: tuple[int, int, int] = (255, 0, 0)) -> Sample:
    pixels = np.full((160, 200, 3), 90, np.uint8)
    x0, y0, x1, y1 = BOX
    middle = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
    cv2.ellipse(pixels, (middle, (x1 - x0 - 1, y1 - y0 - 1), 0), colour, -1)
    return Sample(pixels, np.array([BOX], np.float32))


def box_of(pixels: np.ndarray) -> np.ndarray:
    """Around what is red."""
    rows, columns = np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1] < 70))
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


def test_a_bent_face_has_its_box_around_it() -> None:
    moved = []
    for seed in range(40):
        pixels, boxes = bent(ellipse().pixels, ellipse().boxes, np.random.default_rng(seed))
        np.testing.assert_allclose(boxes[0], box_of(pixels), atol=3)
        moved.append(np.abs(boxes[0] - BOX).max())
    assert np.median(moved) > 3


def test_a_bent_picture_without_a_box_has_none() -> None:
    pixels, boxes = bent(ellipse().pixels, np.empty((0, 4), np.float32), np.random.default_rng(0))
    assert boxes.shape == (0, 4)
    assert (pixels != ellipse().pixels).any()


def test_a_box_bent_to_nothing_stays() -> None:
    tiny = np.array([[0, 0, 1, 1]], np.float32)
    for seed in range(10):
        assert bent(ellipse().pixels, tiny, np.random.default_rng(seed))[1].tolist() == [
            [0, 0, 1, 1]
        ]


def test_a_pasted_face_has_its_box_around_it_and_another_piece_has_none() -> None:
    under = np.full((128, 128, 3), 30, np.uint8)
    with_a_face = without = 0
    for seed in range(150):
        generator = np.random.default_rng(seed)
        pixels, came = pasted(under, np.empty((0, 4), np.float32), [ellipse()], generator)
        if len(came):
            with_a_face += 1
            (box,) = came
            # A soft edge takes some of the rim away, and never adds to it.
            np.testing.assert_allclose(box, box_of(pixels), atol=0.2 * (box[2:] - box[:2]).max())
        elif (pixels != under).any():
            without += 1
            assert not ((pixels[..., 0] > 150) & (pixels[..., 1] < 70)).any()
    assert with_a_face > 20
    assert without > 10
    assert (under == 30).all()


@pytest.mark.parametrize(
    ("side", "largest"),
    [
        pytest.param(80, 54.0, id="reduced"),
        pytest.param(40, 30.0, id="hardly reduced"),
        pytest.param(16, 30.0, id="enlarged"),
    ],
)
def test_a_face_is_in_the_middle_of_its_piece_and_as_large_as_its_box(
    side: int, largest: float
) -> None:
    box = (50, 40, 50 + side, 40 + side)
    source = Sample(blob(180, box), np.array([box], np.float32))
    mirrored = []
    for seed in range(250):
        piece = cut_piece(source, largest, np.random.default_rng(seed))
        if piece is None or piece.half is None:
            continue
        middle, deviation = lies_at(piece.pixels)
        np.testing.assert_allclose(middle, np.array(piece.pixels.shape[1::-1]) / 2, atol=0.3)
        if piece.half.min() > 6:
            np.testing.assert_allclose(deviation, piece.half / 3, rtol=0.1)
        mirrored.append(bool(lies_at(piece.pixels, 2)[0][0] > middle[0]))
    assert len(mirrored) > 50
    assert 0.3 < np.mean(mirrored) < 0.7


def test_a_pasted_face_is_in_the_middle_of_its_box() -> None:
    box = (40, 40, 80, 84)
    source = Sample(blob(120, box), np.array([box], np.float32))
    under = np.full((128, 128, 3), 60, np.uint8)
    checked = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        pixels, came = pasted(under, np.empty((0, 4), np.float32), [source], generator)
        for found in came:
            np.testing.assert_allclose(lies_at(pixels)[0], (found[:2] + found[2:]) / 2, atol=0.3)
            checked += 1
    assert checked > 30


def test_nothing_is_pasted_over_a_box() -> None:
    under = np.full((96, 96, 3), 30, np.uint8)
    kept = np.array([[20, 20, 70, 70]], np.float32)
    changed = 0
    for seed in range(60):
        pixels, came = pasted(under, kept, [ellipse()] * 3, np.random.default_rng(seed))
        assert (pixels[20:70, 20:70] == 30).all()
        changed += bool((pixels != under).any())
        for number, box in enumerate(came):
            others = np.concatenate([kept, came[:number]])
            assert not np.all((box[:2] < others[:, 2:]) & (box[2:] > others[:, :2]), axis=1).any()
    assert changed > 5


def test_what_is_perhaps_a_face_is_not_cut_out_as_one() -> None:
    source = Sample(ellipse().pixels, ellipse().boxes, np.array([-1], np.float32))
    pieces = [cut_piece(source, 60.0, np.random.default_rng(seed)) for seed in range(100)]
    found = [piece for piece in pieces if piece is not None]
    assert found
    assert not [piece for piece in found if piece.half is not None]


@pytest.mark.parametrize(
    "box",
    [
        pytest.param((60, 40, 70, 52), id="too small"),
        pytest.param((0, 40, 60, 100), id="cut off"),
        pytest.param(None, id="none"),
    ],
)
def test_faces_that_say_little_are_not_cut_out(box: tuple[int, ...] | None) -> None:
    boxes = np.array([box] if box else np.empty((0, 4)), np.float32)
    source = Sample(ellipse().pixels, boxes)
    pieces = [cut_piece(source, 60.0, np.random.default_rng(seed)) for seed in range(40)]
    assert not [piece for piece in pieces if piece is not None and piece.half is not None]
