"""Given the faces of a gallery, with what each of them answers."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import core.neighbourhood
from core.face import Vectors
from core.neighbourhood import (
    FEWEST,
    KEPT,
    NEAREST,
    POWER,
    SHARE,
    Neighbourhoods,
    nearest_of_each,
    remembered,
)


def faces_of(characters: int, each: int, spread: float, seed: int = 0) -> Vectors:
    """Faces that lie around one place for each character."""
    generator = np.random.default_rng(seed)
    places = np.repeat(generator.normal(size=(characters, 32)), each, axis=0)
    faces = places + spread * generator.normal(size=places.shape)
    return np.asarray(faces / np.linalg.norm(faces, axis=1, keepdims=True), np.float32)


def joined_in_loops(faces: Vectors, number: int, left_out: set[int]) -> NDArray[np.float64]:
    wide = faces.astype(np.float64)
    others = [
        (-float(wide[number] @ wide[other]), other)
        for other in range(len(faces))
        if other != number and other not in left_out
    ]
    joined = wide[number].copy()
    for cosine, other in sorted(others)[:NEAREST]:
        joined += SHARE * max(0.0, -cosine) ** POWER * wide[other]
    return np.asarray(joined / np.sqrt(joined @ joined))


def right_at_first(faces: Vectors, each: int) -> float:
    """Share of faces whose nearest other is of the same character; no asking face is anybody's
    neighbour."""
    neighbourhoods = Neighbourhoods(faces)
    right = []
    for number, face in enumerate(faces):
        answers = neighbourhoods.joined.copy()
        changed, joined = neighbourhoods.without(np.array([number]))
        answers[changed] = joined
        alike = answers @ face
        alike[number] = -np.inf
        right.append(int(np.argmax(alike)) // each == number // each)
    return float(np.mean(right))


def test_the_nearest_are_those_that_sorting_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    faces = faces_of(6, 7, 1.0)
    alike = faces @ faces.T
    np.fill_diagonal(alike, -np.inf)
    expected = np.argsort(-alike, axis=1, kind="stable")[:, :KEPT]

    np.testing.assert_array_equal(nearest_of_each(faces), expected)
    monkeypatch.setattr(core.neighbourhood, "_COSINES_TOGETHER", 3 * len(faces))
    np.testing.assert_array_equal(nearest_of_each(faces), expected)


def test_each_face_is_joined_with_its_nearest_by_how_like_they_are() -> None:
    faces = faces_of(6, 7, 1.0)

    joined = Neighbourhoods(faces).joined

    expected = [joined_in_loops(faces, number, set()) for number in range(len(faces))]
    np.testing.assert_allclose(joined, expected, atol=1e-6)


@pytest.mark.parametrize("left_out", [{5}, {0, 1, 2, 3}, {41}])
def test_faces_that_are_left_out_are_nobodys_neighbours(left_out: set[int]) -> None:
    faces = faces_of(6, 7, 0.5)
    neighbourhoods = Neighbourhoods(faces)

    changed, joined = neighbourhoods.without(np.array(sorted(left_out)))

    expected = [joined_in_loops(faces, number, left_out) for number in range(len(faces))]
    answers = neighbourhoods.joined.copy()
    answers[changed] = joined
    stay = [number for number in range(len(faces)) if number not in left_out]
    np.testing.assert_allclose(answers[stay], np.array(expected)[stay], atol=1e-6)
    assert 0 < len(changed) < len(faces)


def test_where_all_neighbours_are_left_out_a_face_answers_alone() -> None:
    faces = faces_of(6, 7, 0.5)
    neighbourhoods = Neighbourhoods(faces)

    changed, joined = neighbourhoods.without(np.delete(np.arange(len(faces)), 9))

    np.testing.assert_allclose(joined[list(changed).index(9)], faces[9], atol=1e-6)


def test_neighbours_help_to_tell_characters() -> None:
    faces = faces_of(8, 12, 1.9)
    alike = faces @ faces.T
    np.fill_diagonal(alike, -np.inf)
    alone = np.mean(np.argmax(alike, axis=1) // 12 == np.arange(len(faces)) // 12)

    assert right_at_first(faces, 12) > alone + 0.03


def test_known_neighbours_are_taken_as_they_are() -> None:
    faces = faces_of(6, 7, 1.0)
    known = nearest_of_each(faces)

    again = Neighbourhoods(faces, known)

    assert again.nearest is known
    np.testing.assert_array_equal(again.joined, Neighbourhoods(faces).joined)


@pytest.mark.parametrize("count", [0, 1, FEWEST - 1])
def test_a_few_faces_are_nobodys_neighbours(count: int) -> None:
    faces = faces_of(1, count, 1.0) if count else np.zeros((0, 5), np.float32)

    neighbourhoods = Neighbourhoods(faces)

    assert neighbourhoods.nearest.shape == (count, remembered(count)) == (count, 0)
    assert neighbourhoods.joined is faces
    changed, joined = neighbourhoods.without(np.arange(count))
    assert changed.shape == (0,)
    assert joined.shape == (0, faces.shape[1])


def test_faces_that_are_opposite_do_not_count() -> None:
    one, other = np.eye(4, dtype=np.float32)[:2]
    faces = np.stack([one] + [-one] * 4 + [other] * FEWEST)

    joined = Neighbourhoods(faces).joined

    np.testing.assert_allclose(joined[0], one, atol=1e-6)


def test_who_looks_for_the_nearest_can_be_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core.neighbourhood, "_COSINES_TOGETHER", 10 * FEWEST)
    times: list[int] = []
    nearest_of_each(faces_of(FEWEST // 4, 4, 0.5), lambda: times.append(1))
    assert len(times) == FEWEST // 10
