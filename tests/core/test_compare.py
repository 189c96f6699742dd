"""Two pictures, and whether the same character is in both."""

from __future__ import annotations

import numpy as np
import pytest

from core.compare import compare
from core.face import Pixels
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_scene

DETECTOR = FakeDetector()


def extractor(threshold: float | None = 0.75) -> FakeExtractor:
    made = FakeExtractor()
    made.same_threshold = threshold
    return made


def head(name: str, background: int = 3, radius: int = 40) -> Pixels:
    return drawn_scene([(name, 150, 110, radius)], background=background)


def test_one_character_twice_is_the_same() -> None:
    found = compare((head("blue"), head("blue", 9, 34)), DETECTOR, extractor())
    assert found.same is True
    assert found.similarity is not None
    assert 0.75 <= found.similarity <= 1


def test_two_characters_are_not() -> None:
    found = compare((head("blue"), head("coral")), DETECTOR, extractor())
    assert found.same is False
    assert found.similarity is not None
    assert found.similarity < 0.75


def test_the_most_confident_faces_are_held_against_each_other() -> None:
    both = drawn_scene([("coral", 60, 60, 15), ("blue", 220, 120, 42)])
    found = compare((both, head("blue")), DETECTOR, extractor())
    assert found.same is True
    assert found.faces[0] is not None
    assert found.faces[0].box[0] > 150


def test_without_a_face_nothing_is_said_and_the_picture_is_known() -> None:
    found = compare((head("blue"), drawn_scene([])), DETECTOR, extractor())
    assert found.faces[0] is not None
    assert found.faces[1] is None
    assert (found.similarity, found.same) == (None, None)


def test_without_a_threshold_there_is_a_similarity_and_no_verdict() -> None:
    found = compare((head("blue"), head("blue")), DETECTOR, extractor(None))
    assert found.similarity == pytest.approx(1)
    assert found.same is None


def test_crops_are_faces_already() -> None:
    plain = np.full((50, 40, 3), 200, np.uint8)
    assert compare((plain, plain), None, extractor()).same is True
