"""OpenCV's cascades as face detectors: old, quick, and good for frontal anime faces alone."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from core.face import Face, Pixels
from core.models import ModelError

_SMALLEST = 24
_STEP = 1.1
_NEIGHBOURS = 3


class CascadeDetector:
    """Finds faces with an OpenCV cascade. See `core.models.Detector`.

    The score of a box is the logistic of the last stage's sum, so that 0.5 is where the cascade
    itself draws the line.
    """

    threshold = 0.5

    def __init__(self, name: str, sha256: str, classifier: cv2.CascadeClassifier) -> None:
        self.name = name
        self.sha256 = sha256
        self._classifier = classifier
        # A classifier keeps the picture that it is looking at.
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path, name: str = "lbpcascade") -> CascadeDetector:
        """Read a cascade's XML file.

        Raises:
            ModelError: The file is missing, or is no cascade.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"The cascade {path} cannot be read.") from error
        classifier = cv2.CascadeClassifier()
        try:
            loaded = classifier.load(str(path))
        except cv2.error:
            loaded = False
        if not loaded:
            raise ModelError(f"{path} is no cascade that OpenCV can use.")
        return cls(name, hashlib.sha256(data).hexdigest(), classifier)

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face that passes the cascade, most confident first, for each picture."""
        return [self._faces_of(image) for image in images]

    def _faces_of(self, pixels: Pixels) -> tuple[Face, ...]:
        grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
        with self._lock:
            boxes, _, sums = self._classifier.detectMultiScale3(
                grey,
                scaleFactor=_STEP,
                minNeighbors=_NEIGHBOURS,
                minSize=(_SMALLEST, _SMALLEST),
                outputRejectLevels=True,
            )
        faces = [
            Face(
                (float(x), float(y), float(x + width), float(y + height)),
                1.0 / (1.0 + math.exp(-float(total))),
            )
            for (x, y, width, height), total in zip(boxes, np.ravel(sums), strict=True)
        ]
        return tuple(sorted(faces, key=lambda face: -face.score))
