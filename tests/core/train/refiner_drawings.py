"""Drawn pictures for a second look, and a first stage that proposes everything bright in them."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from core.models.tensorflow_runtime import Module, tf

SIDE = 96
_HALF = 12


def drawn(generator: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A picture with a face, which is a square with eyes, at the left or right, and a disc.

    Returns:
        ``(64, 96, 3)`` RGB, and the face's box.
    """
    pixels = np.full((64, SIDE, 3), 60, np.uint8)
    places = [24, 72]
    generator.shuffle(places)
    x, other = (int(each + generator.integers(-5, 6)) for each in places)
    y, level = (int(each) for each in generator.integers(20, 44, 2))
    x0, y0, x1, y1 = x - _HALF, y - _HALF, x + _HALF, y + _HALF
    pixels[y0:y1, x0:x1] = 230
    pixels[y - 5 : y - 1, x - 7 : x - 3] = pixels[y - 5 : y - 1, x + 3 : x + 7] = 0
    cv2.circle(pixels, (other, level), _HALF, (230, 230, 230), -1)
    return pixels, [x0, y0, x1, y1]


def write_pictures(folder: Path, count: int) -> Path:
    """Pictures 1, 2, ... as `drawn` makes them, with LabelImg's files."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    for number in range(1, count + 1):
        pixels, box = drawn(generator)
        # On grounds of their own, or some would be taken for copies of others.
        ground = np.random.default_rng(number).integers(50, 71, (4, 6, 3), np.uint8)
        pixels = np.where(pixels == 60, cv2.resize(ground, (SIDE, 64)), pixels)
        cv2.imwrite(str(folder / f"{number:03d}.png"), pixels[..., ::-1])
        corners = "".join(
            f"<{name}>{value}</{name}>"
            for name, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        )
        (folder / f"{number:03d}.xml").write_text(
            f"<annotation><object><name>face</name><bndbox>{corners}</bndbox></object></annotation>"
        )
    return folder


def write_first_stage(
    folder: Path, size: tuple[int, int] | None = None, batch: int | None = None
) -> Path:
    """A detector that boxes what is bright in either half of a picture, too far to the right.

    Args:
        folder: Made if it is missing.
        size: The one height and width that it takes; None: any.
        batch: Pictures that it takes at a time; None: any number.
    """

    def look(input_tensor):
        bright = input_tensor[..., 0] > 150
        width = tf.shape(bright)[2]
        boxes, scores = [], []
        for side, score in ((0, 0.5), (1, 0.4)):
            left = side * (width // 2)
            half = bright[:, :, left : left + width // 2]
            rows, columns = tf.reduce_any(half, 2), tf.reduce_any(half, 1)
            (y0, y1), (x0, x1) = _ends(rows), _ends(columns)
            shift = tf.cast(left, tf.float32) + 0.35 * (x1 - x0)
            extent = tf.cast(tf.shape(bright), tf.float32)
            boxes.append(
                tf.stack(
                    [
                        y0 / extent[1],
                        (x0 + shift) / extent[2],
                        y1 / extent[1],
                        (x1 + shift) / extent[2],
                    ],
                    -1,
                )
            )
            scores.append(tf.where(tf.reduce_any(rows, 1), score, 0.0))
        found = tf.stack(scores, 1)
        return {
            "detection_boxes": tf.stack(boxes, 1),
            "detection_scores": found,
            "detection_classes": tf.ones_like(found),
            "num_detections": tf.fill([tf.shape(found)[0]], 2.0),
        }

    spec = tf.TensorSpec([batch, *(size or (None, None)), 3], tf.uint8, name="input_tensor")
    signature = tf.function(look, input_signature=[spec])
    folder.mkdir(parents=True)
    tf.saved_model.save(Module(), str(folder / "saved_model"), {"serving_default": signature})
    (folder / "detector.json").write_text(json.dumps({"threshold": 0.3, "longest": SIDE}))
    return folder


def _ends(marked):
    """First and one past the last place that is marked, of each row."""
    places = tf.range(tf.shape(marked)[1])
    first = tf.reduce_min(tf.where(marked, places, tf.shape(marked)[1]), 1)
    last = tf.reduce_max(tf.where(marked, places + 1, 0), 1)
    return tf.cast(first, tf.float32), tf.cast(last, tf.float32)
