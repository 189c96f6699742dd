"""Each likeness, computed a second time in plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.likeness import COSINE, EUCLIDEAN, MANHATTAN, SQUARED_EUCLIDEAN, Likeness
from core.retrieval import equal_error_rate, retrieval

PLAINLY = {
    COSINE: lambda one, other: sum(a * b for a, b in zip(one, other, strict=True)),
    EUCLIDEAN: lambda one, other: -math.dist(one, other),
    SQUARED_EUCLIDEAN: lambda one, other: -(math.dist(one, other) ** 2),
    MANHATTAN: lambda one, other: -sum(abs(a - b) for a, b in zip(one, other, strict=True)),
}
BY_NAME = pytest.mark.parametrize("likeness", list(PLAINLY), ids=lambda likeness: likeness.name)


@BY_NAME
def test_agrees_with_plain_loops(likeness: Likeness) -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(size=(4, 5)).astype(np.float32)
    other = rng.normal(size=(6, 5)).astype(np.float32)
    expected = [[PLAINLY[likeness](a, b) for b in other.tolist()] for a in one.tolist()]
    found = likeness.between(one, other)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.array(expected), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("likeness", [EUCLIDEAN, SQUARED_EUCLIDEAN, MANHATTAN])
def test_a_vector_is_at_no_distance_from_its_copy(likeness: Likeness) -> None:
    vectors = np.random.default_rng(1).normal(size=(9, 64)).astype(np.float32)
    assert (np.diag(likeness.between(vectors, vectors.copy())) == 0).all()


@BY_NAME
def test_no_face_is_never_the_best_face(likeness: Likeness) -> None:
    """A missing face must not count as a distance of nothing."""
    face = np.array([[1.0, 0.0]], np.float32)
    faces = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    alike = likeness.between(face, faces)
    assert alike.min() < likeness.without_face(alike)[0] < alike.max()


def test_figures_follow_the_likeness() -> None:
    """Two labels on one line through the origin: distances tell them apart, cosines cannot."""
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1], 8)
    vectors = np.array([[1.0, 1.0], [9.0, 9.0]], np.float32)[labels]
    vectors += rng.normal(scale=0.1, size=vectors.shape).astype(np.float32)
    found = retrieval(vectors, labels, EUCLIDEAN)
    assert (found.precision_at_1, found.mean_average_precision) == (1.0, 1.0)
    assert found.equal_error_rate == 0.0
    assert equal_error_rate(vectors, labels, MANHATTAN)[0] == 0.0
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert retrieval(unit, labels).mean_average_precision < 0.9
