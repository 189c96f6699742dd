"""Which boxed pictures a detector learns from, is tuned on, and is reported on."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.folder import READERS
from core.train.copies import Prints, copied, joined, prints_of
from core.voc import (
    Annotation,
    AnnotationError,
    pixels_of,
    read_folder,
    refuse_beyond,
    within,
)


def for_validation(number: int) -> bool:
    """Whether the picture of this number is kept for validation."""
    return number % 10 == 0


@dataclass(frozen=True, slots=True)
class Parts:
    """Which pictures of a folder a detector learns from, is tuned on, and is reported on.

    Attributes:
        training: To learn from.
        tuning: To take decisions by.
        validation: To report on.
    """

    training: tuple[Annotation, ...]
    tuning: tuple[Annotation, ...]
    validation: tuple[Annotation, ...]


def split(annotations: list[Annotation]) -> Parts:
    """Validation: numbers that end in 0. Tuning: every twentieth of the rest (5, 25, 45, ...)."""
    return Parts(
        training=tuple(
            a for a in annotations if not for_validation(a.number) and a.number % 20 != 5
        ),
        tuning=tuple(a for a in annotations if a.number % 20 == 5),
        validation=tuple(a for a in annotations if for_validation(a.number)),
    )


class Kept(NamedTuple):
    """Pictures that are tuned or reported on and so must not be trained on.

    Attributes:
        contents: As `contents_of` has them.
        prints: By which they are known scaled and re-encoded, too.
        boxes: How many of each picture's boxes lie in it.
    """

    contents: frozenset[str]
    prints: Prints
    boxes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Boxed:
    """Boxed pictures for a training, each of which can be read.

    Attributes:
        learning: To learn from: of the first folder its part, of the others all.
        tuning: Of the first folder, to take decisions by.
        validation: Of the first folder, to report on.
        kept: What those two are known again by.
        contents: What is learned from, as `contents_of` has it.
        copies: Left out of what is learned: scaled or re-encoded, they are tuned or reported on.
    """

    learning: tuple[Annotation, ...]
    tuning: tuple[Annotation, ...]
    validation: tuple[Annotation, ...]
    kept: Kept
    contents: frozenset[str]
    copies: tuple[Annotation, ...]

    @property
    def tuning_boxes(self) -> int:
        """How many boxes lie in the pictures to take decisions by."""
        return sum(self.kept.boxes[: len(self.tuning)])

    @property
    def validation_boxes(self) -> int:
        """How many boxes lie in the pictures to report on."""
        return sum(self.kept.boxes[len(self.tuning) :])


def read_parts(folders: Path | Sequence[Path]) -> Boxed:
    """The parts of the first folder, and with its training part all of the others.

    Every picture is looked at, before anybody waits for what needs it at the end. What is nearly
    one that the first folder keeps, such as the next frame of a film, is left out.

    Raises:
        AnnotationError: The pictures of a folder cannot be used, all boxes of those for validation
            lie beyond them, or the very file of one that the first keeps for tuning or validation
            would be trained on.
    """
    first, *others = [folders] if isinstance(folders, Path) else list(folders)
    parts = split(read_folder(first))
    further = [annotation for folder in others for annotation in read_folder(folder)]
    given = [*parts.training, *further]
    kept = kept_of((*parts.tuning, *parts.validation))
    refuse_beyond(parts.validation, sum(kept.boxes[len(parts.tuning) :]))
    contents = [_content(annotation) for annotation in given]
    for annotation, content in zip(given, contents, strict=True):
        if content in kept.contents:
            raise AnnotationError(
                f"{annotation.picture} is one of the pictures in {first} that are kept for tuning"
                " and validation; take it out of what is trained on."
            )
    near = copied(_looked_at(given)[0], kept.prints)
    return Boxed(
        learning=tuple(given[row] for row in np.flatnonzero(~near)),
        tuning=parts.tuning,
        validation=parts.validation,
        kept=kept,
        contents=frozenset(contents[row] for row in np.flatnonzero(~near)),
        copies=tuple(given[row] for row in np.flatnonzero(near)),
    )


def refuse_learned(start: Path, learned: Collection[str], boxed: Boxed) -> None:
    """Refuse weights that have learned what decisions are taken by or reports are made on.

    Args:
        start: The file of the weights.
        learned: What it has learned, as `contents_of` has it: these very files alone are known.
        boxed: What is to be trained with.

    Raises:
        AnnotationError: They have.
    """
    seen = boxed.kept.contents.intersection(learned)
    if not seen:
        return
    named = next(a for a in (*boxed.tuning, *boxed.validation) if _content(a) in seen)
    raise AnnotationError(
        f"The weights in {start} were trained on {len(seen):,} of the pictures that are kept for"
        f" tuning and validation now, {named.picture} first, and would seem better than they are;"
        " give first the folder that came first in that training, or begin with other weights."
    )


def digest_of_annotations(annotations: Sequence[Annotation]) -> str:
    """One hash for the pictures, what is in them and their boxes, in their order.

    Raises:
        AnnotationError: A picture cannot be read.
    """
    digest = hashlib.sha256()
    for annotation in annotations:
        line = f"{annotation.picture.name} {_content(annotation)} "
        digest.update(line.encode(errors="surrogateescape"))
        digest.update(annotation.boxes.tobytes())
    return digest.hexdigest()


def _content(annotation: Annotation) -> str:
    try:
        return hashlib.sha256(annotation.picture.read_bytes()).hexdigest()
    except OSError as error:
        raise AnnotationError(f"{annotation.picture}: {error.strerror}.") from error


def contents_of(annotations: Iterable[Annotation]) -> frozenset[str]:
    """The SHA-256 of each picture's file, in hexadecimal digits, by which copies are known.

    Raises:
        AnnotationError: A picture cannot be opened.
    """
    return frozenset(_content(annotation) for annotation in annotations)


def kept_of(annotations: Sequence[Annotation]) -> Kept:
    """What pictures are known again by.

    Raises:
        AnnotationError: One cannot be read.
    """
    return Kept(contents_of(annotations), *_looked_at(annotations))


def _looked_at(annotations: Sequence[Annotation]) -> tuple[Prints, tuple[int, ...]]:
    """What pictures are known again by, and how many boxes of each lie in it."""

    def look(annotation: Annotation) -> tuple[Prints, int]:
        pixels = pixels_of(annotation)
        return prints_of([pixels]), len(within(annotation, pixels).boxes)

    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        looks = list(pool.map(look, annotations))
    return joined([each for each, _ in looks]), tuple(count for _, count in looks)
