"""Pictures in, faces and vectors out: a batch of them, or a whole folder into one file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.face import Face, Pixels, Vectors
from core.models import Detector, Extractor

BATCH = 16
"""Pictures that go through the models together while a folder is worked through."""

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the pictures done and the pictures in all."""

Choose: TypeAlias = Callable[[tuple[Face, ...]], tuple[Face, ...]]
"""Picks the faces worth a vector out of all that the detector gave."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the models see in one picture.

    Attributes:
        faces: Everything the detector gave, most confident first.
        chosen: Those of `faces` that have a vector.
        face_vectors: ``(len(chosen), face_dimensions)``, unit length.
        picture_vector: ``(picture_dimensions,)``, unit length.
    """

    faces: tuple[Face, ...]
    chosen: tuple[Face, ...]
    face_vectors: Vectors
    picture_vector: NDArray[np.float32]


def above_threshold(detector: Detector) -> Choose:
    """Chooses every face that the detector itself calls one."""
    return lambda faces: tuple(face for face in faces if face.score >= detector.threshold)


def most_confident(detector: Detector) -> Choose:
    """Chooses the face with the highest score, where it reaches the detector's threshold."""
    return lambda faces: above_threshold(detector)(faces)[:1]


def embed_faces(
    extractor: Extractor, pixels: Sequence[Pixels], faces: Sequence[tuple[Face, ...]]
) -> list[Vectors]:
    """Vectors of the faces of each picture, ``(len(faces[i]), face_dimensions)``, in one batch."""
    crops = [
        extractor.prepare_face(picture, face.box)
        for picture, its_faces in zip(pixels, faces, strict=True)
        for face in its_faces
    ]
    if not crops:
        return [np.zeros((0, extractor.face_dimensions), np.float32) for _ in pixels]
    vectors = extractor.embed_faces(np.stack(crops))
    return np.split(vectors, np.cumsum([len(its_faces) for its_faces in faces])[:-1])


def embed_batch(
    pixels: Sequence[Pixels],
    detector: Detector,
    extractor: Extractor,
    choose: Choose,
    prepared: Sequence[Pixels] | None = None,
) -> list[Embedded]:
    """Detect and embed some pictures together.

    Args:
        pixels: The pictures; at least one.
        choose: Which faces get vectors.
        prepared: ``extractor.prepare_picture`` of each, where it was done elsewhere already.
    """
    found = detector.detect(pixels)
    chosen = [choose(faces) for faces in found]
    face_vectors = embed_faces(extractor, pixels, chosen)
    if prepared is None:
        prepared = [extractor.prepare_picture(picture) for picture in pixels]
    picture_vectors = extractor.embed_pictures(np.stack(list(prepared)))
    return [
        Embedded(*item) for item in zip(found, chosen, face_vectors, picture_vectors, strict=True)
    ]
