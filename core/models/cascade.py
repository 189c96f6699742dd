"""OpenCV's cascades as face detectors: old, quick, and good for frontal anime faces alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from core.face import Face, Pixels
from core.models import ModelError, Precision

LONGEST = 1280
"""Longest side at which a picture is looked at, in pixels: the time grows with the area, and only
one picture is looked at at a time."""

_SMALLEST = 24
_STEP = 1.1
_NEIGHBOURS = 3
_SLACK = {"stageThreshold": 1e-5, "stage_threshold": 1e-4}
"""What a stage's threshold is called, in files of the present form and of the one before, and how
much OpenCV takes off it."""
_CLIPPED = 30.0
"""Beyond that, a logistic is 0 or 1 in single precision."""


class CascadeDetector:
    """Finds faces with an OpenCV cascade. See `core.models.Detector`.

    The score of a box is the logistic of how far the sum of the last stage that looked at it lies
    above that stage's threshold, so that 0.5 is where the cascade itself draws the line.
    """

    threshold = 0.5
    precision: Precision | None = None

    def __init__(
        self,
        name: str,
        sha256: str,
        classifier: cv2.CascadeClassifier,
        stage_thresholds: Sequence[float],
    ) -> None:
        """
        Args:
            name: Of its file, for people.
            sha256: Identity of whatever its answers depend on.
            classifier: OpenCV's.
            stage_thresholds: Sum from which each of its stages lets a place pass.
        """
        self.stage_thresholds = stage_thresholds
        self.name = name
        self.sha256 = sha256
        self._classifier = classifier
        # A classifier keeps the picture that it is looking at.
        self._lock = threading.Lock()

    @classmethod
    def load(cls, path: Path) -> CascadeDetector:
        """Read a cascade's XML file, whose name without its ending is the detector's.

        Raises:
            ModelError: The file is missing, or is no cascade.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ModelError(f"The cascade {path} cannot be read.") from error
        classifier = cv2.CascadeClassifier()
        try:
            thresholds = _stage_thresholds(path) if classifier.load(str(path)) else []
        except cv2.error:
            thresholds = []
        if not thresholds:
            raise ModelError(f"{path} is no cascade that OpenCV can use.")
        # Faces are kept with their scores, which depend on what is read as a threshold, too.
        identity = hashlib.sha256(data + repr((thresholds, LONGEST)).encode()).hexdigest()
        return cls(path.stem, identity, classifier, thresholds)

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face that passes the cascade, most confident first, for each picture."""
        return [self._faces_of(image) for image in images]

    def _faces_of(self, pixels: Pixels) -> tuple[Face, ...]:
        height, width = pixels.shape[:2]
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        if (longest := max(height, width)) > LONGEST:
            size = (max(1, width * LONGEST // longest), max(1, height * LONGEST // longest))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        down, across = height / grey.shape[0], width / grey.shape[1]
        grey = cv2.equalizeHist(grey)
        with self._lock:
            boxes, passed, sums = self._classifier.detectMultiScale3(
                grey,
                scaleFactor=_STEP,
                minNeighbors=_NEIGHBOURS,
                minSize=(_SMALLEST, _SMALLEST),
                outputRejectLevels=True,
            )
        last = np.minimum(np.ravel(passed).astype(int), len(self.stage_thresholds) - 1)
        above = np.ravel(sums) - np.asarray(self.stage_thresholds)[last]
        scores = 1.0 / (1.0 + np.exp(-np.clip(above, -_CLIPPED, _CLIPPED)))
        faces = [
            Face(
                (
                    float(x * across),
                    float(y * down),
                    min(float((x + wide) * across), float(width)),
                    min(float((y + high) * down), float(height)),
                ),
                float(score),
            )
            for (x, y, wide, high), score in zip(boxes, scores, strict=True)
        ]
        return tuple(sorted(faces, key=lambda face: -face.score))


def _stage_thresholds(path: Path) -> list[float]:
    """Of each stage of a cascade's file, in order; empty where it names none."""
    file = cv2.FileStorage(str(path), cv2.FILE_STORAGE_READ)
    try:
        stages = file.getFirstTopLevelNode().getNode("stages")
        return [
            node.real() - slack
            for number in range(stages.size())
            for name, slack in _SLACK.items()
            if not (node := stages.at(number).getNode(name)).empty()
        ]
    finally:
        file.release()
