"""Face detectors stored as a TensorFlow SavedModel with the Object Detection API's signature.

The folder of a detector holds ``detector.json`` and ``saved_model/``. The signature
``serving_default`` takes ``input_tensor``, uint8 ``(n, height, width, 3)``, and gives
``detection_boxes`` (``[ymin, xmin, ymax, xmax]``, 0..1 of the picture), ``detection_scores``,
``detection_classes`` and ``num_detections``; so any detector exported by that API can take
the place of the shipped one.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.face import Face, Pixels
from core.models import ModelError

LEAST_SCORE = 0.01
"""Boxes below this score are not worth passing on."""

_MULTIPLE = 32
_GREY = (114, 114, 114)
_MOST_AT_ONCE = 16


class Description(BaseModel):
    """``detector.json``: what a SavedModel does not say about itself.

    Attributes:
        threshold: Score from which a box counts as a face, 0..1.
        longest: The picture's longest side as the network wants to see it, in pixels.
        files: SHA-256 of each file of the SavedModel, by its path from the folder.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    threshold: float = Field(ge=0, le=1)
    longest: int = Field(ge=_MULTIPLE, multiple_of=_MULTIPLE)
    files: dict[str, str] = Field(min_length=1)


class SavedModelDetector:
    """Finds faces with a SavedModel. See `core.models.Detector`."""

    def __init__(self, name: str, description: Description, model: Any) -> None:
        self.name = name
        self.threshold = description.threshold
        self.sha256 = identity(description.files)
        self._longest = description.longest
        # The signature alone does not keep the model's variables alive.
        self._model = model
        self._signature = model.signatures["serving_default"]

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> SavedModelDetector:
        """Read a detector's folder.

        Args:
            folder: Holds ``detector.json`` and the files that it lists.
            device: ``cpu`` keeps TensorFlow off every GPU of this process; ``gpu`` does not.

        Raises:
            ModelError: A file is missing or is not the one that ``detector.json`` was made for.
        """
        try:
            text = (folder / "detector.json").read_text(encoding="utf-8")
            description = Description.model_validate_json(text)
        except OSError as error:
            raise ModelError(f"The detector in {folder} has no readable detector.json.") from error
        except ValidationError as error:
            raise ModelError(f"{folder / 'detector.json'} does not describe a detector.") from error
        for path, expected in description.files.items():
            try:
                found = hashlib.sha256((folder / path).read_bytes()).hexdigest()
            except OSError as error:
                raise ModelError(f"The detector's file {folder / path} is missing.") from error
            if found != expected:
                raise ModelError(
                    f"The detector's file {folder / path} is damaged or was replaced; "
                    "fetch it again, or train and export the detector anew."
                )

        from core.models.tensorflow_runtime import keep_off_gpu, tf

        if device == "cpu":
            keep_off_gpu()
        try:
            model = tf.saved_model.load(str(folder / "saved_model"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder / 'saved_model'} is no SavedModel.") from error
        return cls(folder.name, description, model)

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face with a score of 0.01 or more, most confident first, for each picture.

        Args:
            images: Each ``(height, width, 3)`` uint8 RGB, of any size.

        Returns:
            For each picture its faces; boxes in its own pixels, within it.
        """
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        scaled = [letterboxed(image, self._longest) for image in images]
        for index, (pixels, _) in enumerate(scaled):
            alike[pixels.shape[:2]].append(index)
        found: list[tuple[Face, ...]] = [()] * len(images)
        for indices in alike.values():
            for start in range(0, len(indices), _MOST_AT_ONCE):
                chosen = indices[start : start + _MOST_AT_ONCE]
                boxes, scores = self._look(np.stack([scaled[i][0] for i in chosen]))
                for row, index in enumerate(chosen):
                    height, width = images[index].shape[:2]
                    found[index] = faces_of(
                        boxes[row] / scaled[index][1], scores[row], height, width
                    )
        return found

    def _look(self, batch: Pixels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Boxes ``(n, m, 4)`` ``[x0, y0, x1, y1]`` in pixels of the batch, scores ``(n, m)``."""
        from core.models.tensorflow_runtime import tf

        result = self._signature(input_tensor=tf.constant(batch))
        relative = np.asarray(result["detection_boxes"].numpy(), np.float32)
        scores = np.asarray(result["detection_scores"].numpy(), np.float32).copy()
        counts = np.asarray(result["num_detections"].numpy()).astype(int)
        scores[np.arange(scores.shape[1])[None] >= counts[:, None]] = 0.0
        height, width = batch.shape[1:3]
        # The API's boxes begin with y: here, once, they are turned to the project's order.
        boxes = relative[..., [1, 0, 3, 2]] * np.array([width, height, width, height], np.float32)
        return boxes, scores


def letterboxed(pixels: Pixels, longest: int) -> tuple[Pixels, NDArray[np.float32]]:
    """Scale a picture, and fill it up at the right and at the bottom.

    Args:
        pixels: ``(height, width, 3)``.
        longest: The longer side afterwards, a multiple of 32.

    Returns:
        The picture with both sides a multiple of 32, and by how much its content was scaled,
        ``[x, y, x, y]``.
    """
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    if size != (width, height):
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=method), np.uint8)
    filled = cv2.copyMakeBorder(
        pixels,
        0,
        -size[1] % _MULTIPLE,
        0,
        -size[0] % _MULTIPLE,
        cv2.BORDER_CONSTANT,
        value=_GREY,
    )
    across, down = size[0] / width, size[1] / height
    return np.asarray(filled, np.uint8), np.array([across, down, across, down], np.float32)


def faces_of(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], height: int, width: int
) -> tuple[Face, ...]:
    """Faces of one picture, most confident first, cut at its edges.

    Args:
        boxes: ``(n, 4)`` ``[x0, y0, x1, y1]`` in pixels of the picture.
        scores: ``(n,)``.
        height: Of the picture, in pixels.
        width: Of the picture, in pixels.
    """
    cut = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    order = np.argsort(-scores, kind="stable")
    return tuple(
        Face(
            (float(cut[i, 0]), float(cut[i, 1]), float(cut[i, 2]), float(cut[i, 3])),
            float(min(scores[i], 1.0)),
        )
        for i in order
        if scores[i] >= LEAST_SCORE and cut[i, 0] < cut[i, 2] and cut[i, 1] < cut[i, 3]
    )


def identity(files: dict[str, str]) -> str:
    """One hash for all files of a model, whatever their order."""
    lines = "".join(f"{path} {files[path]}\n" for path in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()
