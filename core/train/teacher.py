"""Boxes for pictures that nobody boxed, by a detector that is trained already.

A new detector then learns from its predecessor's sure answers on pictures of many more hands, and
is told nothing where the predecessor was in doubt (Xie et al. 2020, "Self-training with Noisy
Student", arXiv:1911.04252: the changes to the training pictures are the noise).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from core.boxes import mirrored, overlaps
from core.face import Pixels
from core.models import Precision
from core.models.detector import SavedModelDetector, letterboxed
from core.models.tensorflow_runtime import tf
from core.picture import SUFFIXES
from core.progress import Progress
from core.train.boxes_found import Proposed, boxes_found
from core.train.copies import copied, prints_of
from core.train.crops import pictures_of_crops
from core.train.detector_data import scaled
from core.train.detector_network import DetectorNetwork, suppressed
from core.train.detector_sample import Sample
from core.train.face_data import LeftOut, bytes_of, decoded, visible_in
from core.train.parts import Kept, for_validation
from core.train.session import precision_of, trains_on_gpu
from core.voc import AnnotationError, number_of

SURE: Final = 0.5
"""Score from which a box is taken for a face."""

DOUBTFUL: Final = 0.15
"""Score below which a box is taken for nothing; between the two nothing is said."""

_SAME: Final = 0.5

_COPIES: Final = "are nearly ones that are kept for tuning and validation"
_JUDGED: Final = "are kept for judging by their numbers"
_UNREADABLE: Final = "cannot be read"


@dataclass(frozen=True, slots=True)
class Unboxed:
    """A folder of pictures without boxes.

    Attributes:
        folder: Searched with all below it that is not hidden. Pictures whose numbers end in 0 are
            left out, as they are of boxed folders, so that something remains to be judged on. A
            crop that `core.train.crops` cut counts as the picture that it was cut from.
        each_a_face: Whether every picture is known to show a face, as face crops do; those in
            which none is found for sure are then left out.
    """

    folder: Path
    each_a_face: bool = False


FindBoxes: TypeAlias = Callable[[Sequence[Pixels]], list[Proposed]]
"""Finds the boxes of pictures of any size, in the pixels of each."""


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained detector.

    Attributes:
        look: What it sees.
        key: Tells it from other detectors, and from itself in another precision.
    """

    look: FindBoxes
    key: str


def of_network(network: DetectorNetwork, key: str, longest: int, precision: str) -> Teacher:
    """The network of a training as a teacher.

    Args:
        network: To look.
        key: Of its weights.
        longest: Longest side at which pictures are looked at, in pixels.
        precision: Of its convolutions; see `core.train.session.BoxTraining`.
    """
    computed_in = tf.as_dtype(precision_of(precision))

    def look(pictures: Sequence[Pixels]) -> list[Proposed]:
        shown = [letterboxed(pixels, longest, (longest, longest)) for pixels in pictures]
        squares = tf.constant(np.stack([square for square, _ in shown]))
        boxes, scores, _, counts = _detect(network, squares, computed_in)
        return [
            (box[:count][:, [1, 0, 3, 2]] / scale, score[:count])
            for box, score, count, (_, scale) in zip(
                boxes.numpy(), scores.numpy(), counts.numpy(), shown, strict=True
            )
        ]

    return Teacher(look, f"{key} {longest} {computed_in.name}")


def of_detector(detector: SavedModelDetector) -> Teacher:
    """A finished detector as a teacher."""

    def look(pictures: Sequence[Pixels]) -> list[Proposed]:
        return [
            (
                np.array([face.box for face in faces], np.float32).reshape(-1, 4),
                np.array([face.score for face in faces], np.float32),
            )
            for faces in detector.detect(pictures)
        ]

    return Teacher(look, f"{detector.sha256} {detector.precision}")


def load_teacher(folder: Path) -> Teacher:
    """The detector of a folder, in int8 where it has that and no GPU is trained on.

    Raises:
        ModelError: The folder holds no detector.
    """
    precision: Precision = "float32" if trains_on_gpu() else "int8"
    return of_detector(
        SavedModelDetector.load(folder, device="gpu", described=False, precision=precision)
    )


@dataclass(frozen=True, slots=True)
class Lessons:
    """Pictures without boxes that are to be learned from.

    Attributes:
        teacher: Is to look at each, and at its mirror image.
        unboxed: Where they are from.
        pictures: No larger than training needs them.
        faces: Of each, whether it is known to show a face.
        contents: Of each, the SHA-256 of its file, in hexadecimal digits.
        side: Of the training pictures.
        key: Changes when anything in them may, or in their boxes.
        copies: Pictures that were left out, as nearly those that are tuned or reported on.
        judged: Pictures that were left out by their numbers, so that something remains to be
            judged on.
    """

    teacher: Teacher
    unboxed: Sequence[Unboxed]
    pictures: list[Pixels]
    faces: list[bool]
    contents: list[str]
    side: int
    key: str
    copies: int
    judged: int


def collect(
    teacher: Teacher,
    unboxed: Sequence[Unboxed],
    *,
    side: int,
    kept: Kept | None = None,
    left_out: LeftOut | None = None,
) -> Lessons:
    """Read every picture of some folders, in which nothing is looked for yet.

    Args:
        teacher: Is to box each.
        unboxed: The folders.
        side: Of the training pictures; larger pictures are kept twice as large at most.
        kept: What is tuned or reported on and so must not be trained on; what is nearly one of
            these pictures is left out.
        left_out: Told of each picture file that cannot be read.

    Raises:
        AnnotationError: A folder holds no picture to learn from, or the very file of one of those
            in `kept`.
    """
    pictures: list[Pixels] = []
    faces: list[bool] = []
    contents: list[str] = []
    omitted: Counter[str] = Counter()
    digest = hashlib.sha256(f"{teacher.key} {SURE} {DOUBTFUL} {side}".encode())
    for source in unboxed:
        before = len(pictures)
        here: Counter[str] = Counter()
        cut_from = pictures_of_crops(source.folder)
        for path in visible_in(source.folder):
            if path.suffix.lower() not in SUFFIXES:
                continue
            original = cut_from.get(path.relative_to(source.folder).as_posix())
            if for_validation(number_of(original or path)):
                here[_JUDGED] += 1
                continue
            if kept is not None and original is not None and _holds(kept, original):
                here[_COPIES] += 1
                continue
            data = bytes_of(path)
            pixels = decoded(data)
            if pixels is None:
                here[_UNREADABLE] += 1
                if left_out is not None:
                    left_out(str(path))
                continue
            content = hashlib.sha256(data)
            if kept is not None and content.hexdigest() in kept.contents:
                raise AnnotationError(
                    f"{path} is one of the boxed pictures that are kept for tuning and validation;"
                    " take it out of what is trained on."
                )
            if kept is not None and copied(prints_of([pixels]), kept.prints).any():
                here[_COPIES] += 1
                continue
            smaller = scaled(pixels, min(1.0, 2 * side / max(pixels.shape[:2])))
            pictures.append(np.ascontiguousarray(smaller))
            faces.append(source.each_a_face)
            contents.append(content.hexdigest())
            digest.update(content.digest() + bytes([source.each_a_face]))
        if len(pictures) == before:
            raise AnnotationError(_nothing_in(source.folder, here))
        omitted += here
    key = digest.hexdigest()
    copies, judged = omitted[_COPIES], omitted[_JUDGED]
    return Lessons(teacher, unboxed, pictures, faces, contents, side, key, copies, judged)


def _holds(kept: Kept, picture: Path) -> bool:
    """Whether a picture, where it is still there, is one of those."""
    return hashlib.sha256(bytes_of(picture)).hexdigest() in kept.contents


def _nothing_in(folder: Path, omitted: Counter[str]) -> str:
    """Why nothing is learned from a folder, and what to do."""
    if not omitted:
        return f"There is no readable picture in {folder}; give another folder, or none."
    reasons = ", ".join(f"{count:,} {why}" for why, count in omitted.items())
    return (
        f"There is no picture to learn from in {folder}: {reasons}; give another folder, or none."
    )


def teach(lessons: Lessons, cache: Path, told: Progress = lambda done, total: None) -> list[Sample]:
    """Box every picture.

    Args:
        lessons: The pictures. Small ones are shown three quarters as large as training pictures;
            those known to show a face in which none is found for sure are left out.
        cache: File of the boxes; see `core.train.boxes_found`.
        told: Told how many pictures were looked at.

    Raises:
        AnnotationError: All pictures are known to show a face, and in none is one found for sure.
    """
    pictures = lessons.pictures

    def look(numbers: range) -> list[Proposed]:
        return _answers(lessons.teacher.look, [pictures[number] for number in numbers])

    found = boxes_found(look, len(pictures), cache, lessons.key, told)
    samples = []
    for pixels, (boxes, scores), each_a_face in zip(pictures, found, lessons.faces, strict=True):
        if each_a_face and not (scores >= SURE).any():
            continue
        kinds = np.where(scores >= SURE, 1.0, -1.0).astype(np.float32)
        zoom = max(1.0, 0.75 * lessons.side / max(pixels.shape[:2]))
        samples.append(Sample(pixels, boxes, kinds, zoom))
    if not samples:
        names = ", ".join(str(source.folder) for source in lessons.unboxed)
        raise AnnotationError(
            f"The detector is sure of no face in {names}; give it other face crops, or none."
        )
    return samples


def _answers(look: FindBoxes, pictures: Sequence[Pixels]) -> list[Proposed]:
    """Boxes in each picture's pixels, and their scores: the mean of it and its mirror image."""
    straight = look(pictures)
    turned = look([np.ascontiguousarray(pixels[:, ::-1]) for pixels in pictures])
    return [
        _in_picture(_agreed(one, (mirrored(boxes, pixels.shape[1]), scores)), pixels)
        for one, (boxes, scores), pixels in zip(straight, turned, pictures, strict=True)
    ]


def _agreed(one: Proposed, other: Proposed) -> Proposed:
    """The boxes of both, with the means of their scores; what one alone shows has half of it."""
    shared = overlaps(one[0], other[0])
    seconded = np.where(shared >= _SAME, other[1][None], 0.0).max(1, initial=0.0)
    alone = shared.max(0, initial=0.0) < _SAME
    boxes = np.concatenate([one[0], other[0][alone]])
    return boxes, np.concatenate([(one[1] + seconded) / 2, other[1][alone] / 2])


def _in_picture(answer: Proposed, pixels: Pixels) -> Proposed:
    """Boxes of a picture cut at its edges, without those that say nothing."""
    boxes, scores = answer
    height, width = pixels.shape[:2]
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    kept = (scores >= DOUBTFUL) & ((boxes[:, 2:] - boxes[:, :2]) > 1).all(1)
    return boxes[kept].astype(np.float32), scores[kept].astype(np.float32)


_detect = tf.function(
    lambda network, squares, precision: suppressed(*network(squares, precision=precision)),
    reduce_retracing=True,
)
