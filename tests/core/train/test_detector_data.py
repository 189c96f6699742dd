"""Training pictures of the detector: boxes stay on their faces whatever is done to a picture."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.train import detector_data
from core.train.ahead import DRAWS
from core.train.detector_data import (
    MOST_FACES,
    Batch,
    Taught,
    batches,
    draw_batch,
    move_boxes,
    recoloured,
    windows_without_faces,
)
from core.train.detector_sample import Sample
from core.voc import Annotation
from tests.core.train.drawings import blob, lies_at

FACE = (255, 0, 0)
SIDE = 96


def samples(count: int = 8) -> list[Sample]:
    """Grey pictures with one or two red ellipses, boxed."""
    made = []
    for i in range(count):
        pixels = np.full((120, 160, 3), 60 + 10 * i, np.uint8)
        boxes = [(20 + 2 * i, 30, 60 + 2 * i, 80), (110, 60 - i, 140, 110 - i)][: 1 + i % 2]
        for x0, y0, x1, y1 in boxes:
            middle = ((x0 + x1 - 1) / 2, (y0 + y1 - 1) / 2)
            cv2.ellipse(pixels, (middle, (x1 - x0 - 1, y1 - y0 - 1), 0), FACE, -1)
        made.append(Sample(pixels, np.array(boxes, np.float32)))
    return made


@pytest.mark.parametrize(("mosaic", "strong"), [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_every_box_lies_around_its_face(mosaic: float, strong: float) -> None:
    generator = np.random.default_rng(1)
    chosen = np.arange(8).repeat(8)
    batch = draw_batch(samples(), chosen, SIDE, generator, mosaic, strong=strong)

    checked = 0
    for pixels, boxes, kinds in zip(batch.pictures, batch.boxes, batch.kinds, strict=True):
        red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
        covered = np.zeros_like(red)
        for (x0, y0, x1, y1), kind in zip(boxes, kinds, strict=True):
            if kind == 0:
                continue
            rows = slice(int(np.floor(y0)), int(np.ceil(y1)))
            columns = slice(int(np.floor(x0)), int(np.ceil(x1)))
            covered[rows, columns] = True
            inner = x0 > 0 and y0 > 0 and x1 < SIDE and y1 < SIDE
            if kind == 1 and mosaic == 0.0 and inner and min(x1 - x0, y1 - y0) > 10:
                # An ellipse fills pi/4 of its box; turned it fills the same share or less.
                share = red[rows, columns].mean()
                assert (0.4 if strong else 0.5) < share < 0.9
                checked += 1
        grown = cv2.dilate(covered.astype(np.uint8), np.ones((5, 5)))
        # A face that the edge cuts off is bent as if what is left of it were a whole one.
        assert (red & (grown == 0)).mean() < (0.02 if strong else 0.002)
    assert mosaic == 1.0 or checked > 10


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_a_face_is_in_the_middle_of_its_box_and_as_large(zoom: float) -> None:
    box = (180, 176, 220, 224)
    sample = Sample(blob(400, box), np.array([box], np.float32), zoom=zoom)
    batch = draw_batch([sample], [0] * 250, 160, np.random.default_rng(5), 0.0)
    mirrored = []
    for pixels, (found, *_) in zip(batch.pictures, batch.boxes, strict=True):
        if found.min() <= 1 or found.max() >= 159:
            continue
        middle, deviation = lies_at(pixels)
        np.testing.assert_allclose(middle, (found[:2] + found[2:]) / 2, atol=0.3)
        np.testing.assert_allclose(deviation, (found[2:] - found[:2]) / 6, rtol=0.1)
        mirrored.append(bool(lies_at(pixels, 2)[0][0] > middle[0]))
    assert len(mirrored) > 50
    assert 0.3 < np.mean(mirrored) < 0.7


def test_other_light_leaves_colours_near_their_own() -> None:
    """Nor are red and blue mixed up, nor does a hue beyond the last one become any other."""
    near = grey = 0
    for seed in range(400):
        for hue in (2, 150):  # of 180: red, and purple, from which some changes lead to red
            hsv = np.full((16, 16, 3), (hue, 160, 180), np.uint8)
            pixels = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
            done = recoloured(pixels, np.random.default_rng(seed))
            found = cv2.cvtColor(done, cv2.COLOR_RGB2HSV)[8, 8].astype(int)
            away = abs(int(found[0]) - hue)
            grey += int(found[1]) < 45
            near += int(found[1]) >= 45 and min(away, 180 - away) <= 30
    assert grey > 40
    # All but the few that are inverted.
    assert near > 0.95 * (800 - grey)


def test_strong_changes_bring_faces_of_other_pictures() -> None:
    alone = samples(1)  # with one face
    most = []
    for strong in (0.0, 1.0):
        generator = np.random.default_rng(2)
        batch = draw_batch(alone, np.zeros(40, int), SIDE, generator, 0.0, strong=strong)
        most.append((batch.kinds != 0).sum(1).max())
    assert most[0] == 1 < most[1]


def test_the_same_seed_draws_the_same_batch() -> None:
    first, again, other = (
        draw_batch(samples(), np.arange(8), SIDE, np.random.default_rng(seed), 0.5)
        for seed in (3, 3, 4)
    )

    np.testing.assert_array_equal(first.pictures, again.pictures)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert (first.pictures != other.pictures).any()


def test_an_epoch_shows_each_picture_once_and_every_epoch_in_another_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown: list[int] = []

    def note(found, chosen, *rest, **further):
        shown.extend(int(i) for i in chosen)
        return draw_batch(found, chosen, *rest, **further)

    monkeypatch.setattr(detector_data, "draw_batch", note)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)  # one thread, which draws in order
    made = samples(8)
    orders = []
    for epoch in (0, 1):
        shown.clear()
        drawn = list(batches(made, side=64, size=3, seed=0, epoch=epoch, mosaic=0.0))
        assert len(drawn) == 2  # the rest of two is left out
        assert len(set(shown)) == 6
        orders.append(tuple(shown))
    assert orders[0] != orders[1]


def test_an_epoch_that_is_begun_later_shows_the_same() -> None:
    def drawn(first: int) -> list[Batch]:
        strong = {"mosaic": 0.5, "strong": 0.5}
        return list(batches(samples(), side=64, size=2, seed=0, epoch=1, first=first, **strong))

    whole, rest = drawn(0), drawn(2)
    assert len(rest) == len(whole) - 2 > 0
    for one, other in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(one.pictures, other.pictures)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_what_fails_while_drawing_fails_where_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_, **__):
        raise RuntimeError("no picture")

    monkeypatch.setattr(detector_data, "draw_batch", fail)
    with pytest.raises(RuntimeError, match="no picture"):
        list(batches(samples(), side=64, size=4, seed=0, epoch=0, mosaic=0.0))


def test_leaving_in_the_middle_stops_the_drawing() -> None:
    drawn = batches(samples() * 8, side=64, size=2, seed=0, epoch=0, mosaic=0.0)
    next(drawn)
    assert [t for t in threading.enumerate() if t.name.startswith(DRAWS)]
    drawn.close()

    assert not [t for t in threading.enumerate() if t.name.startswith(DRAWS)]


def test_more_faces_than_a_batch_carries_keep_the_sure_ones() -> None:
    columns, rows = np.meshgrid(np.arange(12), np.arange(9))
    corners = np.stack([columns.ravel() * 13.0, rows.ravel() * 13.0], 1)
    crowd = Sample(
        np.zeros((120, 160, 3), np.uint8),
        np.concatenate([corners, corners + 12], 1).astype(np.float32),
    )

    batch = draw_batch([crowd], [0] * 8, 192, np.random.default_rng(0), 0.0)

    assert batch.kinds.shape == (8, MOST_FACES)
    assert (batch.kinds == 1).all(axis=1).any()


def test_taught_pictures_take_the_place_of_their_share() -> None:
    blue = Sample(np.full((100, 100, 3), (0, 0, 250), np.uint8), np.zeros((0, 4), np.float32))
    generator = np.random.default_rng(0)

    batch = draw_batch(samples(), [0] * 200, 32, generator, 0.0, taught=Taught([blue], 0.4))

    replaced = [((pixels[..., 2] > 200) & (pixels[..., 0] < 50)).any() for pixels in batch.pictures]
    assert 0.3 < np.mean(replaced) < 0.5
    assert not batch.kinds[replaced].any()


def test_a_mosaic_always_has_a_picture_that_people_boxed() -> None:
    face = np.array([[40, 40, 60, 60]], np.float32)
    boxed = Sample(np.full((100, 100, 3), 90, np.uint8), face)
    taught = Sample(np.full((100, 100, 3), 90, np.uint8), face, np.array([-1], np.float32))
    generator = np.random.default_rng(0)

    batch = draw_batch([boxed], [0] * 50, 96, generator, 1.0, taught=Taught([taught], 1.0))

    assert (batch.kinds == -1).any()
    assert ((batch.kinds == 1).sum(1) <= 1).all()
    assert (batch.kinds == 1).any(1).mean() > 0.5


def test_windows_without_faces_touch_none(tmp_path: Path) -> None:
    annotations = []
    for number, box in enumerate([(0, 0, 30, 160), (130, 130, 150, 150), (0, 0, 160, 160)]):
        pixels = np.full((160, 160, 3), 90, np.uint8)
        pixels[box[1] : box[3], box[0] : box[2]] = 255
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        boxes = np.array([box], np.float32)
        annotations.append(Annotation(tmp_path / f"{number}.png", boxes, ("face",)))

    found = windows_without_faces(annotations, 64)

    assert 3 < len(found) <= 6  # nothing is left of the third picture
    for window in found:
        assert window.pixels.shape == (64, 64, 3)
        assert (window.pixels == 90).all()
        assert window.boxes.shape == (0, 4)
    again = windows_without_faces(annotations, 64)
    assert len(again) == len(found)


class TestMoveBoxes:
    """Boxes under an affine change of the picture."""

    BOX = np.array([[10, 20, 30, 60]], np.float32)

    def moved(self, matrix, shift=(0, 0), size=(200, 200)):
        affine = np.concatenate([np.array(matrix, float), np.array(shift, float)[:, None]], 1)
        boxes, kinds = move_boxes(self.BOX, affine, *size)
        return boxes.tolist(), kinds.tolist()

    def test_scaled_and_shifted(self) -> None:
        assert self.moved([[2, 0], [0, 0.5]], (5, 7)) == ([[25, 17, 65, 37]], [1])

    def test_mirrored(self) -> None:
        assert self.moved([[-1, 0], [0, 1]], (100, 0)) == ([[70, 20, 90, 60]], [1])

    def test_turned_by_a_quarter(self) -> None:
        assert self.moved([[0, -1], [1, 0]], (100, 0)) == ([[40, 10, 80, 30]], [1])

    def test_turned_by_an_eighth_stays_tighter_than_its_corners(self) -> None:
        c = np.sqrt(0.5)
        ((x0, y0, x1, y1),), _ = self.moved([[c, -c], [c, c]], (100, 0))
        # Half sides 10 and 20: the ellipse reaches sqrt((100 + 400) / 2), the corners 30 * c.
        assert x1 - x0 == pytest.approx(2 * np.sqrt(250), abs=1e-4)
        assert y1 - y0 == pytest.approx(2 * np.sqrt(250), abs=1e-4)

    def test_cut_at_the_edge(self) -> None:
        assert self.moved([[1, 0], [0, 1]], (-20, 0)) == ([[0, 20, 10, 60]], [1])

    def test_mostly_cut_off_is_not_counted(self) -> None:
        assert self.moved([[1, 0], [0, 1]], (-26, 0)) == ([[0, 20, 4, 60]], [-1])

    def test_too_small_to_tell_is_not_counted(self) -> None:
        assert self.moved([[0.1, 0], [0, 0.1]])[1] == [-1]

    def test_outside_is_gone(self) -> None:
        assert self.moved([[1, 0], [0, 1]], (300, 0)) == ([], [])

    def test_no_boxes(self) -> None:
        boxes, kinds = move_boxes(np.zeros((0, 4), np.float32), np.eye(3)[:2], 50, 50)
        assert boxes.shape == (0, 4)
        assert kinds.shape == (0,)

    def test_what_was_unsure_stays_unsure(self) -> None:
        boxes = np.array([[5, 5, 25, 25], [25, 25, 45, 45]], np.float32)

        moved, kinds = move_boxes(boxes, np.eye(3)[:2], 50, 50, before=np.array([1, -1]))

        np.testing.assert_allclose(moved, boxes, atol=1e-4)
        assert kinds.tolist() == [1, -1]
