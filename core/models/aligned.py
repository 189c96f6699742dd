"""Extractors of a face network alone, which knows nothing of whole pictures.

They see a face by its landmarks where the detector gives them, unless their network learned faces
that were not aligned, and by its box else.
Whole pictures go through the shipped extractor's picture network, so that every look is answered.

What a network's file does not say of itself stands in a JSON file of the same name beside it,
``network.json`` for ``network.onnx``; without it, the values of its `Description` hold.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.align import aligned
from core.face import Landmarks, Pixels, Vectors
from core.framing import Box, Framing, framed
from core.models import ModelError, Precision, first_fault
from core.models.extractor import FamiliarExtractor

MARGIN: Final = 0.2
LIFT: Final = 0.25
"""In `core.align.REFERENCE` a face of 80 pixels from brow to chin stands in a square of 112, its
centre 20 pixels below the square's: a box is widened and moved up to show the same."""


class Description(BaseModel):
    """What is stated beside a network.

    Attributes:
        channels: The order that the network knows.
        aligned: Whether it wants faces turned upright and scaled by their landmarks.
        margin: Without landmarks, a box is widened by this share of its longer side.
        lift: And moved up by this share.
        same_threshold: Face cosine from which two faces count as the same character.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    channels: Literal["rgb", "bgr"] = "rgb"
    aligned: bool = True
    margin: float = Field(default=MARGIN, ge=0, le=2)
    lift: float = Field(default=LIFT, ge=-1, le=1)
    same_threshold: float | None = Field(default=None, ge=-1, le=1)


_Described = TypeVar("_Described", bound=Description)


def described(network: Path, kind: type[_Described]) -> _Described:
    """What is stated beside a network's file, in a file of the same name that ends in ``.json``.

    Raises:
        ModelError: It is damaged, or states something else.
    """
    beside = network.with_suffix(".json")
    try:
        text = beside.read_bytes() if beside.is_file() else b"{}"
    except OSError as error:
        raise ModelError(f"{beside} cannot be read ({error.strerror}).") from error
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{beside} cannot be used: {first_fault(error)}.") from error


class FaceNetwork(Protocol):
    """Turns aligned faces into vectors.

    Attributes:
        side: Of the faces that it takes, in pixels.
        dimensions: Length of its vectors.
        in_onnxruntime: Whether onnxruntime computes them, and not PyTorch.
    """

    side: int
    dimensions: int
    in_onnxruntime: bool

    def embed(self, faces: Pixels) -> Vectors:
        """``(n, side, side, 3)``, ``n`` at least 1 -> ``(n, dimensions)`` of any length.

        The channels come in the order that the network knows.

        Thread-safe.
        """
        ...


class AlignedExtractor:
    """A face network of somebody else beside our picture network. See `core.models.Extractor`.

    Attributes:
        in_onnxruntime: Whether onnxruntime does nearly all of its work, and PyTorch small steps.
    """

    precision: Precision | None = None

    def __init__(
        self,
        name: str,
        identity: str,
        network: FaceNetwork,
        pictures: FamiliarExtractor,
        description: Description,
    ) -> None:
        """
        Args:
            name: Of the kind of network, for people.
            identity: Of the face network's file.
            network: Sees the faces.
            pictures: Sees the whole pictures.
            description: How the network wants to be shown faces, and what it is told apart by.
        """
        self.name = name
        # No vector depends on the threshold: another one asks for no other index.
        shown = description.model_dump_json(exclude={"same_threshold"})
        whole = f"{identity} {shown} {pictures.sha256}"
        self.sha256 = hashlib.sha256(whole.encode()).hexdigest()
        self.face_dimensions = network.dimensions
        self.picture_dimensions = pictures.picture_dimensions
        self.weights_of_both = pictures.weights_of_both
        self.same_threshold = description.same_threshold
        self.false_accepts: float | None = None
        self.in_onnxruntime = network.in_onnxruntime and pictures.in_onnxruntime
        self._network = network
        self._pictures = pictures
        self._description = description

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The face as the network sees it, ``(side, side, 3)``."""
        side = self._network.side
        if self._description.aligned and points is not None and len(set(points)) > 1:
            return aligned(pixels, points, side)
        framing = Framing(self._description.margin, self._description.lift)
        return framed(pixels, box, framing, side)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """As the shipped extractor's picture network sees it."""
        return self._pictures.prepare_picture(pixels)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, side, side, 3)`` -> ``(n, face_dimensions)`` of unit length."""
        if not len(faces):
            return np.empty((0, self.face_dimensions), np.float32)
        ordered = faces[..., ::-1] if self._description.channels == "bgr" else faces
        vectors = np.asarray(self._network.embed(ordered), np.float32)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.maximum(lengths, 1e-12), np.float32)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """By the shipped extractor's picture network."""
        return self._pictures.embed_pictures(pictures)
