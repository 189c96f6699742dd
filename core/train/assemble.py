"""From trained networks to the folder that `load_extractor` reads."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save

from core.face import Pixels, Vectors
from core.files import partial_folder
from core.framing import HEADS, Framing, cut_square, resized
from core.models import ModelError
from core.models.backbones import ColourHistogram
from core.models.extractor import (
    CONFIGURATION,
    FACE_WEIGHTS,
    PICTURE_WEIGHTS,
    ExtractorConfiguration,
    FamiliarExtractor,
    HistogramConfiguration,
    NetworkConfiguration,
    ShapeConfiguration,
    middle_of,
)
from core.models.weights import fill
from core.retrieval import threshold_at
from core.train.extractor_int8 import EXAMPLES, networks_in_int8
from core.train.extractor_names import Backbone, Kind
from core.train.extractor_options import UNIT_LENGTH
from core.train.face_data import (
    Fit,
    LabelledPictures,
    LeftOut,
    TrainingDataError,
    load_labelled,
    load_unlabelled,
)
from core.train.histogram import fit_histogram
from core.train.results import WEIGHTS
from core.train.spread import rows_all_over
from core.train.trained import TrainedNetwork
from core.train.whitening import whitening_matrix
from core.voc import UNNAMED, files_in, pixels_of, read_folder, within

COLOUR_COMPONENTS: Final = 32
"""Of the colour part of a picture network."""

COLOUR_SHARE: Final = 0.6
"""Of the colour part in the cosine of whole pictures; docs/training-log/extractor.md has the
figures by which it was chosen."""

PROJECTED: Final = 192
"""Length that the vectors of several face networks are brought down to."""

WHITENING: Final = 0.3
"""How far their directions are evened out; the same log has these figures, too."""

REFERENCES: Final = 8192
"""Most pictures without labels that this is measured on, spread evenly over all there are."""

_STORED_SIDE: Final = 128
_BATCH: Final = 64
_THRESHOLD: Final = 0.5
_NOBODY: Final = ("unknown", UNNAMED)

_Described = TypeVar("_Described", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Choices:
    """What an extractor needs beside its networks; see `ExtractorConfiguration`.

    Attributes:
        framing: Of the squares that the face networks see.
        weights_of_both: Shares of the face's and of the picture's cosine in the look `both`.
        colours: The colour part of the picture network and its share in the cosine; None: the
            picture network has none.
        projection: ``(d, k)``, what the face networks' vectors are multiplied by; None: nothing.
        mirrored: Whether the face networks see each face and its mirror image.
        mirror_share: Of a face's square, the side of the middle part that the mirror image shows.
        divided: Whether several face networks divide both looks among them, instead of each taking
            both in twice the time; see `NetworkConfiguration`.
    """

    framing: Framing = HEADS
    weights_of_both: tuple[float, float] = (0.78, 0.22)
    colours: tuple[ColourHistogram, float] | None = None
    projection: Vectors | None = None
    mirrored: bool = True
    mirror_share: float = 0.75
    divided: bool = True

    def divides(self, networks: int) -> bool:
        """Whether so many face networks divide their looks."""
        return self.mirrored and self.divided and networks > 1


def load_characters(
    folder: Path, framing: Framing, left_out: LeftOut | None = None
) -> LabelledPictures:
    """Named faces to choose a threshold on.

    Args:
        folder: ``<character>/<face crop>``, or pictures with named boxes in Pascal VOC files, of
            which those that are called ``unknown`` or ``face``, or lie outside of their picture,
            are left out.
        framing: Of the squares around boxes.
        left_out: Told of each face crop that cannot be read.

    Raises:
        TrainingDataError: The folder has too few readable pictures, or boxes with names.
        core.voc.AnnotationError: An annotation or its picture cannot be used.
    """
    if not files_in(folder):
        return load_labelled(folder, _STORED_SIDE, left_out=left_out)
    squares, names = [], []
    for annotation in read_folder(folder):
        pixels = pixels_of(annotation)
        seen = within(annotation, pixels)
        for box, name in zip(seen.boxes.tolist(), seen.names, strict=True):
            if name not in _NOBODY:
                square = framing.square((box[0], box[1], box[2], box[3]))
                squares.append(cut_square(pixels, square, _STORED_SIDE))
                names.append(name)
    known = sorted(set(names))
    if len(known) < 2:
        raise TrainingDataError(
            f"The boxes in {folder} need the names of two characters or more; those called"
            f" {' or '.join(_NOBODY)} show nobody in particular."
        )
    labels = np.array([known.index(name) for name in names], np.int64)
    return LabelledPictures(np.stack(squares), labels, tuple(known))


def examples_in(folders: Sequence[Path], fit: Fit = "pad") -> Pixels:
    """Some of the pictures in folders and in zip files there, each as a square, for int8's scales.

    Args:
        folders: Searched at any depth; what cannot be read is left out.
        fit: What becomes of a picture that is not square.

    Raises:
        TrainingDataError: One of them holds no readable picture.
    """
    return np.concatenate(
        [load_unlabelled(folder, _STORED_SIDE, fit, most=EXAMPLES) for folder in folders]
    )


def projection_of(
    faces: Sequence[Path],
    folders: Sequence[Path],
    choices: Choices | None = None,
    *,
    left_out: LeftOut | None = None,
) -> Vectors:
    """The projection for face networks, fitted to pictures that they have no labels of.

    Args:
        faces: What `core.train.extractor.train` wrote for them.
        folders: Face crops of characters that the networks were not trained on, at any depth, zip
            files included.
        choices: How the networks will look at faces.
        left_out: Told of each picture that cannot be read.

    Returns:
        ``(the networks' dimensions together, at most PROJECTED)``.

    Raises:
        TrainingDataError: There is no readable picture.
        core.models.ModelError: `faces` do not hold trainings' results, or such as no extractor
            holds; see `write_networks`.
    """
    choices = choices or Choices()
    networks = [_trained(face, Kind.FACES) for face in faces]
    side = max(network.side for network in networks)
    pictures = np.concatenate(
        [load_unlabelled(folder, _STORED_SIDE, left_out=left_out) for folder in folders]
    )
    pictures = pictures[rows_all_over(len(pictures), REFERENCES)]
    squares = np.stack([resized(picture, side) for picture in pictures])
    looks = [squares]
    if choices.mirrored:
        looks.append(_closer_mirrored(squares, choices.mirror_share))
    divided = choices.divides(len(faces))
    parts = []
    for number, network in enumerate(networks):
        seen = [looks[min(number, 1)]] if divided else looks
        mean = np.mean([network.embed(each, side=side) for each in seen], axis=0)
        parts.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
    vectors = np.asarray(np.concatenate(parts, 1) / len(networks) ** 0.5, np.float32)
    return whitening_matrix(vectors, min(PROJECTED, vectors.shape[1]), WHITENING)


def _closer_mirrored(squares: Pixels, share: float) -> Pixels:
    """The mirror images of the middles of ``(n, side, side, 3)``, `share` as wide, as they are."""
    seen = middle_of(squares.shape[1], share)
    return squares[:, seen, seen][:, :, ::-1]


def colours_of(
    folder: Path, side: int, left_out: LeftOut | None = None
) -> tuple[ColourHistogram, float]:
    """The colour part of a picture network, fitted to a folder's pictures, and its share.

    Args:
        folder: Searched for pictures at any depth.
        side: Of the squares that the picture network sees.
        left_out: Told of each picture that cannot be read.

    Raises:
        TrainingDataError: There are no more readable pictures than `COLOUR_COMPONENTS`.
    """
    pictures = load_unlabelled(folder, side, "squeeze", left_out)
    return fit_histogram(pictures, COLOUR_COMPONENTS), COLOUR_SHARE


def trained_on_pictures(picture: Path) -> TrainedNetwork:
    """The picture network of a training, which a colour part can be put beside.

    Args:
        picture: What `core.train.extractor.train` wrote for it.

    Raises:
        core.models.ModelError: It is an extractor's folder, or no result of a training on pictures.
    """
    if (picture / CONFIGURATION).exists():
        raise ModelError(
            f"{picture} is an extractor's folder, whose picture network is taken over as it is;"
            " --colours goes with a training's folder only."
        )
    return _trained(picture, Kind.PICTURES)


def _trained(folder: Path, of: Kind) -> TrainedNetwork:
    """A training's result that an extractor can hold, on what belongs in its place."""
    network = TrainedNetwork(folder)
    if network.of != of:
        raise ModelError(
            f"{folder} was trained on {network.of}, and one that was trained on {of} belongs in its"
            f" place; see `--of {of}`."
        )
    if network.backbone != Backbone.FAMILIAR:
        raise ModelError(
            f"{folder} holds a network {network.backbone}, which an extractor's folder cannot"
            " describe; train one with `--backbone familiar`."
        )
    if network.loss not in UNIT_LENGTH:
        raise ModelError(
            f"{folder} was trained with the loss {network.loss}, whose vectors are not compared by"
            f" cosine as an extractor's are; train with {' or '.join(sorted(UNIT_LENGTH))}."
        )
    return network


def _network(
    trained: TrainedNetwork, mirrored: bool, mirror_share: float = 1.0
) -> NetworkConfiguration:
    return NetworkConfiguration(
        **asdict(trained.shape), side=trained.side, mirrored=mirrored, mirror_share=mirror_share
    )


def _halved(trained: Path) -> dict[str, torch.Tensor]:
    return {name: value.to(torch.float16) for name, value in load_file(trained / WEIGHTS).items()}


def _changed(described: _Described, **changes: Any) -> _Described:
    """The same with some values changed, and all of them checked again."""
    return type(described).model_validate(described.model_dump() | changes)


def assemble(
    face: Path,
    picture: Path,
    out: Path,
    choices: Choices,
    *,
    beside: Sequence[Path] = (),
    characters: LabelledPictures,
    crops: Pixels,
    pictures: Pixels,
    false_accepts: float,
) -> float:
    """Make an extractor, in int8 too where it can be, and put it where it is to be.

    It is made beside `out`, so that no half of one is ever found there. Where it is stopped while
    it is moved, there is none in `out` any longer.

    Args:
        face: What `core.train.extractor.train` wrote for the face network.
        picture: The same for the picture network, or an extractor's folder whose picture
            network is taken over; it may be `out`.
        out: Made if it is missing. An extractor in it is replaced; other files are left alone.
        choices: Margin, weights, and what belongs to the networks.
        beside: Further trainings' results for faces, to be joined with `face`.
        characters: To choose the threshold on: such as no network was trained on.
        crops: Face crops ``(n, height, width, 3)`` such as it will see, at least one, to take
            int8's scales of.
        pictures: The same of whole pictures.
        false_accepts: Share of the pairs of different characters that reach the threshold, 0..1.

    Returns:
        The threshold.

    Raises:
        core.models.ModelError: See `write_networks`.
        TrainingDataError: See `choose_threshold`.
        BlockingIOError: Another process is writing `out`.
    """
    out = out.resolve()
    with partial_folder(out) as made:
        write_networks(face, picture, made, choices, beside=beside)
        _add_int8(made, crops, pictures)
        threshold = choose_threshold(made, characters, false_accepts)
        _put_in_place(made, out)
    return threshold


def write_networks(
    face: Path,
    picture: Path,
    to: Path,
    choices: Choices | None = None,
    *,
    beside: Sequence[Path] = (),
) -> Path:
    """Write an extractor's folder, weights in half precision, with a threshold that nobody chose.

    Nothing is written before everything is known to fit.

    Args:
        face: See `assemble`.
        picture: See `assemble`.
        to: The folder; made if it is missing.
        choices: See `assemble`.
        beside: See `assemble`.

    Returns:
        `to`.

    Raises:
        core.models.ModelError: `face`, `picture` or `beside` do not hold trainings' results, or
            such as no extractor holds: of another network than this project's own, of a loss
            whose vectors are not of unit length, or with numbers beyond half precision. Or faces
            and pictures are interchanged, or `picture` is an extractor and there are colours.
    """
    choices = choices or Choices()
    face_network, face_weights = _of_faces(face, beside, choices)
    picture_network, picture_weights = _of_pictures(picture, choices)
    weights = {FACE_WEIGHTS: face_weights, PICTURE_WEIGHTS: picture_weights}
    configuration = ExtractorConfiguration(
        format=1,
        face=face_network,
        picture=picture_network,
        margin=choices.framing.margin,
        lift=choices.framing.lift,
        weights_of_both=choices.weights_of_both,
        same_character_threshold=_THRESHOLD,
        false_accepts=1.0,
        files=_hashes(weights),
    )
    _write(to, weights | {CONFIGURATION: _as_json(configuration)})
    return to


def _add_int8(extractor: Path, crops: Pixels, pictures: Pixels) -> None:
    """Put an extractor's convolutions in int8 beside its weights, where they can be."""
    loaded = FamiliarExtractor.load(extractor)
    files = networks_in_int8(extractor, loaded, list(crops), list(pictures))
    listed = (loaded.configuration.files or {}) | _hashes(files)
    described = _changed(loaded.configuration, files=listed)
    _write(extractor, files | {CONFIGURATION: _as_json(described)})


def choose_threshold(extractor: Path, characters: LabelledPictures, false_accepts: float) -> float:
    """Find the cosine that a share of the pairs of different characters reach, and write it down.

    In int8 where the extractor has it, as it runs on a processor.

    On characters that the networks were trained on it would come out too low: they have been
    pushed apart.

    Args:
        extractor: The folder that `write_networks` wrote.
        characters: That no network was trained on.
        false_accepts: That share, 0..1.

    Raises:
        TrainingDataError: There are no two different characters, or the share lies outside of 0..1.
        core.models.ModelError: The folder holds no extractor.
    """
    loaded = FamiliarExtractor.load(extractor, precision="int8")
    squares = [loaded.prepare_face(pixels, None) for pixels in characters.pixels]
    vectors = np.concatenate(
        [
            loaded.embed_faces(np.stack(squares[start : start + _BATCH]))
            for start in range(0, len(squares), _BATCH)
        ]
    )
    try:
        threshold = threshold_at(vectors, characters.labels, false_accepts)[0]
    except ValueError as error:
        raise TrainingDataError(f"No threshold can be chosen: {error}") from error
    configuration = _changed(
        loaded.configuration, same_character_threshold=threshold, false_accepts=false_accepts
    )
    _write(extractor, {CONFIGURATION: _as_json(configuration)})
    return threshold


def _put_in_place(extractor: Path, out: Path) -> None:
    """Move a finished extractor's files to where another one may be."""
    # New weights are never found beside the description of others: it goes before they come.
    (out / CONFIGURATION).unlink(missing_ok=True)
    files = [path for path in extractor.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name == CONFIGURATION):
        place = out / path.relative_to(extractor)
        place.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, place)


def _of_faces(
    face: Path, beside: Sequence[Path], choices: Choices
) -> tuple[NetworkConfiguration, bytes]:
    network = _network(_trained(face, Kind.FACES), choices.mirrored, choices.mirror_share)
    others = [_network(_trained(each, Kind.FACES), choices.mirrored) for each in beside]
    weights = _halved(face)
    if others:
        weights = {
            f"members.{number}.{name}": value
            for number, its_own in enumerate([weights, *map(_halved, beside)])
            for name, value in its_own.items()
        }
        shapes = [each.model_dump(include=set(ShapeConfiguration.model_fields)) for each in others]
        network = _changed(
            network,
            side=max(each.side for each in (network, *others)),
            beside=shapes,
            divided=choices.divides(1 + len(others)),
        )
    if choices.projection is not None:
        weights = {f"network.{name}": value for name, value in weights.items()}
        # In full precision: its columns are stretched far apart.
        matrix = torch.from_numpy(np.ascontiguousarray(choices.projection.T))
        weights["projection.weight"] = matrix
        network = _changed(network, projected=len(matrix))
    return network, _saved(network, weights, " and ".join(map(str, (face, *beside))))


def _of_pictures(picture: Path, choices: Choices) -> tuple[NetworkConfiguration, bytes]:
    if choices.colours is None and (picture / CONFIGURATION).exists():
        taken = FamiliarExtractor.load(picture).configuration.picture
        return taken, (picture / PICTURE_WEIGHTS).read_bytes()
    network = _network(trained_on_pictures(picture), mirrored=False)
    weights = _halved(picture)
    if choices.colours is not None:
        colours, share = choices.colours
        weights = {f"network.{name}": value for name, value in weights.items()}
        # In full precision: the components are scaled far apart.
        weights |= {
            f"histogram.{name}": value.contiguous() for name, value in colours.state_dict().items()
        }
        described = HistogramConfiguration(dimensions=colours.components.shape[1], share=share)
        network = _changed(network, histogram=described)
    return network, _saved(network, weights, str(picture))


def _saved(network: NetworkConfiguration, weights: dict[str, torch.Tensor], source: str) -> bytes:
    """Weights as a file, of which it is known that the network takes them."""
    fill(network.network(), weights, "an extractor's network", f"{source} in half precision")
    return save(weights)


def _as_json(configuration: ExtractorConfiguration) -> bytes:
    return (configuration.model_dump_json(indent=2) + "\n").encode()


def _hashes(files: dict[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
