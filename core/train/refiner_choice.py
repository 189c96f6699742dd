"""How both stages' answers become one, chosen on pictures that nothing was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from core.average_precision import average_precision, claims
from core.face import Face, Pixels
from core.models.detector import faces_of, letterboxed
from core.models.tensorflow_runtime import tf
from core.train.boxes_found import Proposed
from core.train.detector_choice import UNCHOSEN, Operation
from core.train.detector_export import PLACES
from core.train.detector_network import suppressed
from core.train.detector_sample import Sample
from core.train.refiner_network import (
    Agreement,
    FirstStage,
    RefinerNetwork,
    agreed,
    proposals,
    second_look,
)

AGREEMENTS = tuple(Agreement(first / 10, way) for way in (1.0, 0.75, 0.5) for first in range(0, 8))
"""What is tried."""

FIRST_ALONE = Agreement(1.0, 0.0)
"""As if there were no second stage."""

MOST_FALSE = 0.09
"""In so many of the windows without a face there may be a box at or above the threshold. They are
cut from beside faces, and have one about twice as often as whole pictures without a face:
docs/training-log/detector.md has both figures."""

LEAST_THRESHOLD = 0.15
"""Where hardly anything is proposed in the windows, any score would be quiet in them, and in other
pictures every box a face."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A picture with what both stages say about it, in pixels of the picture as it was looked at.

    Attributes:
        pixels: Letterboxed.
        size: Height and width of what is the picture's own in them.
        truths: ``(n, 4)``.
        proposed: Boxes ``(k, 4)`` and scores ``(k,)`` of the first stage.
        moved: Boxes ``(k, 4)`` of the second stage.
        logits: ``(k,)`` of the second stage.
    """

    pixels: Pixels
    size: tuple[int, int]
    truths: NDArray[np.float32]
    proposed: Proposed
    moved: NDArray[np.float32]
    logits: NDArray[np.float32]


def looked_at(samples: Sequence[Sample], first: FirstStage, longest: int) -> list[Looked]:
    """Look at pictures with the first stage alone; the second has nothing to add yet."""
    found = []
    for sample in samples:
        pixels, scale = letterboxed(sample.pixels, longest)
        height, width = sample.pixels.shape[:2]
        size = (round(height * float(scale[1])), round(width * float(scale[0])))
        ((boxes, scores),) = proposals(first, pixels[None])
        nothing = np.zeros_like(scores)
        found.append(Looked(pixels, size, sample.boxes * scale, (boxes, scores), boxes, nothing))
    return found


def looked_again(pictures: Sequence[Looked], network: RefinerNetwork) -> list[Looked]:
    """The same with what a second stage says to the proposals of the first."""
    found = []
    for picture in pictures:
        boxes, scores = (tf.constant(each[None]) for each in picture.proposed)
        moved, logits = _look_again(network, tf.constant(picture.pixels[None]), boxes, scores)
        found.append(replace(picture, moved=moved.numpy()[0], logits=logits.numpy()[0]))
    return found


_look_again = tf.function(second_look, reduce_retracing=True)


def faces_of_both(looked: Looked, agreement: Agreement) -> tuple[Face, ...]:
    """The faces of a picture, most confident first."""
    boxes, scores = (tf.constant(each[None]) for each in looked.proposed)
    again = (tf.constant(looked.moved[None]), tf.constant(looked.logits[None]))
    boxes, scores, _, count = suppressed(*agreed((boxes, scores), again, agreement))
    kept = int(count[0])
    return faces_of(boxes.numpy()[0][:kept, [1, 0, 3, 2]], scores.numpy()[0][:kept], *looked.size)


def precision_of_both(pictures: Sequence[Looked], agreement: Agreement) -> float:
    """Average precision of both stages together at IoU 0.5, 0..1."""
    found = [faces_of_both(each, agreement) for each in pictures]
    return average_precision(found, [each.truths for each in pictures])


@dataclass(frozen=True, slots=True)
class Choice(Operation):
    """What was chosen, and what it gives; None where there are no pictures to say so.

    Attributes:
        agreement: Of both stages.
        average_precision: On the pictures with faces, at IoU 0.5.
        found: Share of the pictures with faces in which there is a box at or above the threshold.
    """

    agreement: Agreement
    average_precision: float | None
    found: float | None


def choose(pictures: Sequence[Looked], empty: Sequence[Looked]) -> Choice:
    """The agreement with the highest average precision, and the lowest threshold that is quiet.

    Average precision is taken over both kinds of pictures together, so that boxes where there is no
    face count. Of the pictures without a face, no more than `MOST_FALSE` may have a box; the
    threshold is never below `LEAST_THRESHOLD`.

    Args:
        pictures: With faces.
        empty: Without.
    """
    if not pictures:
        return Choice(UNCHOSEN, None, None, None, Agreement(0.5, 0.75), None, None)
    everything = [*pictures, *empty]
    agreement = max(AGREEMENTS, key=lambda each: precision_of_both(everything, each))
    found = [faces_of_both(each, agreement) for each in pictures]
    highest = sorted((_highest(faces_of_both(each, agreement)) for each in empty), reverse=True)
    allowed = int(MOST_FALSE * len(empty))
    threshold = UNCHOSEN
    if empty:
        parts = 10**PLACES
        quiet = (int(highest[allowed] * parts) + 1) / parts
        threshold = min(1.0, max(LEAST_THRESHOLD, quiet))
    truths = [each.truths for each in pictures]
    kept = [
        right
        for faces, boxes in zip(found, truths, strict=True)
        for score, right in claims(faces, boxes)
        if score >= threshold
    ]
    return Choice(
        threshold=threshold,
        precision=sum(kept) / len(kept) if kept else None,
        recall=sum(kept) / sum(len(boxes) for boxes in truths),
        false=float(np.mean([score >= threshold for score in highest])) if empty else None,
        agreement=agreement,
        average_precision=average_precision(found, truths),
        found=float(np.mean([_highest(faces) >= threshold for faces in found])),
    )


def _highest(faces: Sequence[Face]) -> float:
    return max((face.score for face in faces), default=0.0)
