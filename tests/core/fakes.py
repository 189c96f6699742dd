"""Small deterministic models, and pictures that they understand.

A drawn head is a disc of one skin colour under hair of the character's colour. The fake detector
finds discs of that very skin; the fake extractor describes colours.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.face import Face, Landmarks, Pixels, Vectors
from core.framing import Box, Framing, crop

SKIN = (255, 214, 170)
HAIR = {
    "amber": (230, 150, 30),
    "blue": (40, 80, 200),
    "coral": (240, 90, 90),
    "dark": (30, 30, 40),
    "emerald": (30, 140, 90),
}


def drawn_scene(
    heads: Sequence[tuple[str, int, int, int]],
    size: tuple[int, int] = (320, 240),
    background: int = 0,
) -> Pixels:
    """A picture with heads.

    Args:
        heads: Name in `HAIR`, centre ``x`` and ``y``, and radius of the face, in pixels.
        size: Width and height in pixels.
        background: Another number, another pattern.
    """
    width, height = size
    generator = np.random.default_rng(background)
    coarse = generator.integers(90, 200, (4, 5, 3), dtype=np.uint8)
    picture = cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
    picture = np.minimum(picture, 200).astype(np.uint8)
    for name, x, y, radius in heads:
        cv2.circle(picture, (x, y - radius // 3), radius * 3 // 2, HAIR[name], -1)
        cv2.circle(picture, (x, y), radius, SKIN, -1)
    return np.asarray(picture, dtype=np.uint8).reshape(height, width, 3)


def head(name: str, background: int = 7) -> Pixels:
    """A picture of a character of the drawn gallery, unlike any of its pictures."""
    return drawn_scene([(name, 150, 120, 40)], background=background)


def file_of(pixels: Pixels) -> bytes:
    """As a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def save(pixels: Pixels, path: Path) -> Path:
    """Write a picture losslessly, with the folders on its way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, compress_level=1)
    return path


def drawn_gallery(root: Path, each: int = 3) -> Path:
    """``<character>/<n>.png`` for every colour of hair, each picture another one."""
    for number, name in enumerate(HAIR):
        for place in range(each):
            head = (name, 110 + 40 * (place % 4), 110 + 5 * (place % 6), 34 + 4 * (place % 5))
            pixels = drawn_scene([head], background=100 * number + place)
            save(pixels, root / name / f"{place}.png")
    return root


def _unit(rows: NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(lengths, 1e-9), np.float32)


class FakeDetector:
    """Finds discs of `SKIN`. Small ones score little, as with a real detector."""

    def __init__(self, threshold: float = 0.5, revision: int = 1) -> None:
        self.name = "fake-face"
        self.sha256 = hashlib.sha256(f"fake-face {revision}".encode()).hexdigest()
        self.threshold = threshold
        self.precision = None
        self.seen = 0

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every connected patch of skin of at least 4 pixels a side."""
        self.seen += len(images)
        return [self._faces(image) for image in images]

    @staticmethod
    def _faces(image: Pixels) -> tuple[Face, ...]:
        distance = np.abs(image.astype(np.int16) - np.array(SKIN, np.int16)).max(2)
        _, _, patches, _ = cv2.connectedComponentsWithStats((distance < 12).astype(np.uint8))
        faces = [
            Face((float(x), float(y), float(x + w), float(y + h)), min(0.99, w / 40))
            for x, y, w, h, _ in patches[1:]
            if w >= 4 and h >= 4
        ]
        return tuple(sorted(faces, key=lambda face: -face.score))


class FakeExtractor:
    """Describes the mean colours of the cells of a grid."""

    def __init__(self, revision: int = 1) -> None:
        self.name = "fake-character"
        self.sha256 = hashlib.sha256(f"fake-character {revision}".encode()).hexdigest()
        self.face_dimensions = 12
        self.picture_dimensions = 27
        self.weights_of_both = (0.6, 0.4)
        self.same_threshold: float | None = None
        self.precision = None
        self.in_onnxruntime = False
        self.false_accepts: float | None = None
        self.embedded_faces = 0
        self.embedded_pictures = 0

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """32 pixels square, with half a face of margin; the points are not looked at."""
        if box is not None:
            pixels = crop(pixels, Framing(0.5).square(box))
        return np.asarray(cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA), np.uint8)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """48 pixels square."""
        return np.asarray(cv2.resize(pixels, (48, 48), interpolation=cv2.INTER_AREA), np.uint8)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, 32, 32, 3)`` -> ``(n, 12)``."""
        self.embedded_faces += len(faces)
        cells = faces.reshape(len(faces), 2, 16, 2, 16, 3).mean((2, 4), dtype=np.float64)
        return _unit((cells - 128.0).reshape(len(faces), -1))

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, 48, 48, 3)`` -> ``(n, 27)``."""
        self.embedded_pictures += len(pictures)
        cells = pictures.reshape(len(pictures), 3, 16, 3, 16, 3).mean((2, 4), dtype=np.float64)
        return _unit((cells - 128.0).reshape(len(pictures), -1))
