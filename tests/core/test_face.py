"""Boxes of faces, and which of them count."""

import pytest

from core.face import Face, distinct, largest


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
