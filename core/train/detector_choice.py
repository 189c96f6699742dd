"""What a detector finds in boxed pictures, and the score from which its boxes count."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from core.average_precision import average_precision, claims
from core.evaluate_detector import evaluate_boxed
from core.face import Face
from core.models.detector import GREY, SavedModelDetector, faces_of
from core.models.tensorflow_runtime import tf
from core.train.detector_export import PLACES
from core.train.detector_network import DetectorNetwork, suppressed
from core.train.detector_sample import Sample
from core.voc import Annotation

UNCHOSEN: Final = 0.3
"""The threshold where no face is found by which to choose one."""

_MISSED = 4
"""How many boxes too many a missed face counts, in the choice of the threshold."""


def score(network: DetectorNetwork, samples: Sequence[Sample]) -> float | None:
    """Average precision of a network on pictures at IoU 0.5, 0..1; None where they have no box."""
    if not any(len(sample.boxes) for sample in samples):
        return None
    found = [faces_in(network, sample.pixels) for sample in samples]
    return average_precision(found, [sample.boxes for sample in samples])


def exported_score(folder: Path, annotations: Sequence[Annotation]) -> float | None:
    """Average precision of a detector's folder at IoU 0.5, 0..1, as it runs: in int8
    where it has that.

    None where the pictures have no box.
    """
    if not any(len(annotation.boxes) for annotation in annotations):
        return None
    # Where a GPU trained, it is in use and cannot be given back.
    detector = SavedModelDetector.load(folder, "gpu", precision="int8")
    return evaluate_boxed(annotations, detector)[0].average_precision


@dataclass(frozen=True, slots=True)
class Operation:
    """A score from which boxes count as faces, and what it gives.

    Attributes:
        threshold: The score.
        precision: Of the boxes on the tuning pictures, at IoU 0.5; None without such pictures.
        recall: The same.
        false: Share of the windows without faces in which there is a box; None without windows.
    """

    threshold: float
    precision: float | None
    recall: float | None
    false: float | None


def choose_threshold(
    network: DetectorNetwork,
    samples: Sequence[Sample],
    empty: Sequence[Sample] = (),
) -> Operation:
    """The score from which boxes are right most often and miss least: the highest F2.

    F2 counts a missed face four times as much as a box too many: the one costs a picture its
    character, the other a row of the index. Boxes in pictures without a face are wrong ones, too.

    Args:
        network: To choose for.
        samples: Pictures that nothing was trained on and nothing is reported on.
        empty: The same, without any face.
    """
    wanted = sum(len(sample.boxes) for sample in samples)
    in_samples = [
        claim
        for sample in samples
        for claim in claims(faces_in(network, sample.pixels), sample.boxes)
    ]
    in_empty = [[face.score for face in faces_in(network, each.pixels)] for each in empty]
    claimed = in_samples + [(score, False) for scores in in_empty for score in scores]
    claimed.sort(key=lambda claim: -claim[0])
    threshold, best, hits = UNCHOSEN, 0.0, 0
    for count, (confidence, right) in enumerate(claimed, start=1):
        hits += right
        if hits / (count + _MISSED * wanted) > best:
            threshold, best = confidence, hits / (count + _MISSED * wanted)
    if not best:
        return Operation(UNCHOSEN, None, None, None)
    # Rounded up, as half of all are to the nearest place, it would lose the box it was chosen at.
    threshold = math.floor(threshold * 10**PLACES) / 10**PLACES
    kept = [right for confidence, right in in_samples if confidence >= threshold]
    return Operation(
        threshold,
        sum(kept) / len(kept),
        sum(kept) / wanted,
        float(np.mean([max(each, default=0.0) >= threshold for each in in_empty]))
        if in_empty
        else None,
    )


def faces_in(network: DetectorNetwork, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
    """What a network sees in one picture, most confident first."""
    height, width = pixels.shape[:2]
    padded = cv2.copyMakeBorder(
        pixels, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY)
    )
    boxes, scores, _, count = _detect(network, tf.constant(padded[None]))
    kept = int(count[0])
    return faces_of(boxes.numpy()[0][:kept, [1, 0, 3, 2]], scores.numpy()[0][:kept], height, width)


_detect = tf.function(
    lambda network, pictures: suppressed(*network(pictures)), reduce_retracing=True
)
