"""Extractors whose face network wants aligned faces and knows nothing of whole pictures.

They see a face by its landmarks where the detector gives them and by its box where it does not.
Whole pictures go through the shipped extractor's picture network, so that every look is answered.
"""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

import numpy as np

from core.align import aligned
from core.face import Landmarks, Pixels, Vectors, crop, widened_square
from core.models.extractor import FamiliarExtractor, resized, whole_square

MARGIN: Final = 0.2
LIFT: Final = 0.25
"""In `core.align.REFERENCE` a face of 80 pixels from brow to chin stands in a square of 112, its
centre 20 pixels below the square's: a box is widened and moved up to show the same."""


class FaceNetwork(Protocol):
    """Turns aligned faces into vectors.

    Attributes:
        side: Of the faces that it takes, in pixels.
        dimensions: Length of its vectors.
    """

    side: int
    dimensions: int

    def embed(self, faces: Pixels) -> Vectors:
        """``(n, side, side, 3)`` RGB, ``n`` at least 1 -> ``(n, dimensions)`` of any length.

        Thread-safe.
        """
        ...


class AlignedExtractor:
    """A face network of somebody else beside our picture network. See `core.models.Extractor`."""

    def __init__(
        self,
        name: str,
        identity: str,
        network: FaceNetwork,
        pictures: FamiliarExtractor,
        *,
        same_threshold: float | None = None,
        margin: float = MARGIN,
        lift: float = LIFT,
    ) -> None:
        """
        Args:
            name: What was asked for.
            identity: Of the face network: whatever its vectors depend on.
            network: Sees the faces.
            pictures: Sees the whole pictures.
            same_threshold: Face cosine from which two faces count as the same character.
            margin: Without landmarks, a box is widened by this share of its longer side.
            lift: And moved up by this share.
        """
        self.name = name
        self.sha256 = hashlib.sha256(f"{identity} {pictures.sha256}".encode()).hexdigest()
        self.face_dimensions = network.dimensions
        self.picture_dimensions = pictures.picture_dimensions
        self.weights_of_both = pictures.weights_of_both
        self.same_threshold = same_threshold
        self._network = network
        self._pictures = pictures
        self._margin = margin
        self._lift = lift

    def prepare_face(
        self,
        pixels: Pixels,
        box: tuple[float, float, float, float] | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The face as the network sees it, ``(side, side, 3)``."""
        side = self._network.side
        if points is not None and len(set(points)) > 1:
            return aligned(pixels, points, side)
        if box is None:
            return resized(crop(pixels, whole_square(pixels)), side)
        x0, y0, x1, y1 = box
        up = self._lift * max(x1 - x0, y1 - y0)
        square = widened_square((x0, y0 - up, x1, y1 - up), self._margin)
        return resized(crop(pixels, square), side)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """As the shipped extractor's picture network sees it."""
        return self._pictures.prepare_picture(pixels)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, side, side, 3)`` -> ``(n, face_dimensions)`` of unit length."""
        if not len(faces):
            return np.empty((0, self.face_dimensions), np.float32)
        vectors = np.asarray(self._network.embed(faces), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """By the shipped extractor's picture network."""
        return self._pictures.embed_pictures(pictures)
