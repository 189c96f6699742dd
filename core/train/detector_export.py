"""Trained networks as a SavedModel that any user of the Object Detection API can run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from core.face import Pixels
from core.files import write_text
from core.models.detector import GREY, Description, letterboxed
from core.models.quantised import FOLDER as INT8
from core.models.quantised import PICTURES, SQUARES, after, network_path
from core.models.tensorflow_runtime import Module, tf
from core.train.detector_network import STRIDES, DetectorNetwork, suppressed
from core.train.detector_sample import Sample
from core.train.onnx_of_tensorflow import of_tensorflow
from core.train.quantise import quantised
from core.train.refiner_network import (
    CELLS,
    SIDE,
    Agreement,
    FirstStage,
    RefinerNetwork,
    agreed,
    places_to_look,
    put_back,
    second_look,
)
from core.train.spread import all_over

PLACES: Final = 4
"""After the point, to which a threshold is kept."""

_MULTIPLE = 32
_EXAMPLES = 64
_MOST_EXAMPLES = 128
_ENTERING = tf.TensorSpec([None, None, None, 3], tf.uint8, name=PICTURES)
_ENTERING_AGAIN = {
    "size": tf.TensorSpec([2], tf.int32),
    "boxes": tf.TensorSpec([None, None, 4], tf.float32),
    "scores": tf.TensorSpec([None, None], tf.float32),
    "there": tf.TensorSpec([None, 2], tf.int32),
    "proposed": tf.TensorSpec([None, 4], tf.float32),
}


def _signatures(network: DetectorNetwork, longest: int) -> dict[str, Any]:
    """The whole way from pictures of any size to boxes in one graph, and what follows the
    network's towers."""

    def look(input_tensor: Any) -> dict[str, Any]:
        pictures = _scaled(input_tensor, longest)
        inner = tf.shape(pictures)[1:3]
        rest = -inner % _MULTIPLE
        padded = tf.pad(
            pictures, [[0, 0], [0, rest[0]], [0, rest[1]], [0, 0]], constant_values=GREY
        )
        return _answer(*suppressed(*network(padded)), inner)

    def after_towers(**towers: Any) -> dict[str, Any]:
        maps = [towers[name] for name in sorted(towers)]
        size = tf.shape(maps[0])[1:3] * STRIDES[0]
        return _answer(*suppressed(*network.answers(maps)), size)

    channels = [tower.kernel.shape[-1] for head in network.heads for tower in (head[0], head[2])]
    maps = {
        _tower(number): tf.TensorSpec([None, None, None, count], tf.float32)
        for number, count in enumerate(channels)
    }
    return {
        "serving_default": tf.function(look, input_signature=[_ENTERING]),
        after(1): tf.function(after_towers).get_concrete_function(**maps),
    }


def _signatures_of_both(
    first: FirstStage, network: RefinerNetwork, agreement: Agreement, longest: int
) -> dict[str, Any]:
    """The same of a detector and a second look at what it proposes."""

    def look(input_tensor: Any) -> dict[str, Any]:
        pictures = tf.cast(tf.round(_scaled(input_tensor, longest)), tf.uint8)
        proposed = first(pictures)
        again = second_look(network, pictures, *proposed)
        kept = suppressed(*agreed(proposed, again, agreement))
        return _answer(*kept, tf.shape(pictures)[1:3])

    signatures = {"serving_default": tf.function(look, input_signature=[_ENTERING])}
    after_first = first.after
    if after_first is None:
        return signatures

    def after_towers(input_tensor: Any, **towers: Any) -> dict[str, Any]:
        size = tf.shape(input_tensor)[1:3]
        boxes, scores = first.chosen(after_first(**towers), size)
        places = places_to_look(input_tensor, boxes, scores)
        return {
            "size": size,
            "boxes": boxes,
            "scores": scores,
            "there": places.there,
            "proposed": places.proposed,
            SQUARES: places.squares,
        }

    def after_features(features: Any, **known: Any) -> dict[str, Any]:
        proposed = known["boxes"], known["scores"]
        answers = network.judged(features, known["proposed"])
        again = put_back(proposed, known["there"], known["proposed"], answers)
        return _answer(*suppressed(*agreed(proposed, again, agreement)), known["size"])

    towers = after_first.structured_input_signature[1]
    features = tf.TensorSpec([None, CELLS, CELLS, network.narrow.kernel.shape[-1]], tf.float32)
    return signatures | {
        after(1): tf.function(after_towers).get_concrete_function(input_tensor=_ENTERING, **towers),
        after(2): tf.function(after_features).get_concrete_function(
            **_ENTERING_AGAIN, features=features
        ),
    }


def _tower(number: int) -> str:
    return f"tower_{number}"


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


def export(
    network: DetectorNetwork,
    folder: Path,
    longest: int,
    threshold: float,
    examples: Sequence[Pixels] = (),
) -> None:
    """Write a detector into `folder`, in place of what is there.

    Args:
        network: With the weights to ship; kernels are stored in half precision.
        folder: Made if it is missing; other files in it stay.
        longest: The picture's longest side as the network wants to see it, in pixels.
        threshold: Score from which a box counts as a face, 0..1.
        examples: Pictures to bring the network to int8 by, ``(height, width, 3)``; none: only in
            single precision.
    """
    constant = network.folded()
    networks = []
    if examples:
        seen = [letterboxed(picture, longest)[0] for picture in examples]

        def look(pictures: Any) -> dict[str, Any]:
            return {_tower(number): it for number, it in enumerate(constant.towers(pictures))}

        networks = [quantised(of_tensorflow(look, PICTURES), seen)]
    signatures = _signatures(constant, longest)
    _write(
        Module(), signatures, networks, folder, Description(threshold=threshold, longest=longest)
    )


def export_both(
    first: FirstStage,
    network: RefinerNetwork,
    folder: Path,
    *,
    agreement: Agreement,
    longest: int,
    threshold: float,
    examples: Sequence[Pixels] = (),
) -> None:
    """The same of a detector and a second look at what it proposes, as one detector.

    Args:
        first: The detector. Both stages are in int8 where it is, as one network.
        network: Looks again; its kernels are stored in half precision.
        folder: Made if it is missing; other files in it stay.
        agreement: Of the two.
        longest: The picture's longest side as the detector wants to see it, in pixels.
        threshold: Score from which a box counts as a face, 0..1.
        examples: As for `export`; in single precision alone, too, where nothing is proposed in
            them.
    """
    constant = network.folded()
    networks = []
    if first.after is not None and first.network is not None and examples:
        squares = _squares_in(first, [letterboxed(picture, longest)[0] for picture in examples])

        def look(pictures: Any) -> dict[str, Any]:
            return {"features": constant.features(pictures)}

        if squares:
            again = of_tensorflow(look, SQUARES, SIDE)
            networks = [first.network, quantised(again, all_over(squares, _MOST_EXAMPLES))]
    holder = Module()
    holder.first = first  # a detector from elsewhere may have variables
    signatures = _signatures_of_both(first, constant, agreement, longest)
    description = Description(threshold=threshold, longest=longest)
    _write(holder, signatures, networks, folder, description)


def _squares_in(first: FirstStage, pictures: Sequence[Pixels]) -> list[Pixels]:
    """What the second stage looks at in some pictures."""
    found: list[Pixels] = []
    for picture in pictures:
        boxes, scores = first(tf.constant(picture[None]))
        found += list(places_to_look(picture[None], boxes, scores).squares.numpy())
    return found


def _write(
    holder: Module,
    signatures: dict[str, Any],
    networks: Sequence[bytes],
    folder: Path,
    description: Description,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / "saved_model.partial"
    shutil.rmtree(fresh, ignore_errors=True)
    # A trained network is no part of the module that is saved: its variables would be saved with
    # it, beside the constants that they have become.
    tf.saved_model.save(holder, str(fresh), signatures=signatures)
    # The fingerprint changes with each export of the same weights, and nothing needs it.
    (fresh / "fingerprint.pb").unlink(missing_ok=True)
    shutil.rmtree(folder / "saved_model", ignore_errors=True)
    os.replace(fresh, folder / "saved_model")
    shutil.rmtree(folder / INT8, ignore_errors=True)
    if networks:
        (folder / INT8).mkdir()
    for number, content in enumerate(networks, start=1):
        network_path(folder, number).write_bytes(content)
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for within in ("saved_model", INT8)
        for path in sorted((folder / within).rglob("*"))
        if path.is_file()
    }
    told = {
        "threshold": round(description.threshold, PLACES),
        "longest": description.longest,
        "files": files,
    }
    write_text(folder / "detector.json", json.dumps(told, indent=2) + "\n")


def examples_of(samples: Sequence[Sample]) -> list[Pixels]:
    """What `export` and `export_both` take as examples: some pictures from all over."""
    return [sample.pixels for sample in all_over(samples, _EXAMPLES)]
