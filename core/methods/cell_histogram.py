"""The floor under every learned method: where which colours are, counted."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.face import Landmarks, Pixels, Vectors
from core.framing import Box, Framing, framed, resized
from core.models import PlainExtractor

SIDE: Final = 128
CELLS: Final = 2
BINS: Final = 8
FRAMING: Final = Framing(margin=0.45)
DIMENSIONS: Final = CELLS * CELLS * BINS**3


class CellHistogram(PlainExtractor):
    """Shares of ``8**3`` colours in each of 2 x 2 cells, as an extractor. Nothing is learned.

    Their square roots are compared: as in the Hellinger distance, a small area of a rare colour
    then counts beside the large ones of the ground.

    See `core.models.Extractor`.
    """

    name = "colour-histogram"
    sha256 = hashlib.sha256(f"colour histogram {SIDE} {CELLS} {BINS} roots".encode()).hexdigest()
    face_dimensions = DIMENSIONS
    picture_dimensions = DIMENSIONS
    weights_of_both = (0.5, 0.5)

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The square of the face, ``(128, 128, 3)``."""
        return framed(pixels, box, FRAMING, SIDE)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The whole picture, squeezed into ``(128, 128, 3)``."""
        return resized(pixels, SIDE)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, 128, 128, 3)`` -> ``(n, 2048)`` of unit length."""
        return self._counted(faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, 128, 128, 3)`` -> ``(n, 2048)`` of unit length."""
        return self._counted(pictures)

    @staticmethod
    def _counted(pixels: Pixels) -> Vectors:
        found = np.zeros((len(pixels), DIMENSIONS), np.float32)
        places: NDArray[np.int64] = np.arange(SIDE) * CELLS // SIDE
        cell = places[:, None] * CELLS + places[None, :]
        for row, picture in enumerate(pixels):
            level = picture.astype(np.int64) * BINS // 256
            colour = (level[..., 0] * BINS + level[..., 1]) * BINS + level[..., 2]
            found[row] = np.bincount((cell * BINS**3 + colour).ravel(), minlength=DIMENSIONS)
        # The square roots of shares, which sum to one, are of unit length.
        return np.asarray(np.sqrt(found / SIDE**2), np.float32)
