"""Where a second look is taken in training, and what is shown there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.boxes import overlaps
from core.train import detector_data, refiner_data
from core.train.detector_sample import Sample
from core.train.refiner_data import Shown, View, Views, batches, places_in, propose

SIDE = 96
FACES = np.array([[20, 20, 40, 44], [60, 50, 80, 74]], np.float32)
NOTHING = (np.zeros((0, 4), np.float32), np.zeros(0, np.float32))


def view(boxes: np.ndarray = FACES, kinds: tuple[float, ...] = (1, 1)) -> View:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    return View(pixels, boxes[: len(kinds)], np.array(kinds, np.float32))


def samples(count: int = 6) -> list[Sample]:
    """Pictures of one colour each with a red face in them."""
    made = []
    for number in range(count):
        pixels = np.full((120, 160, 3), 20 * number, np.uint8)
        pixels[30:70, 40:80] = (250, 0, 0)
        made.append(Sample(pixels, np.array([[40, 30, 80, 70]], np.float32)))
    return made


def test_wrong_proposals_come_first_and_the_likely_ones_most_often() -> None:
    wrong = np.array([[5 * i, 80, 5 * i + 10, 90] for i in range(10)], np.float32)
    scores = np.array([0.9] + [0.03] * 9, np.float32)
    generator = np.random.default_rng(0)

    drawn = [places_in(view(), (wrong, scores), 8, generator) for _ in range(100)]

    firsts = [overlaps(places[:4], wrong) for places in drawn]
    assert all((table.max(1) > 0.3).all() for table in firsts)
    likely = np.mean([(table.argmax(1) == 0).any() for table in firsts])
    others = np.mean([(table.argmax(1) == 5).any() for table in firsts])
    assert likely > 0.75
    assert others < 0.5


def test_proposals_on_faces_boxes_near_faces_and_boxes_elsewhere_fill_up() -> None:
    proposed = (FACES + np.float32(1), np.array([0.9, 0.8], np.float32))
    generator = np.random.default_rng(0)

    drawn = [places_in(view(), proposed, 8, generator) for _ in range(100)]

    shared = [overlaps(places, FACES).max(1) for places in drawn]
    assert {places.shape for places in drawn} == {(8, 4)}
    assert np.mean([each[:2] for each in shared]) > 0.7
    near = np.concatenate([each[2:5] for each in shared])
    assert (near > 0.5).mean() > 0.3
    assert (near < 0.3).mean() > 0.05
    elsewhere = np.concatenate([each[5:] for each in shared])
    assert (elsewhere == 0).mean() > 0.95


def test_where_nothing_is_proposed_and_no_face_is_there_any_box_will_do() -> None:
    places = places_in(view(kinds=()), NOTHING, 8, np.random.default_rng(0))

    assert places.shape == (8, 4)
    assert (places[:, 2:] > places[:, :2]).all()


def test_perhaps_a_face_is_neither_looked_for_nor_taken_for_none() -> None:
    generator = np.random.default_rng(0)
    places = np.concatenate(
        [places_in(view(kinds=(-1,)), NOTHING, 8, generator) for _ in range(50)]
    )

    assert (overlaps(places, FACES[:1]) == 0).mean() > 0.95


def test_a_view_of_one_number_is_always_the_same_and_each_picture_is_shown() -> None:
    made = samples()
    views = Views([Shown(made, 12, 0.0), Shown(made[:4], 2, 1.0)], 64, seed=3)

    assert len(views) == 14
    for number in (0, 11, 13):
        one, other = views[number], views[number]
        np.testing.assert_array_equal(one.pixels, other.pixels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
    assert (views[0].pixels != views[6].pixels).any()  # the same picture again, shown otherwise
    again = Views([Shown(made, 12, 0.0)], 64, seed=4)
    assert (views[0].pixels != again[0].pixels).any()


def test_fewer_views_than_pictures_show_pictures_from_all_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = []

    def draw(samples, chosen, *_, **further):
        shown.extend(chosen)
        raise StopIteration

    monkeypatch.setattr(refiner_data, "draw_batch", draw)
    views = Views([Shown(samples(6), 3, 1.0)], 64, seed=0)
    for number in range(3):
        with pytest.raises(StopIteration):
            views[number]

    assert shown == [0, 2, 4]


def test_strong_changes_reach_the_views() -> None:
    shown = [Shown(samples(1), 40, 0.0)]
    plain, strong = (Views(shown, 64, seed=0, strong=each) for each in (0.0, 1.0))
    faces = [max(len(views[number].boxes) for number in range(40)) for views in (plain, strong)]
    assert faces[0] < faces[1]


def test_a_view_has_its_own_colours_and_what_is_learned_from_has_others() -> None:
    grey = Sample(np.full((120, 160, 3), 128, np.uint8), np.zeros((0, 4), np.float32))
    views = Views([Shown([grey], 40, 0.5)], 64, seed=0)

    assert {int(np.median(views[number].pixels)) for number in range(40)} == {128}
    drawn = batches(views, [NOTHING] * 40, size=4, places=2, seed=0, epoch=0)
    levels = [float(np.median(each)) for batch in drawn for each in batch.pictures]
    assert len(set(levels)) > 10


def test_boxes_stay_on_their_faces_in_the_mirror_and_colours_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refiner_data, "recoloured", lambda pixels, _: pixels)
    views = Views([Shown(samples(), 12, 0.0)], 64, seed=0)
    proposed = [(views[i].boxes, np.full(len(views[i].boxes), 0.9, np.float32)) for i in range(12)]

    mirrored = 0
    for batch in batches(views, proposed, size=4, places=4, seed=0, epoch=0):
        for pixels, boxes, kinds, places in zip(
            batch.pictures, batch.boxes, batch.kinds, batch.places, strict=True
        ):
            mirrored += not any((pixels == views[i].pixels).all() for i in range(12))
            for box in boxes[kinds == 1]:
                x0, y0, x1, y1 = (round(float(each)) for each in box)
                inner = pixels[y0 + 3 : y1 - 3, x0 + 3 : x1 - 3]
                assert inner.size == 0 or (inner[..., 0] > 180).mean() > 0.7
            if (kinds == 1).any():
                assert overlaps(places, boxes[kinds == 1]).max() > 0.5
    assert 2 < mirrored < 10


def test_in_the_mirror_boxes_and_places_lie_exactly_where_their_faces_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(refiner_data, "recoloured", lambda pixels, _: pixels)
    monkeypatch.setattr(refiner_data, "places_in", lambda view, *_: view.boxes)
    shown = view(FACES[:1], (1,))
    shown.pixels[20:44, 20:40] = 250
    (batch,) = batches([shown] * 8, [NOTHING] * 8, size=8, places=1, seed=0, epoch=0)

    found = []
    for pixels, boxes, places in zip(batch.pictures, batch.boxes, batch.places, strict=True):
        rows, columns = np.nonzero(pixels[..., 0])
        face = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert boxes[0].tolist() == places[0].tolist() == face
        found.append(face)
    assert sorted({face[0] for face in found}) == [20, SIDE - 40]


def test_orders_views_and_batches_are_drawn_each_from_numbers_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbers that begin alike and end in zeros seed the same ones."""
    begun: list[int] = []

    def begin(seed: list[int]) -> np.random.Generator:
        generator = default_rng(seed)
        begun.append(int(generator.bit_generator.state["state"]["state"]))
        return generator

    default_rng = np.random.default_rng
    monkeypatch.setattr(np.random, "default_rng", begin)
    made = samples(2)
    views = Views([Shown(made, 2, 0.0), Shown(made, 2, 0.0)], 32, seed=0)
    shown = [views[number] for number in range(4)]
    for epoch in (0, 1):
        drawn = batches(shown, [NOTHING] * 4, size=2, places=2, seed=0, epoch=epoch)
        assert len(list(drawn)) == 2
        further = detector_data.batches(made, side=32, size=1, seed=0, epoch=epoch, mosaic=0.0)
        assert len(list(further)) == 2
    assert len(begun) == 4 + 2 * (3 + 3)
    assert len(set(begun)) == len(begun)


def test_an_epoch_shows_every_view_once_and_the_next_one_other_places() -> None:
    views = Views([Shown(samples(), 6, 0.0)], 64, seed=0)

    def epoch(number: int, first: int = 0) -> np.ndarray:
        drawn = batches(views, [NOTHING] * 6, size=2, places=4, seed=0, epoch=number, first=first)
        return np.concatenate([batch.places for batch in drawn])

    assert epoch(0).shape == (6, 4, 4)
    np.testing.assert_array_equal(epoch(0), epoch(0))
    assert (epoch(0) != epoch(1)).any()
    np.testing.assert_array_equal(epoch(0)[2:], epoch(0, first=1))


def test_the_first_stage_looks_at_each_view_once_unless_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def look(first, pictures):
        looks.append(len(pictures))
        return [(FACES, np.array([0.5, 0.25], np.float32))] * len(pictures)

    monkeypatch.setattr(refiner_data, "proposals", look)
    views = Views([Shown(samples(), 18, 0.0)], 64, seed=0)
    cache = tmp_path / "proposed.safetensors"

    found = propose(views, None, "one", cache)
    again = propose(views, None, "one", cache)

    assert looks == [16, 2]
    assert len(found) == len(again) == 18
    np.testing.assert_array_equal(again[17][0], FACES)
    assert again[17][1].tolist() == [0.5, 0.25]
    propose(views, None, "another", cache)
    assert looks == [16, 2, 16, 2]
