"""Faces compared as the faces of one gallery differ."""

from __future__ import annotations

import numpy as np

from core.face import Vectors
from core.face_space import AS_THEY_ARE, FEWEST, FaceSpace, dimensions_in_space


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def right(asked: Vectors, gallery: Vectors) -> float:
    """The share of faces whose nearest in the gallery is of the same number."""
    return float(np.mean((asked @ gallery.T).argmax(1) == np.arange(len(asked))))


def test_what_a_gallery_shares_does_not_decide_who_is_alike() -> None:
    generator = np.random.default_rng(0)
    characters = generator.normal(size=(20, 24))
    style = 12.0 * generator.normal(size=24) / np.sqrt(24)
    # It shows more in some pictures than in others, as night does.
    shares = generator.uniform(0.3, 1.7, (2, 20, 1))
    gallery, asked = (
        unit(characters + share * style + 0.5 * generator.normal(size=(20, 24))) for share in shares
    )
    space = FaceSpace(gallery)

    assert right(asked, gallery) < 0.9
    assert right(space.of(asked), space.of(gallery)) > right(asked, gallery)


def test_what_a_gallery_differs_in_counts_more() -> None:
    generator = np.random.default_rng(3)
    characters = np.zeros((40, 48))
    characters[:, :6] = generator.normal(size=(40, 6))
    gallery, asked = (unit(characters + 0.35 * generator.normal(size=(40, 48))) for _ in range(2))
    space = FaceSpace(gallery)

    assert right(asked, gallery) < 0.9
    assert right(space.of(asked), space.of(gallery)) > right(asked, gallery)


def test_vectors_are_moved_stretched_and_made_unit_length_again() -> None:
    faces = unit(np.random.default_rng(1).normal(size=(FEWEST + 20, 5)) + 1)
    space = FaceSpace(faces)

    seen = space.of(faces)

    assert seen.dtype == np.float32
    moved = faces.astype(np.float64) - faces.mean(0, dtype=np.float64)
    variances, directions = np.linalg.eig(moved.T @ moved / len(faces))
    assert seen.shape == (len(faces), dimensions_in_space(len(faces), 5))
    for face, own, found in zip(faces, moved, seen, strict=True):
        wanted = sum(
            np.sqrt(variance) * (own @ direction) * direction
            for variance, direction in zip(variances, directions.T, strict=True)
        )
        wanted /= np.sqrt((wanted**2).sum())
        np.testing.assert_allclose(found[:5], np.sqrt(AS_THEY_ARE) * face, atol=1e-5)
        np.testing.assert_allclose(found[5:], np.sqrt(1 - AS_THEY_ARE) * wanted, atol=1e-5)
    np.testing.assert_allclose(space.of(faces[3]), seen[3], atol=1e-6)


def test_a_few_faces_are_left_as_they_are() -> None:
    faces = unit(np.random.default_rng(2).normal(size=(FEWEST - 1, 5)))
    np.testing.assert_array_equal(FaceSpace(faces).of(faces), faces)
    assert dimensions_in_space(len(faces), 5) == 5
    nobody = np.empty((0, 5), np.float32)
    assert FaceSpace(nobody).of(nobody).shape == (0, 5)


def test_a_gallery_of_one_face_again_and_again_has_nothing_to_tell_apart() -> None:
    face = unit(np.ones((1, 4), np.float32))
    seen = FaceSpace(np.repeat(face, FEWEST, 0)).of(face)
    assert np.isfinite(seen).all()
    np.testing.assert_allclose(seen[0, :4], np.sqrt(AS_THEY_ARE) * face[0], rtol=1e-6)
    assert np.abs(seen[0, 4:]).max() < 1e-2
