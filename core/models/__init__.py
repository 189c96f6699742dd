"""Everything learned: the face detector and the feature extractor, each with its preprocessing.

`load_detector` and `load_extractor` are the only ways in, so that weights never meet the
preprocessing of other weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from core.face import Face, Pixels, Vectors

SHIPPED = Path(__file__).parent
DEFAULT_DETECTOR = "familiar-face"
DEFAULT_EXTRACTOR = "familiar-character"


class ModelError(Exception):
    """A model cannot be used; the message says why and what to do."""


class Detector(Protocol):
    """Finds faces.

    Attributes:
        name: What `load_detector` was asked for.
        sha256: Identity of the weights, 64 hexadecimal digits.
        threshold: Score from which a box counts as a face, 0..1.
    """

    name: str
    sha256: str
    threshold: float

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Every face with a score of 0.01 or more, most confident first, for each picture.

        Boxes are in pixels of the picture they were found in and lie within it.
        Safe to call from several threads.
        """
        ...


class Extractor(Protocol):
    """Turns faces and whole pictures into vectors of unit length.

    Attributes:
        name: What `load_extractor` was asked for.
        sha256: Identity of the weights, 64 hexadecimal digits.
        face_dimensions: Length of a face vector.
        picture_dimensions: Length of a whole-picture vector.
        weights_of_both: ``(a, b)``: the look `both` ranks by ``a * cos_face + b * cos_picture``;
            ``a + b = 1``.
    """

    name: str
    sha256: str
    face_dimensions: int
    picture_dimensions: int
    weights_of_both: tuple[float, float]

    def prepare_face(self, pixels: Pixels, box: tuple[float, float, float, float] | None) -> Pixels:
        """The square ``(s, s, 3)`` that the face network sees, widened by its own margin.

        Args:
            pixels: ``(height, width, 3)``.
            box: The face in pixels of the picture; None where the picture is a face crop already.
        """
        ...

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The square ``(t, t, 3)`` that the picture network sees."""
        ...

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, s, s, 3)`` uint8 -> ``(n, face_dimensions)``, unit length. Thread-safe."""
        ...

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, t, t, 3)`` uint8 -> ``(n, picture_dimensions)``, unit length. Thread-safe."""
        ...


def load_detector(name: str = DEFAULT_DETECTOR) -> Detector:
    """Load a detector by name, or from files of one's own.

    Args:
        name: ``familiar-face``, a folder that training wrote, or an OpenCV cascade's XML file.

    Raises:
        ModelError: There is no such detector, or its files are missing or damaged.
    """
    if name == DEFAULT_DETECTOR:
        from core.models.detector import SavedModelDetector

        return SavedModelDetector.load(SHIPPED / name)
    path = Path(name)
    if path.suffix == ".xml":
        from core.models.cascade import CascadeDetector

        return CascadeDetector.load(path)
    if path.is_dir():
        from core.models.detector import SavedModelDetector

        return SavedModelDetector.load(path)
    raise ModelError(
        f"There is no detector named {name!r}; known: {DEFAULT_DETECTOR}, a folder that training "
        "wrote, or a cascade's XML file."
    )


def load_extractor(name: str = DEFAULT_EXTRACTOR, device: str = "cpu") -> Extractor:
    """Load an extractor by name onto a torch device (``cpu``, ``cuda``, ``cuda:1``).

    Raises:
        ModelError: There is no such extractor, or its files are missing or damaged.
    """
    if name == DEFAULT_EXTRACTOR:
        from core.models.extractor import FamiliarExtractor

        return FamiliarExtractor.load(SHIPPED / name, device=device)
    if name == "resnet101":
        from core.models.resnet101 import ResNet101

        return ResNet101.load(device=device)
    raise ModelError(
        f"There is no extractor named {name!r}; known: {DEFAULT_EXTRACTOR}, resnet101."
    )
