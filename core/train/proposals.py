"""What a detector proposes for a second stage to look at."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.models.detector import LEAST_SCORE, SavedModelDetector
from core.models.tensorflow_runtime import Module, tf

Proposed = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes ``(k, 4)`` of a picture, in its pixels, and their scores ``(k,)``."""


class FirstStage(Module):
    """What a trained detector proposes.

    Args:
        detector: Takes pictures of any number and size.
    """

    def __init__(self, detector: SavedModelDetector) -> None:
        super().__init__()
        self.model = detector.model
        self._signature = detector.signature
        ((self._entrance, _),) = detector.signature.structured_input_signature[1].items()
        self._classes = detector.classes

    def __call__(self, pictures: Any) -> tuple[Any, Any]:
        """The proposals for each picture.

        Args:
            pictures: ``(n, height, width, 3)`` uint8.

        Returns:
            Boxes ``(n, k, 4)`` ``[x0, y0, x1, y1]`` in pixels and scores ``(n, k)``, highest first;
            a score of 0 says that there is no proposal.
        """
        found = self._signature(**{self._entrance: pictures})
        scores = tf.cast(found["detection_scores"], tf.float32)
        rank = tf.range(tf.shape(scores)[1])
        counted = rank < tf.cast(found["num_detections"], tf.int32)[:, None]
        counted &= scores >= LEAST_SCORE
        if self._classes is not None:
            classes = tf.cast(found["detection_classes"], tf.int32)[..., None]
            counted &= tf.reduce_any(classes == list(self._classes), -1)
        scores, best = tf.math.top_k(tf.where(counted, scores, 0.0), tf.shape(scores)[1])
        boxes = tf.gather(found["detection_boxes"], best, batch_dims=1)
        size = tf.cast(tf.shape(pictures)[1:3], tf.float32)
        extent = tf.concat([size[::-1], size[::-1]], 0)
        return tf.gather(boxes, [1, 0, 3, 2], axis=-1) * extent, scores


def proposals(first: FirstStage, pictures: Pixels) -> list[Proposed]:
    """What the first stage proposes in pictures of one size, ``(n, height, width, 3)``."""
    boxes, scores = _propose(first, tf.constant(pictures))
    return [
        (box[score > 0], score[score > 0])
        for box, score in zip(boxes.numpy(), scores.numpy(), strict=True)
    ]


_propose = tf.function(lambda first, pictures: first(pictures), reduce_retracing=True)


def logits_of(scores: Any) -> Any:
    """Logits of scores, within 1e-6 of 0 and 1."""
    likely = tf.clip_by_value(scores, 1e-6, 1.0 - 1e-6)
    return tf.math.log(likely) - tf.math.log1p(-likely)
