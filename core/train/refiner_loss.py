"""What the second look is asked to say, and how far it is from it."""

from __future__ import annotations

from typing import Any

from core.models.tensorflow_runtime import tf
from core.train.detector_loss import Losses, complete_overlaps, overlaps

_NEAR = 0.3
_WRONG = 0.4
_RIGHT = 0.6


def refiner_losses(logits: Any, boxes: Any, places: Any, truths: Any, kinds: Any) -> Losses:
    """Cross-entropy of the moved box being right, and complete IoU of boxes that began near a face.

    A box is right from an overlap of 0.5 on; as a target that is a slope from 0.4 to 0.6, on which
    a box that is hardly right counts as half.

    Args:
        logits: ``(m,)``, as predicted.
        boxes: ``(m, 4)``, as moved.
        places: ``(m, 4)``, as proposed.
        truths: ``(m, f, 4)``, every face of the picture.
        kinds: ``(m, f)``: 1 a face, -1 perhaps one, 0 nothing.
    """
    is_face = tf.cast(kinds > 0.5, tf.float32)
    unsure = tf.cast(kinds < -0.5, tf.float32)
    before = overlaps(places[:, None], truths)
    face = tf.argmax(before * is_face, -1)
    near = tf.cast(tf.reduce_max(before * is_face, -1) > _NEAR, tf.float32)
    missing = 1.0 - complete_overlaps(boxes, tf.gather(truths, face, batch_dims=1))
    box = tf.reduce_sum(missing * near) / tf.maximum(tf.reduce_sum(near), 1.0)
    after = overlaps(tf.stop_gradient(boxes)[:, None], truths)
    reached = tf.reduce_max(after * is_face, -1)
    right = tf.clip_by_value((reached - _WRONG) / (_RIGHT - _WRONG), 0.0, 1.0)
    doubtful = tf.reduce_max(tf.maximum(before, after) * unsure, -1) > _NEAR
    counted = tf.where(doubtful & (right < 0.5), 0.0, 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=right, logits=logits)
    score = tf.reduce_sum(entropy * counted) / tf.maximum(tf.reduce_sum(counted), 1.0)
    return Losses(score + box, score, box)
