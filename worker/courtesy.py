"""A reindex steps aside while people are being answered."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import numpy as np

from core.face import Face, Pixels, Vectors
from core.models import Detector, Extractor
from worker.wrapped import WrappedExtractor

LONGEST_WAIT: Final = 1.0
"""Seconds that a reindex waits before each of its passes at most, so that it ends one day on the
busiest server too."""

PICTURES_A_PASS: Final = 4
CROPS_A_PASS: Final = 16
"""A person who comes while a pass runs waits for its end, so a pass is short."""


class Courtesy:
    """Knows whether somebody is being answered."""

    def __init__(self, longest_wait: float = LONGEST_WAIT) -> None:
        self._longest_wait = longest_wait
        self._changed = threading.Condition()
        self._people = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Somebody is being answered while the context lasts."""
        with self._changed:
            self._people += 1
        try:
            yield
        finally:
            with self._changed:
                self._people -= 1
                self._changed.notify_all()

    def step_aside(self) -> None:
        """Return once nobody is being answered, or after the longest wait."""
        with self._changed:
            self._changed.wait_for(lambda: not self._people, self._longest_wait)


class CourteousDetector:
    """A `Detector` for building: it takes a few pictures at a time and steps aside between."""

    def __init__(self, detector: Detector, courtesy: Courtesy) -> None:
        self._detector = detector
        self._courtesy = courtesy
        self.name = detector.name
        self.sha256 = detector.sha256
        self.threshold = detector.threshold
        self.precision = detector.precision

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """As `core.models.Detector.detect`."""
        found: list[tuple[Face, ...]] = []
        for start in range(0, len(images), PICTURES_A_PASS):
            self._courtesy.step_aside()
            found += self._detector.detect(images[start : start + PICTURES_A_PASS])
        return found


class CourteousExtractor(WrappedExtractor):
    """An `Extractor` for building: it takes a few crops at a time and steps aside between."""

    def __init__(self, extractor: Extractor, courtesy: Courtesy) -> None:
        super().__init__(extractor)
        self._courtesy = courtesy

    def embed_faces(self, faces: Pixels) -> Vectors:
        """As `core.models.Extractor.embed_faces`."""
        return self._in_passes(self._extractor.embed_faces, faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """As `core.models.Extractor.embed_pictures`."""
        return self._in_passes(self._extractor.embed_pictures, pictures)

    def _in_passes(self, embed: Callable[[Pixels], Vectors], crops: Pixels) -> Vectors:
        passes = []
        for start in range(0, max(1, len(crops)), CROPS_A_PASS):
            self._courtesy.step_aside()
            passes.append(embed(crops[start : start + CROPS_A_PASS]))
        return np.concatenate(passes)
