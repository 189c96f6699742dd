"""Faces compared as they differ from their gallery's mean."""

from __future__ import annotations

import numpy as np

from core.centre import FEWEST, Centre
from core.face import Vectors


def unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def test_what_a_gallery_shares_does_not_decide_who_is_alike() -> None:
    generator = np.random.default_rng(0)
    characters = generator.normal(size=(20, 24))
    style = 12.0 * generator.normal(size=24) / np.sqrt(24)
    # The strength of the style differs from picture to picture, as of scenes by night and by day.
    shares = generator.uniform(0.3, 1.7, (2, 20, 1))
    gallery, asked = (
        unit(characters + share * style + 0.5 * generator.normal(size=(20, 24))) for share in shares
    )
    centre = Centre(gallery)

    from_the_origin = (asked @ gallery.T).argmax(1) == np.arange(20)
    from_the_mean = (centre.seen_from(asked) @ centre.seen_from(gallery).T).argmax(1)

    assert from_the_origin.mean() < 0.9
    assert (from_the_mean == np.arange(20)).mean() > from_the_origin.mean()


def test_vectors_are_moved_and_made_unit_length_again() -> None:
    faces = unit(np.random.default_rng(1).normal(size=(FEWEST, 5)) + 1)
    centre = Centre(faces)

    seen = centre.seen_from(faces)

    assert seen.dtype == np.float32
    for own, found in zip(faces, seen, strict=True):
        moved = own - faces.mean(0)
        np.testing.assert_allclose(found, moved / np.sqrt((moved**2).sum()), atol=1e-5)
    np.testing.assert_array_equal(centre.seen_from(faces[3]), seen[3])


def test_a_few_faces_are_left_as_they_are() -> None:
    faces = unit(np.random.default_rng(2).normal(size=(FEWEST - 1, 5)))
    np.testing.assert_array_equal(Centre(faces).seen_from(faces), faces)
    nobody = np.empty((0, 5), np.float32)
    assert Centre(nobody).seen_from(nobody).shape == (0, 5)


def test_a_gallery_of_one_face_again_and_again_has_nothing_to_tell_apart() -> None:
    face = unit(np.ones((1, 4), np.float32))
    seen = Centre(np.repeat(face, FEWEST, 0)).seen_from(face)
    assert np.isfinite(seen).all()
    assert np.abs(seen).max() < 1e-2
