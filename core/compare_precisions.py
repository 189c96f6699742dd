"""What computing in less than single precision changes, on pictures by character."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.embed import Embedded, FolderReader, above_threshold, embed_found
from core.evaluate_folder import (
    LabelledVectors,
    LookFigures,
    labelled,
    measure,
    measure_pairs,
)
from core.face import Pixels, Vectors
from core.look import Look
from core.models import Detector, Extractor
from core.progress import Progress


@dataclass(frozen=True, slots=True)
class Variant:
    """A detector and an extractor, each in one precision.

    Attributes:
        name: What computes in which precision.
        detector: Finds the faces; None: every picture is a face crop already.
        extractor: Makes the vectors.
    """

    name: str
    detector: Detector | None
    extractor: Extractor


@dataclass(frozen=True, slots=True)
class PrecisionFigures:
    """What one precision reaches.

    Attributes:
        name: What computes in which precision.
        looks: The figures of each look, and its equal error rate over all pairs, which is None
            where these are all of one character.
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
class Turning:
    """How far an extractor's vectors are from the exact ones, of the same crops.

    Attributes:
        name: What computes in which precision.
        faces: Of face vectors; None: no face was found.
        pictures: Of the vectors of whole pictures.
    """

    name: str
    faces: Turned | None
    pictures: Turned


@dataclass(frozen=True, slots=True)
class PrecisionComparison:
    """Every variant on one folder.

    Attributes:
        precisions: The exact one first.
        turnings: Of each variant that has the exact one's detector and another extractor.
        count: Pictures that were compared.
        copies: Path of each file left out because an earlier one has the same bytes.
        unreadable: Path and reason of each file left out that cannot be read.
    """

    precisions: tuple[PrecisionFigures, ...]
    turnings: tuple[Turning, ...]
    count: int
    copies: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


def compare_precisions(
    folder: Path,
    variants: Sequence[Variant],
    *,
    progress: Progress | None = None,
) -> PrecisionComparison:
    """Measure ``<character>/<picture>`` in several precisions.

    Args:
        folder: One folder for each character.
        variants: At least one; the first one is exact. A detector that several share looks once.
        progress: Called with the pictures done and the pictures in all.

    Raises:
        Problem: The folder is missing, nothing in it can be read, or no character has two
            pictures.
    """
    reader = FolderReader(folder, progress)
    characters: list[str] = []
    seen: list[list[Embedded]] = [[] for _ in variants]
    for its_characters, _, pixels in reader.batches_of_characters():
        characters += its_characters
        for pictures, these in zip(seen, _embedded(pixels, variants), strict=True):
            pictures.extend(these)
    vectors = [labelled(characters, pictures) for pictures in seen]
    exact = variants[0]
    return PrecisionComparison(
        tuple(
            PrecisionFigures(variant.name, _figures(its_vectors, exact.extractor.weights_of_both))
            for variant, its_vectors in zip(variants, vectors, strict=True)
        ),
        tuple(
            _turning(variant.name, vectors[0], its_vectors)
            for variant, its_vectors in zip(variants, vectors, strict=True)
            if variant.detector is exact.detector and variant.extractor is not exact.extractor
        ),
        len(characters),
        tuple(reader.copies),
        tuple(reader.unreadable),
    )


def _embedded(pixels: list[Pixels], variants: Sequence[Variant]) -> Iterator[list[Embedded]]:
    """The same pictures by each variant."""
    found = {
        detector: None if detector is None else detector.detect(pixels)
        for detector in {variant.detector for variant in variants}
    }
    for detector, extractor in ((variant.detector, variant.extractor) for variant in variants):
        yield embed_found(pixels, found[detector], extractor, above_threshold(detector))


def _figures(
    vectors: LabelledVectors, weights: tuple[float, float]
) -> dict[Look, tuple[LookFigures, float]]:
    vectors = vectors.as_searched()
    return {
        look: (measure(vectors, look, weights), measure_pairs(vectors, look, weights)[0])
        for look in Look
    }


def _turning(name: str, exact: LabelledVectors, coarse: LabelledVectors) -> Turning:
    any_face = len(exact.face_vectors) > 0
    return Turning(
        name,
        _turned(exact.face_vectors, coarse.face_vectors) if any_face else None,
        _turned(exact.picture_vectors, coarse.picture_vectors),
    )


def _turned(exact: Vectors, coarse: Vectors) -> Turned:
    cosines = np.einsum("nd,nd->n", exact.astype(np.float64), coarse.astype(np.float64))
    return Turned(float(cosines.mean()), float(cosines.min()))
