"""From trained networks to the folder that `load_extractor` reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from safetensors.torch import load_file, save

from core.evaluate import threshold_at
from core.face import crop
from core.models.backbones import ColourHistogram
from core.models.extractor import (
    CONFIGURATION,
    FACE_WEIGHTS,
    PICTURE_WEIGHTS,
    ExtractorConfiguration,
    HistogramConfiguration,
    NetworkConfiguration,
    ShapeConfiguration,
    lifted_square,
    resized,
)
from core.train.extractor import METRICS, WEIGHTS
from core.train.face_data import (
    LabelledPictures,
    TrainingDataError,
    decoded,
    load_labelled,
    load_unlabelled,
)
from core.train.histogram import fit_histogram
from core.train.trained import TrainedNetwork
from core.train.voc import read_folder

COLOUR_COMPONENTS: Final = 32
"""Of the colour part of a picture network."""

COLOUR_SHARE: Final = 0.6
"""Of the colour part in the cosine of whole pictures; docs/training-log/extractor.md has the
figures by which it was chosen."""

_STORED_SIDE: Final = 128
_NOBODY: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Choices:
    """What an extractor needs beside its networks; see `ExtractorConfiguration`.

    Attributes:
        colours: The colour part of the picture network and its share in the cosine; None: the
            picture network has none.
    """

    margin: float = 0.7
    lift: float = 0.5
    weights_of_both: tuple[float, float] = (0.75, 0.25)
    same_character_threshold: float = 0.5
    false_accepts: float = 0.01
    colours: tuple[ColourHistogram, float] | None = None


def same_threshold(
    faces: Sequence[Path], characters: Path, false_accepts: float, framing: Choices
) -> float:
    """The cosine that a share of the pairs of different characters reach.

    On characters that the networks were trained on it would come out too low: they have been
    pushed apart.

    Args:
        faces: What `core.train.extractor.train` wrote for the face networks.
        characters: ``<character>/<face crop>``, or pictures with named boxes in Pascal VOC files,
            of which those that are called ``unknown`` are left out.
        false_accepts: That share, 0..1.
        framing: Margin and lift of the squares around boxes.

    Raises:
        TrainingDataError: The folder has too few readable pictures.
        core.train.voc.AnnotationError: An annotation cannot be used.
        core.models.ModelError: `faces` do not hold trainings' results.
    """
    if any(characters.rglob("*.xml")):
        pictures = _named_faces(characters, framing)
    else:
        pictures = load_labelled(characters, _STORED_SIDE)
    networks = [TrainedNetwork(face, mirrored=True) for face in faces]
    side = max(network.side for network in networks)
    vectors = np.concatenate([each.embed(pictures.pixels, side=side) for each in networks], 1)
    vectors /= np.float32(len(networks) ** 0.5)
    return threshold_at(vectors, pictures.labels, false_accepts)[0]


def _named_faces(folder: Path, framing: Choices) -> LabelledPictures:
    squares, names = [], []
    for annotation in read_folder(folder):
        pixels = decoded(annotation.picture.read_bytes())
        if pixels is None:
            raise TrainingDataError(f"{annotation.picture} cannot be decoded.")
        for box, name in zip(annotation.boxes.tolist(), annotation.names, strict=True):
            if name != _NOBODY:
                square = lifted_square((box[0], box[1], box[2], box[3]), framing)
                squares.append(resized(crop(pixels, square), _STORED_SIDE))
                names.append(name)
    known = sorted(set(names))
    if len(known) < 2:
        raise TrainingDataError(f"The boxes in {folder} need the names of two characters or more.")
    labels = np.array([known.index(name) for name in names], np.int64)
    return LabelledPictures(np.stack(squares), labels, tuple(known))


def colours_of(folder: Path, side: int) -> tuple[ColourHistogram, float]:
    """The colour part of a picture network, fitted to a folder's pictures, and its share.

    Args:
        folder: Searched for pictures at any depth.
        side: Of the squares that the picture network sees.

    Raises:
        TrainingDataError: There is no readable picture.
    """
    pictures = load_unlabelled(folder, side, "squeeze")
    return fit_histogram(pictures, COLOUR_COMPONENTS), COLOUR_SHARE


def _network(trained: Path, mirrored: bool) -> NetworkConfiguration:
    options = json.loads((trained / METRICS).read_text())["options"]
    return NetworkConfiguration(**options["shape"], side=options["sides"][-1][1], mirrored=mirrored)


def _halved(trained: Path) -> dict[str, torch.Tensor]:
    return {name: value.to(torch.float16) for name, value in load_file(trained / WEIGHTS).items()}


def assemble(
    face: Path,
    picture: Path,
    to: Path,
    choices: Choices | None = None,
    *,
    beside: Sequence[Path] = (),
) -> Path:
    """Write an extractor's folder, weights in half precision.

    Args:
        face: What `core.train.extractor.train` wrote for the face network.
        picture: The same for the picture network, or an extractor's folder whose picture
            network is taken over.
        to: The new folder.
        choices: Margin, weights and thresholds.
        beside: Further trainings' results for faces, to be joined with `face`.

    Returns:
        `to`.
    """
    choices = choices or Choices()
    to.mkdir(parents=True, exist_ok=True)
    weights = _halved(face)
    face_network = _network(face, mirrored=True)
    if beside:
        weights = {
            f"members.{number}.{name}": value
            for number, its_own in enumerate([weights, *map(_halved, beside)])
            for name, value in its_own.items()
        }
        others = [_network(each, mirrored=True) for each in beside]
        shapes = [each.model_dump(include=set(ShapeConfiguration.model_fields)) for each in others]
        face_network = face_network.model_copy(
            update={
                "side": max(each.side for each in (face_network, *others)),
                "beside": tuple(ShapeConfiguration(**shape) for shape in shapes),
            }
        )
    (to / FACE_WEIGHTS).write_bytes(save(weights))
    if (picture / CONFIGURATION).exists():
        taken = ExtractorConfiguration.model_validate_json((picture / CONFIGURATION).read_bytes())
        picture_network = taken.picture
        if picture.resolve() != to.resolve():
            (to / PICTURE_WEIGHTS).write_bytes((picture / PICTURE_WEIGHTS).read_bytes())
    else:
        picture_network = _network(picture, mirrored=False)
        weights = _halved(picture)
        if choices.colours is not None:
            colours, share = choices.colours
            weights = {f"network.{name}": value for name, value in weights.items()}
            # In full precision: the components are scaled far apart.
            weights |= {
                f"histogram.{name}": value.contiguous()
                for name, value in colours.state_dict().items()
            }
            described = HistogramConfiguration(dimensions=colours.components.shape[1], share=share)
            picture_network = picture_network.model_copy(update={"histogram": described})
        (to / PICTURE_WEIGHTS).write_bytes(save(weights))
    configuration = ExtractorConfiguration(
        format=1,
        face=face_network,
        picture=picture_network,
        margin=choices.margin,
        lift=choices.lift,
        weights_of_both=choices.weights_of_both,
        same_character_threshold=choices.same_character_threshold,
        false_accepts=choices.false_accepts,
    )
    (to / CONFIGURATION).write_text(configuration.model_dump_json(indent=2) + "\n")
    return to
