"""What computing in bfloat16 instead of single precision changes, on pictures by character."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.embed import (
    Embedded,
    FolderReader,
    Progress,
    above_threshold,
    embed_batch,
    embed_crops,
    embed_detected,
)
from core.evaluate_folder import LabelledVectors, LookFigures, labelled, measure, measure_pairs
from core.face import Pixels, Vectors
from core.job import Look
from core.models import Detector, Extractor
from core.picture import DEFAULT_LIMITS, Limits


@dataclass(frozen=True, slots=True)
class Models:
    """A detector and an extractor in one precision.

    Attributes:
        detector: Finds the faces; None: every picture is a face crop already.
        extractor: Makes the vectors.
    """

    detector: Detector | None
    extractor: Extractor


@dataclass(frozen=True, slots=True)
class PrecisionFigures:
    """What one precision reaches.

    Attributes:
        name: What computes in which precision.
        looks: The figures of each look, and its equal error rate over all pairs.
    """

    name: str
    looks: dict[Look, tuple[LookFigures, float]]


@dataclass(frozen=True, slots=True)
class Turned:
    """Cosines between the vectors of the same crops in both precisions.

    Attributes:
        mean: Over all crops.
        least: Of the crop whose vector is turned most.
    """

    mean: float
    least: float


@dataclass(frozen=True, slots=True)
class PrecisionComparison:
    """Both precisions on one folder.

    Attributes:
        precisions: Single precision first.
        faces: How far face vectors are turned; None: no face was found.
        pictures: How far the vectors of whole pictures are turned.
        count: Pictures that were compared.
        unreadable: Path and reason of each file left out.
    """

    precisions: tuple[PrecisionFigures, ...]
    faces: Turned | None
    pictures: Turned
    count: int
    unreadable: tuple[tuple[str, str], ...]


def compare_precisions(
    folder: Path,
    exact: Models,
    coarse: Models,
    *,
    progress: Progress | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> PrecisionComparison:
    """Measure ``<character>/<picture>`` in both precisions.

    Args:
        folder: One folder for each character.
        exact: In single precision.
        coarse: The same models in bfloat16.
        progress: Called with the pictures done and the pictures in all.
        limits: What a picture may be at most.

    Raises:
        Problem: The folder is missing, nothing in it can be read, or no character has two
            pictures.
    """
    reader = FolderReader(folder, progress, limits)
    characters: list[str] = []
    seen: tuple[list[Embedded], list[Embedded], list[Embedded]] = ([], [], [])
    for its_characters, _, pixels in reader.batches_of_characters():
        characters += its_characters
        for pictures, these in zip(seen, _three_ways(pixels, exact, coarse), strict=True):
            pictures.extend(these)
    names = ["float32", "bfloat16, faces found in float32", "bfloat16"]
    vectors = [labelled(characters, pictures) for pictures in seen]
    faces = [each.face_vectors for each in vectors[:2]]
    pictures_turned = _turned(vectors[0].picture_vectors, vectors[1].picture_vectors)
    if exact.detector is None:  # no detector, no difference between the second and the third
        del names[1], vectors[1]
    return PrecisionComparison(
        tuple(
            PrecisionFigures(name, _figures(these, exact.extractor.weights_of_both))
            for name, these in zip(names, vectors, strict=True)
        ),
        _turned(*faces) if len(faces[0]) else None,
        pictures_turned,
        len(characters),
        tuple(reader.unreadable),
    )


def _three_ways(
    pixels: list[Pixels], exact: Models, coarse: Models
) -> tuple[list[Embedded], list[Embedded], list[Embedded]]:
    """All exact; vectors in bfloat16 of the faces that the exact detector found; all coarse."""
    if exact.detector is None or coarse.detector is None:
        rounded = embed_crops(pixels, coarse.extractor)
        return embed_crops(pixels, exact.extractor), rounded, rounded
    choose = above_threshold(exact.detector)
    found = exact.detector.detect(pixels)
    by_exact, by_coarse = (
        embed_detected(
            pixels,
            [extractor.prepare_picture(picture) for picture in pixels],
            found,
            extractor,
            choose,
        )
        for extractor in (exact.extractor, coarse.extractor)
    )
    return (
        by_exact,
        by_coarse,
        embed_batch(pixels, coarse.detector, coarse.extractor, above_threshold(coarse.detector)),
    )


def _figures(
    vectors: LabelledVectors, weights: tuple[float, float]
) -> dict[Look, tuple[LookFigures, float]]:
    vectors = vectors.as_searched()
    return {
        look: (measure(vectors, look, weights), measure_pairs(vectors, look, weights)[0])
        for look in Look
    }


def _turned(exact: Vectors, coarse: Vectors) -> Turned:
    cosines = np.einsum("nd,nd->n", exact.astype(np.float64), coarse.astype(np.float64))
    return Turned(float(cosines.mean()), float(cosines.min()))
