"""Copies of pictures, known again after they were scaled, re-encoded and recoloured."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from core.face import Pixels
from core.problem import Problem
from core.train.copies import (
    ALIKE,
    NEAR,
    copied,
    difference_hash,
    groups_of_duplicates,
    joined,
    prints_in,
    prints_of,
    read_prints,
    write_prints,
)
from tests.core.train.test_dataset import drawing, save


def another(pixels: Pixels) -> Pixels:
    """The same picture in another size, compressed and a little brighter."""
    small = cv2.resize(pixels, (90, 130), interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", cv2.add(small, np.full_like(small, 4)), [1, 60])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


class TestDifferenceHash:
    def test_a_bit_says_that_the_pixel_to_the_right_is_brighter(self) -> None:
        rising = np.repeat(np.arange(0, 270, 30, dtype=np.uint8)[None, :, None], 8, 0)
        rising = np.repeat(rising, 3, 2)
        assert difference_hash(rising) == 2**64 - 1
        assert difference_hash(rising[:, ::-1]) == 0
        rising[0] = 0  # the first row holds the first eight bits
        assert difference_hash(rising) == 2**56 - 1

    def test_another_size_and_compression_hardly_change_it(self) -> None:
        for number in range(20):
            pixels = drawing(number)
            _, data = cv2.imencode(".jpg", cv2.resize(pixels, (90, 130)), [1, 60])
            again = cv2.imdecode(data, cv2.IMREAD_COLOR)
            near = difference_hash(pixels) ^ difference_hash(again)
            assert near.bit_count() <= NEAR

    def test_other_pictures_are_far(self) -> None:
        known = [difference_hash(drawing(number)) for number in range(40)]
        distances = [(a ^ b).bit_count() for i, a in enumerate(known) for b in known[:i]]
        assert min(distances) > NEAR


def test_duplicates_of_duplicates_are_one_group() -> None:
    #         a       far   near a   near the one before, not near a
    chain = [0b0000, 2**60 - 1, 0b0111, 0b111111]
    mirrored = [2**20 - 1] * 4  # of none of them
    assert groups_of_duplicates(chain, mirrored, near=3).tolist() == [0, 1, 0, 0]
    assert groups_of_duplicates(chain, mirrored, near=2).tolist() == [0, 1, 2, 3]
    assert groups_of_duplicates([], []).tolist() == []


def test_mirror_images_are_one_group() -> None:
    one = (0b0001, 0b1000 << 40)
    assert groups_of_duplicates([one[0], 2**60 - 1, one[1]], [one[1], 0b11 << 50, one[0]], near=1)[
        [0, 2]
    ].tolist() == [0, 0]


class TestCopied:
    def test_a_copy_is_known_again_and_another_picture_is_not(self) -> None:
        known = prints_of(drawing(number) for number in range(30))
        asking = [another(drawing(number)) for number in range(10, 20)]
        asking += [drawing(number) for number in range(100, 110)]
        assert copied(prints_of(asking), known).tolist() == [True] * 10 + [False] * 10

    def test_a_mirror_image_is_known_again_on_either_side(self, tmp_path: Path) -> None:
        known = prints_of(drawing(number) for number in range(30))
        asking = prints_of(
            np.ascontiguousarray(another(drawing(number))[:, ::-1]) for number in range(10, 40)
        )
        assert copied(asking, known).tolist() == [True] * 20 + [False] * 10
        write_prints(known, tmp_path / "kept")
        assert copied(asking, read_prints(tmp_path / "kept")).tolist() == [True] * 20 + [False] * 10

    def test_the_same_form_in_other_colours_is_no_copy(self) -> None:
        """Single figures on a white ground have one hash, whoever they are."""
        figures: list[Pixels] = []
        for colour in ((200, 40, 40), (40, 40, 200)):
            figures.append(np.full((80, 60, 3), 255, np.uint8))
            cv2.ellipse(figures[-1], (30, 40), (14, 36), 0, 0, 360, colour, -1)
        one, other = (prints_of([figure]) for figure in figures)
        assert (int(one.hashes[0]) ^ int(other.hashes[0])).bit_count() <= NEAR
        assert np.abs(one.colours - other.colours).mean() > ALIKE
        assert not copied(one, other).any()
        assert copied(one, one).all()

    def test_vivid_pictures_of_one_form_may_differ_no_more_than_others(self) -> None:
        vivid = np.clip(drawing(3), 0, 230)
        one = prints_of([vivid])
        for brighter, copy in ((6, True), (10, False)):
            other = prints_of([vivid + np.uint8(brighter)])
            assert (one.hashes == other.hashes).all()
            assert copied(one, other).tolist() == [copy]

    def test_little_on_an_empty_ground_is_no_copy_of_something_else_there(self) -> None:
        """Such as one logo on black and another."""
        logos: list[Pixels] = []
        for corner in ((28, 36), (34, 44)):
            logos.append(np.zeros((80, 60, 3), np.uint8))
            cv2.rectangle(logos[-1], (20, 30), corner, (200, 180, 160), -1)
        one, other = (prints_of([logo]) for logo in logos)
        assert (int(one.hashes[0]) ^ int(other.hashes[0])).bit_count() <= NEAR
        assert np.abs(one.colours - other.colours).mean() < ALIKE
        assert not copied(one, other).any()
        assert copied(prints_of([cv2.resize(logos[0], (90, 120))]), one).all()

    def test_a_picture_of_one_colour_is_a_copy_of_itself_alone(self) -> None:
        flat = [np.full((80, 60, 3), level, np.uint8) for level in (100, 104)]
        one, other = (prints_of([each]) for each in flat)
        assert not copied(one, other).any()
        assert copied(one, one).all()

    def test_many_pictures_and_none(self) -> None:
        many = prints_of(drawing(number, 9) for number in range(1_100))
        assert copied(many, many).all()
        nothing = prints_of([])
        assert copied(nothing, many).tolist() == []
        assert not copied(many, nothing).any()


def test_colours_are_the_means_of_cells() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    expected = noise.reshape(8, 8, 8, 12, 3).mean((1, 3)).reshape(1, 192)
    np.testing.assert_allclose(prints_of([noise]).colours, expected, atol=0.51)


def test_joined_prints_keep_their_order() -> None:
    together = joined([prints_of([drawing(1)]), prints_of([drawing(2), drawing(3)])])
    expected = prints_of(map(drawing, (1, 2, 3)))
    for found, its in zip(together, expected, strict=True):
        assert found.tolist() == its.tolist()


class TestPrintsIn:
    def test_paths_stand_beside_their_prints_and_some_folders_are_left_out(
        self, tmp_path: Path
    ) -> None:
        for name, number in (("a/0.png", 1), ("b/0.png", 2), ("b/deep/1.png", 3), ("c.png", 4)):
            save(drawing(number), tmp_path / name)
        (tmp_path / "a" / "broken.png").write_bytes(b"no picture")
        paths, prints = prints_in(tmp_path)
        assert paths == ("a/0.png", "b/0.png", "b/deep/1.png", "c.png")
        assert prints.hashes.tolist() == [difference_hash(drawing(n)) for n in (1, 2, 3, 4)]
        assert prints.colours.shape == (4, 192)
        assert prints_in(tmp_path, without=["b"])[0] == ("a/0.png", "c.png")

    def test_a_folder_that_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(Problem):
            prints_in(tmp_path / "nowhere")
