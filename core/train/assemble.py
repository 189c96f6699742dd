"""From trained networks to the folder that `load_extractor` reads."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file, save

from core.evaluate import threshold_at
from core.models.backbones import ColourHistogram
from core.models.extractor import (
    CONFIGURATION,
    FACE_WEIGHTS,
    PICTURE_WEIGHTS,
    ExtractorConfiguration,
    HistogramConfiguration,
    NetworkConfiguration,
)
from core.train.extractor import METRICS, WEIGHTS
from core.train.face_data import load_labelled, load_unlabelled
from core.train.histogram import fit_histogram
from core.train.trained import TrainedNetwork

COLOUR_COMPONENTS: Final = 32
"""Of the colour part of a picture network."""

COLOUR_SHARE: Final = 0.6
"""Of the colour part in the cosine of whole pictures; docs/training-log/extractor.md has the
figures by which it was chosen."""

_STORED_SIDE: Final = 128


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


def same_threshold(face: Path, characters: Path, false_accepts: float) -> float:
    """The cosine that a share of the pairs of different characters reach.

    Args:
        face: What `core.train.extractor.train` wrote for the face network.
        characters: ``<character>/<face crop>``; those that the network was trained on do, as a
            trained network tells other characters' threshold from theirs by less than 0.01.
        false_accepts: That share, 0..1.

    Raises:
        core.train.face_data.TrainingDataError: The folder has too few readable pictures.
        core.models.ModelError: `face` does not hold a training's result.
    """
    pictures = load_labelled(characters, _STORED_SIDE)
    vectors = TrainedNetwork(face, mirrored=True).embed(pictures.pixels)
    return threshold_at(vectors, pictures.labels, false_accepts)[0]


def colours_of(folder: Path, side: int) -> tuple[ColourHistogram, float]:
    """The colour part of a picture network, fitted to a folder's pictures, and its share.

    Args:
        folder: Searched for pictures at any depth.
        side: Of the squares that the picture network sees.

    Raises:
        core.train.face_data.TrainingDataError: There is no readable picture.
    """
    pictures = load_unlabelled(folder, side, "squeeze")
    return fit_histogram(pictures, COLOUR_COMPONENTS), COLOUR_SHARE


def _network(trained: Path, mirrored: bool) -> NetworkConfiguration:
    options = json.loads((trained / METRICS).read_text())["options"]
    return NetworkConfiguration(**options["shape"], side=options["sides"][-1][1], mirrored=mirrored)


def _halved(trained: Path) -> dict[str, torch.Tensor]:
    return {name: value.to(torch.float16) for name, value in load_file(trained / WEIGHTS).items()}


def assemble(face: Path, picture: Path, to: Path, choices: Choices | None = None) -> Path:
    """Write an extractor's folder, weights in half precision.

    Args:
        face: What `core.train.extractor.train` wrote for the face network.
        picture: The same for the picture network, or an extractor's folder whose picture
            network is taken over.
        to: The new folder.
        choices: Margin, weights and thresholds.

    Returns:
        `to`.
    """
    choices = choices or Choices()
    to.mkdir(parents=True, exist_ok=True)
    (to / FACE_WEIGHTS).write_bytes(save(_halved(face)))
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
        face=_network(face, mirrored=True),
        picture=picture_network,
        margin=choices.margin,
        lift=choices.lift,
        weights_of_both=choices.weights_of_both,
        same_character_threshold=choices.same_character_threshold,
        false_accepts=choices.false_accepts,
    )
    (to / CONFIGURATION).write_text(configuration.model_dump_json(indent=2) + "\n")
    return to
