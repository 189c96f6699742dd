"""The project's own extractor: one network for faces, one for whole pictures.

A folder holds all of it: ``extractor.json`` (shapes, sides, margin, thresholds) and the weights
of both networks as safetensors. Nothing in it can run code. In int8 (`core.models.quantised`) the
convolutions of both lie in ``int8/``; colour parts, pooling and the last layers are in float32 in
every precision.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor, nn

from core.face import Landmarks, Pixels, Vectors
from core.framing import Box, Framing, framed, resized
from core.models import ONE_TRAINING, ModelError, Precision
from core.models.backbones import (
    CHANNELS,
    ColourHistogram,
    EmbeddingNetwork,
    JoinedNetwork,
    NetworkShape,
    PictureNetwork,
    ProjectedNetwork,
    multiply_adds,
)
from core.models.device import moved
from core.models.packed import MAPS, Trunk, can_pack, pack
from core.models.precision import bfloat16_is_fast, convolve_in_bfloat16, fold_norms
from core.models.quantised import FOLDER, QuantisedNetwork, quantised_networks
from core.models.weights import fill, read_tensors

CONFIGURATION = "extractor.json"
FACE_WEIGHTS = "face.safetensors"
PICTURE_WEIGHTS = "picture.safetensors"
INT8: Final = (f"{FOLDER}/face.onnx", f"{FOLDER}/picture.onnx")
"""The convolutions of both networks in int8."""
_OF_NO_VECTOR: Final = ("same_character_threshold", "false_accepts")
"""What `CONFIGURATION` tells of answers alone."""


class HistogramConfiguration(BaseModel):
    """The colour part of a picture network: components kept, and share in the cosine."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dimensions: int = Field(gt=0)
    share: float = Field(ge=0, le=1)


class ShapeConfiguration(BaseModel):
    """What an `EmbeddingNetwork` is built from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    widths: tuple[Annotated[int, Field(ge=2)], ...]
    depths: tuple[Annotated[int, Field(ge=0)], ...]
    dimensions: int = Field(gt=0)
    colour_channels: int = Field(ge=0)
    colour_cells: int = Field(gt=0)
    halvings: int | None = Field(default=None, ge=0)
    attention: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _makes_a_network(self) -> Self:
        self.shape()
        return self

    def shape(self) -> NetworkShape:
        """The same, as the network takes it."""
        return NetworkShape(
            self.widths,
            self.depths,
            self.dimensions,
            self.colour_channels,
            self.colour_cells,
            self.halvings,
            self.attention,
        )


class NetworkConfiguration(ShapeConfiguration):
    """One network of an extractor, as its JSON file describes it.

    Attributes:
        side: Of the squares that it sees.
        mirrored: Whether the mirror image is looked at, too: a vector is then the mean of the
            picture's and its mirror image's.
        mirror_share: Of the square, the side of the middle part that the mirror image shows, 0..1:
            what is seen a second time need not be seen from as far.
        divided: Whether the looks are divided among joined networks instead: the first one sees
            the square alone, the others the mirror image alone, in half of the time.
        histogram: The colour part beside it.
        beside: Further networks, joined with it; see `JoinedNetwork`.
        projected: Length of the learned vector after its projection; None: there is none.
    """

    side: int = Field(ge=16, le=1024)
    mirrored: bool
    mirror_share: float = Field(default=1.0, ge=0.25, le=1)
    divided: bool = False
    histogram: HistogramConfiguration | None = None
    beside: tuple[ShapeConfiguration, ...] = ()
    projected: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _has_looks_to_divide(self) -> Self:
        if self.divided and not (self.mirrored and self.beside):
            raise ValueError("Looks can be divided among several networks that mirror.")
        return self

    @property
    def twice(self) -> bool:
        """Whether every network sees the square and its mirror image."""
        return self.mirrored and not self.divided

    @property
    def learned_dimensions(self) -> int:
        """Length of the networks' vectors together, before any projection."""
        return self.dimensions + sum(member.dimensions for member in self.beside)

    @property
    def vector_dimensions(self) -> int:
        """Length of the vectors, all parts included."""
        colours = self.histogram.dimensions if self.histogram else 0
        return (self.projected or self.learned_dimensions) + colours

    @property
    def multiply_adds(self) -> int:
        """Of one vector, its mirror image's included."""
        return multiply_adds(self.network(), self.side) * (2 if self.twice else 1)

    def network(self) -> nn.Module:
        """The network, its weights still as drawn."""
        network: nn.Module = EmbeddingNetwork(self.shape())
        if self.beside:
            further = (EmbeddingNetwork(member.shape()) for member in self.beside)
            network = JoinedNetwork([network, *further])
        if self.projected is not None:
            network = ProjectedNetwork(network, self.learned_dimensions, self.projected)
        if self.histogram is None:
            return network
        colours = ColourHistogram(self.histogram.dimensions)
        return PictureNetwork(network, colours, self.histogram.share)


class ExtractorConfiguration(BaseModel):
    """``extractor.json``.

    Attributes:
        margin: See `core.framing.Framing`.
        lift: The same.
        weights_of_both: Shares of the face's and of the picture's cosine in the look `both`.
        same_character_threshold: Face cosine from which two faces count as one character.
        false_accepts: Share of pairs of different characters at or above that threshold, on the
            characters that the threshold was chosen on.
        files: SHA-256 of the weights and of the networks in int8 that were made of them, by their
            paths from the folder; None: they are taken as they are. Networks that are not listed
            are not looked at.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(ge=1, le=1)
    face: NetworkConfiguration
    picture: NetworkConfiguration
    margin: float = Field(ge=0, le=2)
    lift: float = Field(ge=-1, le=1)
    weights_of_both: tuple[float, float]
    same_character_threshold: float = Field(ge=-1, le=1)
    false_accepts: float = Field(ge=0, le=1)
    files: dict[str, str] | None = Field(default=None, min_length=1)


class FamiliarExtractor:
    """Both networks with their preprocessing, on one torch device. See `core.models.Extractor`.

    Attributes:
        configuration: What the networks are.
        framing: Of the squares that the face network sees.
        precision: What its convolutions compute in.
        in_onnxruntime: Whether onnxruntime does nearly all of its work, and PyTorch small steps.
    """

    def __init__(
        self,
        name: str,
        sha256: str,
        configuration: ExtractorConfiguration,
        face: nn.Module,
        picture: nn.Module,
        *,
        device: str = "cpu",
        precision: Precision = "float32",
        trunks: Sequence[Trunk] = (),
    ) -> None:
        """
        Args:
            name: Of its folder.
            sha256: Of all of its files.
            configuration: What the networks are.
            face: Sees faces.
            picture: Sees whole pictures.
            device: A torch device.
            precision: ``bfloat16`` is rounded to where the device has no instructions for it;
                ``int8`` needs `trunks`.
            trunks: Both networks' convolutions in int8.
        """
        self.name = name
        self.sha256 = sha256
        self.configuration = configuration
        self.face_dimensions = configuration.face.vector_dimensions
        self.picture_dimensions = configuration.picture.vector_dimensions
        self.weights_of_both = configuration.weights_of_both
        self.framing = Framing(configuration.margin, configuration.lift)
        self.same_threshold: float | None = configuration.same_character_threshold
        self.false_accepts: float | None = configuration.false_accepts
        self.face_side = configuration.face.side
        self.picture_side = configuration.picture.side
        self._device = torch.device(device)
        self.precision = precision
        self.in_onnxruntime = precision == "int8"
        of_face, of_picture = trunks or (None, None)
        self._face = self._ready(face, configuration.face, of_face)
        self._picture = self._ready(picture, configuration.picture, of_picture)

    def _ready(
        self, network: nn.Module, configuration: NetworkConfiguration, trunk: Trunk | None
    ) -> nn.Module:
        """A network as it computes fastest on the device."""
        network.eval()
        fold_norms(network)
        if self.precision == "bfloat16":
            fast = bfloat16_is_fast(str(self._device))
            convolve_in_bfloat16(network, by_rounding=not fast)
        moved(network.to(memory_format=torch.channels_last), self._device)
        if self._device.type != "cpu" or self.precision == "bfloat16":
            return network
        side = configuration.side
        example = looks_at(torch.zeros(1, CHANNELS, side, side), configuration)
        return pack(network, example.contiguous(memory_format=torch.channels_last), trunk)

    @classmethod
    def load(
        cls,
        folder: Path,
        device: str = "cpu",
        *,
        precision: Precision = "float32",
        threads: int = 0,
    ) -> FamiliarExtractor:
        """Read an extractor's folder.

        Args:
            folder: As training wrote it.
            device: A torch device.
            precision: What convolutions compute in. ``bfloat16`` is fast on some devices alone; on
                others they are rounded to it. ``int8`` is taken on the processor, where
                ``extractor.json`` lists networks for it, else ``float32``.
            threads: Of the processor for those, 0 for all.

        Raises:
            ModelError: A file is missing, damaged or belongs to another network, or the device
                does not take the networks.
        """
        contents = {}
        for name in (CONFIGURATION, FACE_WEIGHTS, PICTURE_WEIGHTS):
            try:
                contents[name] = (folder / name).read_bytes()
            except OSError as error:
                if name == CONFIGURATION and (folder / ONE_TRAINING).is_file():
                    raise ModelError(
                        f"{folder} holds one network, as `familiar train extractor` wrote it; put"
                        " one for faces and one for whole pictures together with"
                        " `familiar train assemble`, and name the folder that this writes."
                    ) from error
                raise ModelError(
                    f"The extractor in {folder} lacks {name} ({error.strerror}); put the folder"
                    " back as it was shipped, or make it anew with `familiar train assemble`."
                ) from error
        try:
            configuration = ExtractorConfiguration.model_validate_json(contents[CONFIGURATION])
        except ValidationError as error:
            raise ModelError(
                f"{folder / CONFIGURATION} is damaged or of another version: "
                f"{error.error_count()} of its values are not usable."
            ) from error
        face = load_network(folder / FACE_WEIGHTS, configuration.face)
        picture = load_network(folder / PICTURE_WEIGHTS, configuration.picture)
        listed = configuration.files or {}
        hashes = {
            name: hashlib.sha256(contents[name]).hexdigest()
            for name in (FACE_WEIGHTS, PICTURE_WEIGHTS)
        }
        for name, value in hashes.items():
            if listed.get(name, value) != value:
                raise ModelError(
                    f"{folder / name} is damaged or was replaced; put the folder back as it was"
                    " shipped, or assemble the extractor anew."
                )
        trunks: list[QuantisedNetwork] = []
        if precision == "int8":
            there = all(name in listed for name in INT8)
            if there and torch.device(device).type == "cpu" and can_pack():
                trunks = _trunks(folder, configuration, listed, threads)
            else:
                precision = "float32"
        return cls(
            folder.resolve().name,
            _identity(contents[CONFIGURATION], hashes),
            configuration,
            face,
            picture,
            device=device,
            precision=precision,
            trunks=trunks,
        )

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The square that the face network sees, ``(face_side, face_side, 3)``.

        Args:
            pixels: ``(height, width, 3)``.
            box: See `core.framing.framed`.
            points: Not looked at: these networks learnt from boxes, hair and all.
        """
        return framed(pixels, box, self.framing, self.face_side)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The whole picture, squeezed into ``(picture_side, picture_side, 3)``."""
        return resized(pixels, self.picture_side)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, face_side, face_side, 3)`` -> ``(n, face_dimensions)`` of unit length."""
        return self._embed(self._face, faces, self.configuration.face)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, picture_side, picture_side, 3)`` -> ``(n, picture_dimensions)``."""
        return self._embed(self._picture, pictures, self.configuration.picture)

    def _embed(
        self, network: nn.Module, pixels: Pixels, configuration: NetworkConfiguration
    ) -> Vectors:
        if not len(pixels):
            return np.empty((0, configuration.vector_dimensions), np.float32)
        with torch.inference_mode():
            values = looks_at(as_values(pixels, self._device), configuration)
            vectors = network(values.contiguous(memory_format=torch.channels_last))
            if configuration.twice:
                vectors = vectors[: len(pixels)] + vectors[len(pixels) :]
            vectors = torch.nn.functional.normalize(vectors.float(), dim=1)
            return np.asarray(vectors.cpu().numpy(), np.float32)


def _identity(configuration: bytes, weights: Mapping[str, str]) -> str:
    """One hash for all that vectors, and how they are weighed, depend on; no threshold does."""
    told = json.loads(configuration)
    for name in _OF_NO_VECTOR:
        told.pop(name, None)
    return hashlib.sha256(json.dumps([told, weights], sort_keys=True).encode()).hexdigest()


def as_values(pixels: Pixels, device: torch.device | None = None) -> Tensor:
    """Pixels ``(n, side, side, 3)`` as networks take them: ``(n, 3, side, side)`` in -1..1."""
    values = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    return values.permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def looks_at(squares: Tensor, configuration: NetworkConfiguration) -> Tensor:
    """What a network sees of squares.

    A drawing and its mirror image show the same character: what is told by both depends less on
    which way the face looks, and how it is framed.

    Args:
        squares: ``(n, 3, side, side)``.
        configuration: Whether the mirror image is seen, and by whom.

    Returns:
        ``(n, 3, side, side)``, or ``(2 * n, 3, side, side)`` with the mirror images behind them,
        or, with looks divided among k networks, ``(n, k * 3, side, side)``.
    """
    if not configuration.mirrored:
        return squares
    mirrored = _middle(squares, configuration.mirror_share).flip(3)
    if configuration.divided:
        return torch.cat([squares, *[mirrored] * len(configuration.beside)], 1)
    return torch.cat([squares, mirrored])


def _middle(squares: Tensor, share: float) -> Tensor:
    """The middle of squares ``(n, 3, side, side)``, `share` as wide, at the same size."""
    side = squares.shape[3]
    seen = middle_of(side, share)
    part = squares[:, :, seen, seen]
    if part.shape == squares.shape:
        return squares
    return nn.functional.interpolate(part, size=(side, side), mode="bilinear")


def middle_of(side: int, share: float) -> slice:
    """The middle of a square's rows or columns, `share` of them."""
    seen = round(share * side)
    start = (side - seen) // 2
    return slice(start, start + seen)


def _trunks(
    folder: Path, configuration: ExtractorConfiguration, listed: dict[str, str], threads: int
) -> list[QuantisedNetwork]:
    """Both networks' convolutions in int8.

    Raises:
        ModelError: They are missing, damaged or of other networks.
    """
    trunks = quantised_networks(folder, listed, INT8, threads)
    described = configuration.face, configuration.picture
    for name, trunk, network in zip(INT8, trunks, described, strict=True):
        count = 1 + len(network.beside)
        channels = CHANNELS * (count if network.divided else 1)
        fits = trunk.entering == (channels, network.side, network.side)
        if not fits or trunk.leaving.get(MAPS, (0,))[0] != count * network.widths[-1]:
            raise ModelError(
                f"{folder / name} does not belong to the extractor beside it; assemble it anew,"
                " or set FAMILIAR_MODEL_PRECISION=float32 to use it without."
            )
    return trunks


def load_network(path: Path, configuration: NetworkConfiguration) -> nn.Module:
    """A network with the weights of a file.

    Raises:
        ModelError: The file is missing, damaged or belongs to another network.
    """
    network = configuration.network()
    try:
        fill(network, read_tensors(path), f"the network in {CONFIGURATION}", str(path))
    except ModelError as error:
        raise ModelError(
            f"{error} Put the file back as it was shipped, or train it with"
            " `familiar train extractor`."
        ) from error
    return network
