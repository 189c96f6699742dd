"""The trainings that are compared, all under one small equal budget."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final, Literal

from core.folder import scan
from core.train.extractor import Report, train
from core.train.extractor_names import Backbone, Loss
from core.train.extractor_options import ExtractorTraining, of_pictures
from core.train.face_data import LeftOut, bytes_of
from core.train.networks import IR_SE50_SIDE
from core.train.results import METRICS, WEIGHTS

SIDE: Final = 64
IDENTITIES: Final = 16
PICTURES: Final = 4
EPOCHS: Final = 4

FORMAT: Final = 1
"""Of the trainings that are kept: one more with each change to `core.train`, or to the networks,
after which the same options and pictures make other weights. Those of another number are made
anew."""

Name = Literal[
    "attributes-of-faces",
    "attributes-of-pictures",
    "triplet-soft",
    "triplet-margin",
    "facenet",
    "arcface-ir-se50",
    "familiar-faces",
    "familiar-pictures",
]

Source = Literal[
    "histogram",
    "resnet101",
    "attributes",
    "triplet-soft",
    "triplet-margin",
    "facenet",
    "arcface-ir-se50",
    "familiar",
    "shipped",
]
"""Where the vectors of a method come from."""

SOURCES: Final[dict[Source, tuple[Name, Name | None]]] = {
    "attributes": ("attributes-of-faces", "attributes-of-pictures"),
    "triplet-soft": ("triplet-soft", None),
    "triplet-margin": ("triplet-margin", None),
    "facenet": ("facenet", None),
    "arcface-ir-se50": ("arcface-ir-se50", None),
    "familiar": ("familiar-faces", "familiar-pictures"),
}
"""The sources that are trained here, under one budget: by which training on faces by character, and
by which on whole pictures by series."""

OF_PICTURES: Final = frozenset(picture for _, picture in SOURCES.values() if picture is not None)
"""Trained on whole pictures by series; the others on faces by character."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What each network may use up.

    Attributes:
        megapixels: Pixels that the network sees in training, in millions: steps x pictures in a
            batch x pixels of a picture.
        seed: Of everything that is drawn.
        device: Torch device.
    """

    megapixels: float = 40.0
    seed: int = 7
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class TrainingFolders:
    """What the methods are trained on.

    Attributes:
        faces: ``<character>/<crop>``; None: methods of faces are not trained.
        series: ``<series>/<picture>``; None: methods of whole pictures are not trained.
        models: Where the results are kept.
        without: Of `series`, those that are not trained on.
    """

    faces: Path | None
    series: Path | None
    models: Path
    without: tuple[str, ...] = ()


def trainings(budget: Budget) -> dict[Name, ExtractorTraining]:
    """The options of each training.

    The batch (16 labels with 4 pictures each), the changes to the pictures, the optimiser and its
    schedule are the same for all; so is the network, but for IR-SE50, which sees larger squares
    and so fewer of them.
    """
    faces = replace(
        ExtractorTraining(),
        sides=((1.0, SIDE),),
        stored_side=96,
        epochs=EPOCHS,
        identities=IDENTITIES,
        pictures=PICTURES,
        unlabelled_in_batch=0,
        seed=budget.seed,
        device=budget.device,
    )
    faces = replace(faces, steps=_steps(budget, SIDE))
    pictures = replace(
        of_pictures(),
        sides=((1.0, SIDE),),
        epochs=EPOCHS,
        identities=IDENTITIES,
        pictures=PICTURES,
        unlabelled_in_batch=0,
        seed=budget.seed,
        device=budget.device,
        steps=_steps(budget, SIDE),
    )
    return {
        "attributes-of-faces": replace(faces, loss=Loss.ATTRIBUTES),
        "attributes-of-pictures": replace(pictures, loss=Loss.ATTRIBUTES),
        "triplet-soft": replace(faces, loss=Loss.TRIPLET),
        "triplet-margin": replace(faces, loss=Loss.TRIPLET, triplet_margin=0.2),
        "facenet": replace(faces, loss=Loss.TRIPLET_SEMIHARD),
        "arcface-ir-se50": replace(
            faces,
            loss=Loss.ARCFACE,
            backbone=Backbone.IR_SE50,
            sides=((1.0, IR_SE50_SIDE),),
            stored_side=128,
            steps=_steps(budget, IR_SE50_SIDE),
        ),
        "familiar-faces": faces,
        "familiar-pictures": pictures,
    }


def _steps(budget: Budget, side: int) -> int:
    return max(1, round(budget.megapixels * 1e6 / (IDENTITIES * PICTURES * side * side)))


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Path and SHA-256 of each picture below a folder, in the order of the paths.

    Of a file that cannot be read, the hash is that of an empty one.
    """
    for file in scan(folder).pictures:
        yield file.path, hashlib.sha256(bytes_of(file.location)).hexdigest()


def result_of(
    name: Name,
    options: ExtractorTraining,
    folder: Path,
    models: Path,
    *,
    progress: Report | None = None,
    left_out: LeftOut | None = None,
) -> Path:
    """The result of a training, made where it is not there yet.

    Args:
        name: Of the training.
        options: Its options; other ones have a place of their own, whatever the device, and so has
            each `FORMAT`.
        folder: ``<label>/<picture>``; other pictures have a place of their own.
        models: Where results are kept, and what was begun is gone on with.
        progress: Told of each step.
        left_out: Told of each picture file that cannot be read, where there is a training.

    Returns:
        The folder of the result.

    Raises:
        core.train.face_data.TrainingDataError: The folder cannot be trained on.
    """
    pictures = list(contents(folder))
    told = [FORMAT, asdict(replace(options, device="")), pictures]
    identity = json.dumps(told, sort_keys=True)
    out = models / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"
    if not ((out / WEIGHTS).is_file() and (out / METRICS).is_file()):
        train(folder, out, options, resume=True, progress=progress, left_out=left_out)
    return out


def train_all(
    folders: TrainingFolders,
    budget: Budget,
    report: Callable[[Name], AbstractContextManager[Report]],
    left_out: LeftOut | None = None,
) -> dict[Name, Path]:
    """Train what can be trained with the folders at hand, and is not there yet.

    Args:
        folders: To train on, and where to keep the results.
        budget: Of each network.
        report: Gives for each training who is told of its steps.
        left_out: Told of each picture file that cannot be read.

    Returns:
        The folder of each result.

    Raises:
        core.train.face_data.TrainingDataError: A folder cannot be trained on.
    """
    results: dict[Name, Path] = {}
    for name, options in trainings(budget).items():
        of_pictures = name in OF_PICTURES
        folder = folders.series if of_pictures else folders.faces
        learned = replace(options, without=folders.without) if of_pictures else options
        if folder is not None:
            with report(name) as progress:
                results[name] = result_of(
                    name,
                    learned,
                    folder,
                    folders.models,
                    progress=progress,
                    left_out=left_out,
                )
    return results
