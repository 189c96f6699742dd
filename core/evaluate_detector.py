"""How well a detector finds the faces that are there, and leaves alone where there are none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from core.average_precision import average_precision, claims
from core.embed import BATCH, above_threshold, detect_folder
from core.face import Face
from core.faceless import Faceless, Kind
from core.models import Detector
from core.progress import Progress
from core.voc import Annotation, pixels_of, refuse_beyond, within

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class BoxedFigures:
    """What a detector reaches on pictures whose faces are boxed.

    Attributes:
        average_precision: At IoU 0.5, over all boxes of all pictures together, 0..1.
        precision: Share of the boxes at or above the threshold that are right (IoU 0.5), of those
            on one face the most confident alone, as wherever faces are used
            (`core.face.distinct`); None where there is no such box.
        recall: Share of the faces that such a box finds.
        boxes: Faces that are there.
        pictures: That were looked at, those without any box among them.
    """

    average_precision: float
    precision: float | None
    recall: float
    boxes: int
    pictures: int


@dataclass(frozen=True, slots=True)
class Found:
    """In how many pictures a box reaches the detector's threshold.

    Attributes:
        pictures: That were looked at.
        with_box: Of them, those with such a box.
    """

    pictures: int
    with_box: int

    @property
    def share(self) -> float:
        """0..1; 0 where there is no picture."""
        return self.with_box / self.pictures if self.pictures else 0.0


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """What a detector does where there is no face.

    Attributes:
        kinds: By what the pictures show.
        names: The pictures with a box at or above the threshold, and the highest score in each,
            highest first.
    """

    kinds: dict[Kind, Found]
    names: tuple[tuple[str, float], ...]

    @property
    def total(self) -> Found:
        """All kinds together."""
        return Found(
            sum(found.pictures for found in self.kinds.values()),
            sum(found.with_box for found in self.kinds.values()),
        )


def evaluate_boxed(
    annotations: Sequence[Annotation],
    detector: Detector,
    progress: Progress = lambda done, total: None,
) -> tuple[BoxedFigures, Found]:
    """Measure a detector on boxed pictures; those without any box count too.

    Returns:
        The figures of all, and in how many of the pictures with a box a face is found.

    Raises:
        AnnotationError: A picture cannot be read, or all boxes lie beyond their pictures.
        ValueError: No picture has a box.
    """
    found: list[tuple[Face, ...]] = []
    truths: list[NDArray[np.float32]] = []
    for batch in _batches(annotations):
        pictures = [pixels_of(annotation) for annotation in batch]
        found += detector.detect(pictures)
        truths += [within(*each).boxes for each in zip(batch, pictures, strict=True)]
        progress(len(found), len(annotations))
    wanted = sum(len(boxes) for boxes in truths)
    refuse_beyond(annotations, wanted)
    choose = above_threshold(detector)
    made = [
        right
        for faces, boxes in zip(found, truths, strict=True)
        for _, right in claims(choose(faces), boxes)
    ]
    figures = BoxedFigures(
        average_precision(found, truths),
        sum(made) / len(made) if made else None,
        sum(made) / wanted,
        wanted,
        len(annotations),
    )
    of_faces = [faces for faces, boxes in zip(found, truths, strict=True) if len(boxes)]
    with_box = sum(_highest(faces) >= detector.threshold for faces in of_faces)
    return figures, Found(len(of_faces), with_box)


def evaluate_plain(
    folder: Path,
    detector: Detector,
    progress: Progress = lambda done, total: None,
) -> tuple[Found, tuple[tuple[str, str], ...]]:
    """Count in how many pictures below a folder a face is found.

    Returns:
        The count, and path and reason of each file that was left out.

    Raises:
        Problem: The folder is missing, or no picture in it can be read.
    """
    seen = detect_folder(folder, detector, progress)
    with_box = sum(_highest(faces) >= detector.threshold for faces in seen.faces.values())
    return Found(len(seen.faces), with_box), seen.unreadable


def false_alarms(pictures: Iterable[Faceless], detector: Detector) -> FalseAlarms:
    """Count the boxes at or above the threshold in pictures without a face.

    Raises:
        FacelessError: `pictures` could not be had.
    """
    kinds: dict[Kind, Found] = {}
    names = []
    for batch in _batches(pictures):
        detections = detector.detect([picture.pixels for picture in batch])
        for picture, faces in zip(batch, detections, strict=True):
            before = kinds.get(picture.kind, Found(0, 0))
            highest = _highest(faces)
            alarm = highest >= detector.threshold
            kinds[picture.kind] = Found(before.pictures + 1, before.with_box + alarm)
            if alarm:
                names.append((picture.name, highest))
    return FalseAlarms(kinds, tuple(sorted(names, key=lambda item: (-item[1], item[0]))))


def _highest(faces: Sequence[Face]) -> float:
    """The highest score, and less than any threshold where there is no face."""
    return float(max((face.score for face in faces), default=-1.0))


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, BATCH)):
        yield batch
