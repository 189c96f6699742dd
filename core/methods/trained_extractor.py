"""Networks that a training wrote, as an extractor."""

from __future__ import annotations

import hashlib

import numpy as np

from core.face import Landmarks, Pixels, Vectors
from core.framing import Box, Framing, framed, resized
from core.models import PlainExtractor
from core.train.trained import TrainedNetwork


class TrainedExtractor(PlainExtractor):
    """A network for faces, and one for whole pictures where the method has one.

    Without one the vectors of whole pictures are empty: faces alone are compared, and a picture in
    which none is found neither has an answer nor is one.

    See `core.models.Extractor`; its vectors are of unit length only where its loss made them so.
    """

    def __init__(
        self,
        name: str,
        face: TrainedNetwork,
        picture: TrainedNetwork | None,
        framing: Framing,
        weights_of_both: tuple[float, float],
    ) -> None:
        self.name = name
        whole = "" if picture is None else picture.sha256
        self.sha256 = hashlib.sha256((face.sha256 + whole).encode()).hexdigest()
        self.face_dimensions = face.dimensions
        self.picture_dimensions = 0 if picture is None else picture.dimensions
        self.weights_of_both = weights_of_both
        self._face, self._picture, self._framing = face, picture, framing

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The square that the face network sees, with the framing that it was trained on."""
        return framed(pixels, box, self._framing, self._face.side)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The whole picture, squeezed into a square."""
        return resized(pixels, 1 if self._picture is None else self._picture.side)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, s, s, 3)`` -> ``(n, face_dimensions)``."""
        return self._face.embed(faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, t, t, 3)`` -> ``(n, picture_dimensions)``."""
        if self._picture is None:
            return np.empty((len(pictures), 0), np.float32)
        return self._picture.embed(pictures)
