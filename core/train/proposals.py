"""What is proposed for a second stage to look at, by one detector or, in doubt, by two.

Most pictures are easy: one look answers them. Another network is asked only about those of which
the first is in doubt (the early exit of Teerapittayanon et al., 2016, "BranchyNet",
arXiv:1709.01686), and is shown their mirror images, so that it does not err in the same way. Boxes
that both propose become one, as in Solovyev et al., 2019, "Weighted boxes fusion",
arXiv:1910.13302.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.models.detector import LEAST_SCORE, SavedModelDetector
from core.models.tensorflow_runtime import Module, tf
from core.train.detector_loss import overlaps
from core.train.detector_network import LARGEST_OVERLAP, suppressed

SURE = 0.6
"""Score from which a detector is sure of a face."""

UNLIKELY = 0.1
"""Score below which it is sure that there is none."""

_NOT_PROPOSED = -5.0
"""Logit of what a detector does not propose: a little below that of the least it does."""

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


class FurtherLook(Module):
    """A detector, and another that looks at the mirror images of what the first is in doubt of.

    Args:
        first: Looks at every picture.
        further: Looks at some; may see pictures in another size.
    """

    def __init__(self, first: FirstStage, further: FirstStage) -> None:
        super().__init__()
        self.first = first
        self.further = further

    def __call__(self, pictures: Any) -> tuple[Any, Any]:
        """The proposals for each picture, as those of a `FirstStage`."""
        boxes, scores = self.first(pictures)
        doubted = tf.where(in_doubt(scores))
        mirrored = tf.gather_nd(tf.reverse(pictures, [2]), doubted)
        other, seconded = self.further(mirrored)
        width = tf.cast(tf.shape(pictures)[2], tf.float32)
        x0, y0, x1, y1 = tf.unstack(other, axis=-1)
        other = tf.stack([width - x1, y0, width - x0, y1], -1)
        own = (tf.gather_nd(boxes, doubted), tf.gather_nd(scores, doubted))
        both = joined(own, (other, seconded))
        return (
            tf.tensor_scatter_nd_update(boxes, doubted, both[0]),
            tf.tensor_scatter_nd_update(scores, doubted, both[1]),
        )


Proposer = FirstStage | FurtherLook


def in_doubt(scores: Any) -> Any:
    """Whether a detector does not know, of each picture ``(n,)``.

    It knows where it is sure of one face, and of everything else that it proposes either sure or
    sure that it is none.

    Args:
        scores: Of its proposals, ``(n, k)``.
    """
    sure = scores >= SURE
    return tf.reduce_any((scores >= UNLIKELY) & ~sure, -1) | ~tf.reduce_any(sure, -1)


def joined(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """What two detectors propose as one list.

    A box's logit is the mean of both detectors', its place the mean of both places by their scores.

    Args:
        one: Boxes ``(n, k, 4)`` in pixels and scores ``(n, k)``, 0 where there is no proposal.
        other: The same, with any number of proposals.

    Returns:
        The same, as many as `one` has, highest scores first.
    """
    boxes, logits = (
        tf.concat(each, 1)
        for each in zip(_seconded(one, other), _seconded(other, one), strict=True)
    )
    kept, scores, _, _ = suppressed(logits, boxes, tf.shape(one[1])[1])
    return tf.gather(kept, [1, 0, 3, 2], axis=-1), scores


def _seconded(own: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    """Boxes and logits of one detector's proposals, with what the other says to each."""
    (boxes, scores), (places, votes) = own, other
    same = overlaps(boxes[:, :, None], places[:, None]) >= LARGEST_OVERLAP
    votes_here = tf.where(same, votes[:, None], 0.0)
    best = tf.argmax(votes_here, -1)
    vote = tf.reduce_max(votes_here, -1)
    share = (vote / tf.maximum(vote + scores, 1e-6))[..., None]
    mean = boxes + share * (tf.gather(places, best, batch_dims=1) - boxes)
    seconded = tf.where(vote > 0, logits_of(vote), _NOT_PROPOSED)
    return mean, (logits_of(scores) + seconded) / 2


def proposals(first: Proposer, pictures: Pixels) -> list[Proposed]:
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
