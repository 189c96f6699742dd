"""Faces turned upright by five points."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from core.align import REFERENCE, aligned, similarity_transform

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255))


def moved(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    """The reference, turned about its middle, scaled and shifted."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (np.array(REFERENCE) - 56) @ turn.T * scale + 56 + np.array(shift)


def landmarks(points: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(x), float(y)) for x, y in points)


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
@pytest.mark.parametrize("scale", [0.4, 1, 3])
def test_the_points_land_on_the_reference(degrees: float, scale: float) -> None:
    points = moved(degrees, scale, (200, 120))
    matrix = similarity_transform(points, np.array(REFERENCE))
    landed = points @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose(landed, REFERENCE, atol=1e-9)


def test_no_other_turn_scale_and_shift_come_nearer() -> None:
    rng = np.random.default_rng(0)
    points = moved(20, 1.5, (40, 70)) + rng.normal(0, 6, (5, 2))
    matrix = similarity_transform(points, np.array(REFERENCE))

    def distance(a: float, b: float, x: float, y: float) -> float:
        other = np.array([[a, -b], [b, a]])
        return float(np.square(points @ other.T + (x, y) - REFERENCE).sum())

    best = (matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2])
    assert matrix[0, 0] == matrix[1, 1]
    assert matrix[1, 0] == -matrix[0, 1]
    for place, step in [(0, 1e-4), (1, 1e-4), (2, 1e-2), (3, 1e-2)]:
        for sign in (-1, 1):
            near = list(best)
            near[place] += sign * step
            assert distance(*near) > distance(*best)


def test_a_mirror_image_is_not_mirrored_back() -> None:
    mirrored = np.array(REFERENCE) * (-1, 1)
    matrix = similarity_transform(mirrored, np.array(REFERENCE))
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize("side", [112, 224])
def test_a_turned_face_is_seen_upright(side: int) -> None:
    points = moved(-40, 2, (150, 160))
    picture = np.full((400, 400, 3), 90, np.uint8)
    for (x, y), colour in zip(points, COLOURS, strict=True):
        cv2.circle(picture, (round(x), round(y)), 8, colour, -1)
    face = aligned(picture, landmarks(points), side)
    assert face.shape == (side, side, 3)
    for (x, y), colour in zip(np.array(REFERENCE) * side / 112, COLOURS, strict=True):
        assert np.abs(face[round(y), round(x)].astype(int) - colour).max() < 30


@pytest.mark.parametrize("side", [112, 224])
@pytest.mark.parametrize("degrees", [0, 35])
def test_the_points_land_where_they_belong_to_a_part_of_a_pixel(side: int, degrees: float) -> None:
    points = moved(degrees, 2, (151.3, 160.6))
    rows, columns = np.mgrid[:400, :400]
    picture = np.zeros((400, 400, 3))
    for x, y in points:
        picture += 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))[..., None]
    face = aligned(picture.clip(0, 255).astype(np.uint8), landmarks(points), side)[..., 0]
    for x, y in np.array(REFERENCE) * side / 112:
        left, top, reach = round(x), round(y), side // 14
        part = face[top - reach : top + reach + 1, left - reach : left + reach + 1].astype(float)
        away = np.arange(-reach, reach + 1)
        found = left + part.sum(0) @ away / part.sum(), top + part.sum(1) @ away / part.sum()
        assert found == pytest.approx((x, y), abs=0.2)


def test_beyond_the_picture_its_edge_goes_on() -> None:
    picture = np.full((60, 60, 3), 200, np.uint8)
    assert (aligned(picture, landmarks(moved(10, 1, (20, 0)))) == 200).all()


def test_points_that_are_all_the_same_align_nothing() -> None:
    with pytest.raises(ValueError, match="all the same"):
        aligned(np.zeros((50, 50, 3), np.uint8), landmarks(np.full((5, 2), 20.0)))
