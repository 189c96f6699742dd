"""What the detector is asked to say, and how far it is from it.

Which cells should answer for a face is decided anew at each step, by how well they do already:
task-aligned assignment (Feng et al., 2021, "TOOD", 3.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.models.tensorflow_runtime import tf
from core.train.detector_network import Cells

_CANDIDATES = 10
_SCORE_POWER = 0.5
_OVERLAP_POWER = 6.0
_BOX_WEIGHT = 5.0
_TINY = 1e-9


class Losses(NamedTuple):
    """Scalars; `total` is what training minimises."""

    total: Any
    score: Any
    box: Any


def overlaps(a: Any, b: Any) -> Any:
    """Intersection over union of boxes ``(..., 4)`` against ``(..., 4)``, broadcast, 0..1."""
    low = tf.maximum(a[..., :2], b[..., :2])
    high = tf.minimum(a[..., 2:], b[..., 2:])
    sides = tf.maximum(high - low, 0.0)
    shared = sides[..., 0] * sides[..., 1]
    return shared / (_area(a) + _area(b) - shared + _TINY)


def complete_overlaps(a: Any, b: Any) -> Any:
    """Complete IoU of paired boxes (Zheng et al., 2020, "Distance-IoU Loss"), at most 1."""
    overlap = overlaps(a, b)
    sides = tf.maximum(a[..., 2:], b[..., 2:]) - tf.minimum(a[..., :2], b[..., :2])
    diagonal = tf.reduce_sum(sides * sides, -1) + _TINY
    shift = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = tf.reduce_sum(shift * shift, -1) / diagonal
    shape_a = a[..., 2:] - a[..., :2]
    shape_b = b[..., 2:] - b[..., :2]
    angle = tf.atan2(shape_b[..., 0], shape_b[..., 1]) - tf.atan2(shape_a[..., 0], shape_a[..., 1])
    aspect = (2.0 / 3.141592653589793 * angle) ** 2
    weight = tf.stop_gradient(aspect / (1.0 - overlap + aspect + _TINY))
    return overlap - distance - weight * aspect


class Assignment(NamedTuple):
    """What each cell is asked for.

    Attributes:
        score: ``(n, cells)``, 0 where no face is to be seen, else how good the cell may call it.
        box: ``(n, cells, 4)``, meaningful where `score` is above 0.
        counted: ``(n, cells)``, 0 where the picture does not say whether there is a face.
    """

    score: Any
    box: Any
    counted: Any


def assign(logits: Any, boxes: Any, truths: Any, kinds: Any, cells: Cells) -> Assignment:
    """Share the faces out among the cells.

    Args:
        logits: ``(n, cells)``, as predicted.
        boxes: ``(n, cells, 4)``, as predicted.
        truths: ``(n, m, 4)``.
        kinds: ``(n, m)``: 1 a face, -1 cut off or too small to tell, 0 nothing.
        cells: Where the answers stand.
    """
    is_face = tf.cast(kinds > 0.5, tf.float32)[..., None]
    # A face smaller than a cell may hold no centre at all; it is widened to hold some.
    middle = (truths[..., :2] + truths[..., 2:]) / 2
    half = (truths[..., 2:] - truths[..., :2]) / 2
    reach = tf.maximum(half[:, :, None, :], cells.strides[None, None, :, None] * 0.75)
    inside = tf.reduce_all(
        tf.abs(cells.centres[None, None] - middle[:, :, None, :]) < reach, axis=-1
    )
    inside_f = tf.cast(inside, tf.float32) * is_face
    overlap = overlaps(truths[:, :, None, :], boxes[:, None, :, :]) * inside_f
    score = tf.sigmoid(logits)[:, None, :]
    metric = tf.pow(score, _SCORE_POWER) * tf.pow(overlap, _OVERLAP_POWER)
    # Nearness breaks ties, so that a face nobody overlaps yet still gets its central cells.
    offset = (cells.centres[None, None] - middle[:, :, None, :]) / reach
    nearness = tf.exp(-tf.reduce_sum(offset * offset, -1)) * 1e-8
    ranked = (metric + nearness) * inside_f
    best, _ = tf.math.top_k(ranked, _CANDIDATES)
    chosen = tf.cast((ranked >= best[..., -1:]) & (ranked > 0), tf.float32)
    # A cell that several faces want goes to the one it overlaps most.
    claim = chosen * (overlap + 1e-6 * ranked + _TINY)
    winner = tf.argmax(claim, axis=1)
    chosen *= tf.transpose(tf.one_hot(winner, tf.shape(truths)[1], dtype=tf.float32), [0, 2, 1])
    kept = metric * chosen
    top_metric = tf.reduce_max(kept, -1, keepdims=True)
    top_overlap = tf.reduce_max(overlap * chosen, -1, keepdims=True)
    # The floor gives a face that is hardly hit yet a signal to start from.
    target = chosen * tf.maximum(kept / (top_metric + _TINY) * top_overlap, 0.05)
    taken = tf.reduce_max(target, axis=1)
    box = tf.gather(truths, winner, batch_dims=1)
    unsure = tf.cast(kinds < -0.5, tf.float32)[..., None] * tf.cast(inside, tf.float32)
    counted = tf.where(taken > 0, 1.0, 1.0 - tf.reduce_max(unsure, axis=1))
    return Assignment(tf.stop_gradient(taken), tf.stop_gradient(box), tf.stop_gradient(counted))


def detection_losses(logits: Any, boxes: Any, wanted: Assignment) -> Losses:
    """Cross-entropy with the overlap as its target, and complete IoU of the answering cells."""
    total = tf.maximum(tf.reduce_sum(wanted.score), 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=wanted.score, logits=logits)
    score = tf.reduce_sum(entropy * wanted.counted) / total
    missing = (1.0 - complete_overlaps(boxes, wanted.box)) * wanted.score
    box = tf.reduce_sum(tf.where(wanted.score > 0, missing, 0.0)) / total
    return Losses(score + _BOX_WEIGHT * box, score, box)


def _area(boxes: Any) -> Any:
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 0.0)
    return sides[..., 0] * sides[..., 1]
