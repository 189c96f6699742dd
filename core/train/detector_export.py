"""Trained networks as a SavedModel that any user of the Object Detection API can run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from core.models.tensorflow_runtime import Module, tf
from core.train.detector_network import DetectorNetwork, suppressed
from core.train.refiner_network import (
    Agreement,
    FirstStage,
    RefinerNetwork,
    agreed,
    second_look,
)

_MULTIPLE = 32
_GREY = 114
_ENTERING = tf.TensorSpec([None, None, None, 3], tf.uint8, name="input_tensor")


def _signature(network: DetectorNetwork, longest: int) -> Any:
    """The whole way from pictures of any size to boxes, in one graph."""
    constant = network.folded()

    def look(input_tensor: Any) -> dict[str, Any]:
        pictures = _scaled(input_tensor, longest)
        inner = tf.shape(pictures)[1:3]
        rest = -inner % _MULTIPLE
        padded = tf.pad(
            pictures, [[0, 0], [0, rest[0]], [0, rest[1]], [0, 0]], constant_values=_GREY
        )
        boxes, scores, classes, count = suppressed(*constant(padded))
        return _answer(boxes, scores, classes, count, inner)

    return tf.function(look, input_signature=[_ENTERING])


def _signature_of_both(
    first: FirstStage, network: RefinerNetwork, agreement: Agreement, longest: int
) -> Any:
    """The same of a detector and a second look at what it proposes."""
    constant = network.folded()

    def look(input_tensor: Any) -> dict[str, Any]:
        pictures = tf.cast(tf.round(_scaled(input_tensor, longest)), tf.uint8)
        proposed = first(pictures)
        again = second_look(constant, pictures, *proposed)
        kept = suppressed(*agreed(proposed, again, agreement))
        return _answer(*kept, tf.shape(pictures)[1:3])

    return tf.function(look, input_signature=[_ENTERING])


def _scaled(pictures: Any, longest: int) -> Any:
    """Pictures in single precision, with a longer side of `longest` pixels."""
    size = tf.shape(pictures)[1:3]
    longer = tf.reduce_max(size)
    scale = tf.cast(longest, tf.float32) / tf.cast(longer, tf.float32)
    inner = tf.maximum(1, tf.cast(tf.round(tf.cast(size, tf.float32) * scale), tf.int32))
    return tf.cond(
        tf.equal(longer, longest),
        lambda: tf.cast(pictures, tf.float32),
        lambda: tf.image.resize(pictures, inner, antialias=True),
    )


def _answer(boxes: Any, scores: Any, classes: Any, count: Any, size: Any) -> dict[str, Any]:
    """The signature's results, of boxes in pixels of pictures of one size."""
    extent = tf.cast(tf.concat([size, size], 0), tf.float32)
    return {
        "detection_boxes": tf.clip_by_value(boxes / extent, 0.0, 1.0),
        "detection_scores": scores,
        # Class 0 is the background by the API's custom.
        "detection_classes": classes + 1.0,
        "num_detections": tf.cast(count, tf.float32),
    }


def export(network: DetectorNetwork, folder: Path, longest: int, threshold: float) -> None:
    """Write ``saved_model/`` and ``detector.json`` into `folder`, in place of what is there.

    Args:
        network: With the weights to ship; kernels are stored in half precision.
        folder: Made if it is missing; other files in it stay.
        longest: The picture's longest side as the network wants to see it, in pixels.
        threshold: Score from which a box counts as a face, 0..1.
    """
    _write(Module(), _signature(network, longest), folder, longest, threshold)


def export_both(
    first: FirstStage,
    network: RefinerNetwork,
    folder: Path,
    *,
    agreement: Agreement,
    longest: int,
    threshold: float,
) -> None:
    """The same of a detector and a second look at what it proposes, as one detector.

    Args:
        first: The detector.
        network: Looks again; its kernels are stored in half precision.
        folder: Made if it is missing; other files in it stay.
        agreement: Of the two.
        longest: The picture's longest side as the detector wants to see it, in pixels.
        threshold: Score from which a box counts as a face, 0..1.
    """
    holder = Module()
    holder.first = first  # a detector from elsewhere may have variables
    _write(
        holder, _signature_of_both(first, network, agreement, longest), folder, longest, threshold
    )


def _write(holder: Module, look: Any, folder: Path, longest: int, threshold: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "saved_model.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    # A trained network is no part of the module that is saved: its variables would be saved with
    # it, beside the constants that they have become.
    tf.saved_model.save(holder, str(fresh), signatures={"serving_default": look})
    # The fingerprint changes with each export of the same weights, and nothing needs it.
    (fresh / "fingerprint.pb").unlink(missing_ok=True)
    shutil.rmtree(folder / "saved_model", ignore_errors=True)
    os.replace(fresh, folder / "saved_model")
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "saved_model").rglob("*"))
        if path.is_file()
    }
    description = {"threshold": round(threshold, 4), "longest": longest, "files": files}
    partial = folder / "detector.json.partial"
    partial.write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / "detector.json")
