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
from core.face import Vectors, crop
from core.models.backbones import ColourHistogram
from core.models.extractor import (
    CONFIGURATION,
    FACE_WEIGHTS,
    PICTURE_WEIGHTS,
    ExtractorConfiguration,
    FamiliarExtractor,
    Framing,
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
from core.train.whitening import whitening_matrix

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
_NOBODY: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Choices:
    """What an extractor needs beside its networks; see `ExtractorConfiguration`.

    Attributes:
        colours: The colour part of the picture network and its share in the cosine; None: the
            picture network has none.
        projection: ``(d, k)``, what the face networks' vectors are multiplied by; None: nothing.
        mirrored: Whether the face networks see each face and its mirror image; in twice the time.
        mirror_share: Of a face's square, the side of the middle part that the mirror image shows.
    """

    margin: float = 0.55
    lift: float = 0.4
    weights_of_both: tuple[float, float] = (0.78, 0.22)
    colours: tuple[ColourHistogram, float] | None = None
    projection: Vectors | None = None
    mirrored: bool = True
    mirror_share: float = 0.75


def load_characters(folder: Path, framing: Framing) -> LabelledPictures:
    """Named faces to choose a threshold on.

    Args:
        folder: ``<character>/<face crop>``, or pictures with named boxes in Pascal VOC files, of
            which those that are called ``unknown`` are left out.
        framing: Margin and lift of the squares around boxes.

    Raises:
        TrainingDataError: The folder has too few readable pictures.
        core.train.voc.AnnotationError: An annotation cannot be used.
    """
    if not any(folder.rglob("*.xml")):
        return load_labelled(folder, _STORED_SIDE)
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


def choose_threshold(extractor: Path, characters: LabelledPictures, false_accepts: float) -> float:
    """Find the cosine that a share of the pairs of different characters reach, and write it down.

    On characters that the networks were trained on it would come out too low: they have been
    pushed apart.

    Args:
        extractor: The folder that `assemble` wrote.
        characters: That no network was trained on.
        false_accepts: That share, 0..1.

    Raises:
        core.models.ModelError: The folder holds no extractor.
    """
    loaded = FamiliarExtractor.load(extractor)
    squares = [loaded.prepare_face(pixels, None) for pixels in characters.pixels]
    vectors = np.concatenate(
        [
            loaded.embed_faces(np.stack(squares[start : start + _BATCH]))
            for start in range(0, len(squares), _BATCH)
        ]
    )
    threshold = threshold_at(vectors, characters.labels, false_accepts)[0]
    chosen = {"same_character_threshold": threshold, "false_accepts": false_accepts}
    _write(extractor, loaded.configuration.model_copy(update=chosen))
    return threshold


def projection_of(
    faces: Sequence[Path], folders: Sequence[Path], *, mirrored: bool = True
) -> Vectors:
    """The projection for face networks, fitted to pictures that they have no labels of.

    Args:
        faces: What `core.train.extractor.train` wrote for them.
        folders: Face crops of characters that the networks were not trained on, at any depth, zip
            files included.
        mirrored: See `Choices`.

    Returns:
        ``(the networks' dimensions together, at most PROJECTED)``.

    Raises:
        TrainingDataError: There is no readable picture.
        core.models.ModelError: `faces` do not hold trainings' results.
    """
    networks = [TrainedNetwork(face, mirrored=mirrored) for face in faces]
    side = max(network.side for network in networks)
    pictures = np.concatenate([load_unlabelled(folder, _STORED_SIDE) for folder in folders])
    spread = np.linspace(0, len(pictures) - 1, min(len(pictures), REFERENCES)).round()
    pictures = pictures[spread.astype(np.int64)]
    parts = [network.embed(pictures, side=side) for network in networks]
    vectors = np.concatenate(parts, 1) / np.float32(len(networks) ** 0.5)
    return whitening_matrix(vectors, min(PROJECTED, vectors.shape[1]), WHITENING)


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


def _network(trained: Path, mirrored: bool, mirror_share: float = 1.0) -> NetworkConfiguration:
    options = json.loads((trained / METRICS).read_text())["options"]
    return NetworkConfiguration(
        **options["shape"],
        side=options["sides"][-1][1],
        mirrored=mirrored,
        mirror_share=mirror_share,
    )


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
        choices: Margin, weights, and what belongs to the networks.
        beside: Further trainings' results for faces, to be joined with `face`.

    Returns:
        `to`. Its threshold is one that nobody chose: see `choose_threshold`.

    Raises:
        core.models.ModelError: `face` or `beside` do not hold trainings' results.
    """
    choices = choices or Choices()
    for each in (face, *beside):
        TrainedNetwork(each)
    to.mkdir(parents=True, exist_ok=True)
    weights = _halved(face)
    face_network = _network(face, choices.mirrored, choices.mirror_share)
    if beside:
        weights = {
            f"members.{number}.{name}": value
            for number, its_own in enumerate([weights, *map(_halved, beside)])
            for name, value in its_own.items()
        }
        others = [_network(each, mirrored=choices.mirrored) for each in beside]
        shapes = [each.model_dump(include=set(ShapeConfiguration.model_fields)) for each in others]
        face_network = face_network.model_copy(
            update={
                "side": max(each.side for each in (face_network, *others)),
                "beside": tuple(ShapeConfiguration(**shape) for shape in shapes),
            }
        )
    if choices.projection is not None:
        weights = {f"network.{name}": value for name, value in weights.items()}
        # In full precision: its columns are stretched far apart.
        matrix = torch.from_numpy(np.ascontiguousarray(choices.projection.T))
        weights["projection.weight"] = matrix
        face_network = face_network.model_copy(update={"projected": len(matrix)})
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
        same_character_threshold=_THRESHOLD,
        false_accepts=1.0,
    )
    _write(to, configuration)
    return to


def _write(folder: Path, configuration: ExtractorConfiguration) -> None:
    (folder / CONFIGURATION).write_text(configuration.model_dump_json(indent=2) + "\n")
