"""Boxes for pictures that nobody boxed, by a detector that is trained already.

A new detector then learns from its predecessor's sure answers on pictures of many more hands, and
is told nothing where the predecessor was in doubt (Xie et al. 2020, "Self-training with Noisy
Student", arXiv:1911.04252: the changes to the training pictures are the noise).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors import SafetensorError, safe_open

from core.face import Pixels
from core.models.tensorflow_runtime import tf
from core.picture import SUFFIXES
from core.train.copies import copied, prints_of
from core.train.detector_data import Sample, scaled
from core.train.detector_loss import overlaps
from core.train.detector_network import DetectorNetwork, suppressed
from core.train.face_data import LeftOut, bytes_of, decoded, visible_in
from core.train.parts import Kept, for_validation
from core.train.refiner_network import FirstStage, Proposed, proposals
from core.train.session import write_tensors
from core.voc import AnnotationError, number_of

SURE: Final = 0.5
"""Score from which a box is taken for a face."""

DOUBTFUL: Final = 0.15
"""Score below which a box is taken for nothing; between the two nothing is said."""

_SIDE = 256
_BATCH = 16
_GREY = 114
_SAME = 0.5


@dataclass(frozen=True, slots=True)
class Unboxed:
    """A folder of pictures without boxes.

    Attributes:
        folder: Searched with all below it that is not hidden. Pictures whose numbers end in 0 are
            left out, as they are of boxed folders, so that something remains to be judged on.
        each_a_face: Whether every picture is known to show a face, as face crops do; those in
            which none is found for sure are then left out.
    """

    folder: Path
    each_a_face: bool = False


def teach(
    network: DetectorNetwork | FirstStage,
    teacher: str,
    unboxed: Sequence[Unboxed],
    cache: Path,
    *,
    side: int,
    precision: Any = None,
    kept: Kept | None = None,
    left_out: LeftOut | None = None,
) -> tuple[list[Sample], str]:
    """Box every picture of some folders.

    Args:
        network: The detector that looks.
        teacher: What tells it from other detectors, such as a hash of its weights.
        unboxed: The folders.
        cache: File of the boxes; written, and read where the same detector looked at the same
            pictures before.
        side: Of the training pictures; smaller pictures are shown three quarters as large, and
            larger ones are kept twice as large at most.
        precision: Of a `DetectorNetwork`'s convolutions; None: single.
        kept: What is tuned or reported on and so must not be trained on; what is nearly one of
            these pictures is left out.
        left_out: Told of each picture file that cannot be read.

    Returns:
        The pictures with their boxes, and a hash of what was found.

    Raises:
        AnnotationError: The folders hold no readable picture, or only such as are known to show a
            face and in which none is found for sure, or the very file of one of those in `kept`.
    """
    pictures = []
    known_faces = []
    digest = hashlib.sha256(f"{teacher} {SURE} {DOUBTFUL} {_SIDE} {side}".encode())
    for source in unboxed:
        for path in visible_in(source.folder):
            if path.suffix.lower() not in SUFFIXES or for_validation(number_of(path)):
                continue
            data = bytes_of(path)
            pixels = decoded(data)
            if pixels is None:
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
                continue
            smaller = scaled(pixels, min(1.0, 2 * side / max(pixels.shape[:2])))
            pictures.append(np.ascontiguousarray(smaller))
            known_faces.append(source.each_a_face)
            digest.update(content.digest() + bytes([source.each_a_face]))
    names = ", ".join(str(source.folder) for source in unboxed)
    if not pictures:
        raise AnnotationError(f"There is no readable picture in {names}.")
    key = digest.hexdigest()
    found = read_boxes(cache, key)
    if found is None:
        precision = tf.float32 if precision is None else precision
        found = [
            answer
            for start in range(0, len(pictures), _BATCH)
            for answer in _answers(network, pictures[start : start + _BATCH], precision)
        ]
        write_boxes(cache, key, found)
    samples = []
    for pixels, (boxes, scores), each_a_face in zip(pictures, found, known_faces, strict=True):
        if each_a_face and not (scores >= SURE).any():
            continue
        kinds = np.where(scores >= SURE, 1.0, -1.0).astype(np.float32)
        zoom = max(1.0, 0.75 * side / max(pixels.shape[:2]))
        samples.append(Sample(pixels, boxes, kinds, zoom))
    if not samples:
        raise AnnotationError(
            f"The detector is sure of no face in {names}; give it other face crops, or none."
        )
    return samples, key


def _answers(
    network: DetectorNetwork | FirstStage, pictures: Sequence[Pixels], precision: Any
) -> list[Proposed]:
    """Boxes in each picture's pixels, and their scores: the mean of it and its mirror image."""
    squares = np.full((len(pictures), _SIDE, _SIDE, 3), _GREY, np.uint8)
    scales = []
    for row, pixels in enumerate(pictures):
        height, width = pixels.shape[:2]
        shown = scaled(pixels, _SIDE / max(height, width))
        squares[row, : shown.shape[0], : shown.shape[1]] = shown
        scales.append((shown.shape[1] / width, shown.shape[0] / height))
    straight = _look(network, squares, precision)
    mirrored = _look(network, squares[:, :, ::-1], precision)
    return [
        _in_picture(_agreed(one, _turned(other)), scale, pixels)
        for one, other, scale, pixels in zip(straight, mirrored, scales, pictures, strict=True)
    ]


def _turned(answer: Proposed) -> Proposed:
    """What the mirror image of a square shows, in the square itself."""
    boxes, scores = answer
    turned = [_SIDE - boxes[:, 2], boxes[:, 1], _SIDE - boxes[:, 0], boxes[:, 3]]
    return np.stack(turned, 1), scores


def _agreed(one: Proposed, other: Proposed) -> Proposed:
    """The boxes of both, with the means of their scores; what one alone shows has half of it."""
    shared = np.asarray(overlaps(one[0][:, None], other[0][None]))
    shared = shared.reshape(len(one[0]), len(other[0]))
    seconded = np.where(shared >= _SAME, other[1][None], 0.0).max(1, initial=0.0)
    alone = shared.max(0, initial=0.0) < _SAME
    boxes = np.concatenate([one[0], other[0][alone]])
    return boxes, np.concatenate([(one[1] + seconded) / 2, other[1][alone] / 2])


def _in_picture(answer: Proposed, scale: tuple[float, float], pixels: Pixels) -> Proposed:
    """Boxes of a square in pixels of its picture, without those that say nothing."""
    height, width = pixels.shape[:2]
    limits = np.array([width, height, width, height], np.float32)
    boxes = np.clip(answer[0] / np.array([*scale, *scale]), 0, limits)
    sides = boxes[:, 2:] - boxes[:, :2]
    kept = (answer[1] >= DOUBTFUL) & (sides > 1).all(1)
    return boxes[kept].astype(np.float32), answer[1][kept].astype(np.float32)


def _look(network: DetectorNetwork | FirstStage, squares: Pixels, precision: Any) -> list[Proposed]:
    if isinstance(network, FirstStage):
        return proposals(network, squares)
    boxes, scores, _, counts = _detect(network, tf.constant(squares), precision)
    return [
        (box[:count][:, [1, 0, 3, 2]], score[:count])
        for box, score, count in zip(boxes.numpy(), scores.numpy(), counts.numpy(), strict=True)
    ]


_detect = tf.function(
    lambda network, squares, precision: suppressed(*network(squares, precision=precision)),
    reduce_retracing=True,
)


def write_boxes(path: Path, key: str, found: Sequence[Proposed]) -> None:
    """Keep what was found in some pictures, so that a reader never finds half of it."""
    tensors = {
        "boxes": np.concatenate([boxes for boxes, _ in found]),
        "scores": np.concatenate([scores for _, scores in found]),
        "counts": np.array([len(scores) for _, scores in found], np.int64),
    }
    write_tensors(path, tensors, {"key": key})


def read_boxes(path: Path, key: str) -> list[Proposed] | None:
    """What `write_boxes` kept under the same key; None where no file holds all of it."""
    if not path.is_file():
        return None
    # What is kept can be found anew, so that damage is no reason to stop.
    try:
        with safe_open(path, framework="np") as file:
            if file.metadata()["key"] != key:
                return None
            boxes, scores, counts = (file.get_tensor(n) for n in ("boxes", "scores", "counts"))
    except (OSError, SafetensorError, KeyError, TypeError):
        return None
    there = int(counts.sum())
    if boxes.shape != (there, 4) or scores.shape != (there,):
        return None
    ends = np.cumsum(counts)[:-1]
    return list(zip(np.split(boxes, ends), np.split(scores, ends), strict=True))
