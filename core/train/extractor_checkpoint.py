"""What a training of an extractor's network keeps, for going on with it or beginning with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor

from core.face import Pixels
from core.files import replacing
from core.models import ModelError
from core.models.weights import NOT_OF_TORCH, read_tensors
from core.train.copies import Prints, copied, prints_of, read_prints
from core.train.face_data import LabelledPictures, TrainingDataError
from core.train.results import EXTRACTOR_CHECKPOINT, LEARNED, TRUNK

_NO_CHECKPOINT: Final = (OSError, *NOT_OF_TORCH)


class Resumable(Protocol):
    """What is taken up again; see `core.train.extractor` and `core.train.pretraining`."""

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where the same training stood."""


class Beginning(Protocol):
    """What can begin with what another training reached; see `core.train.extractor`.

    Attributes:
        known: What it learns.
    """

    known: LabelledPictures

    def begin_with(self, state: dict[str, Any]) -> None:
        """Take what an earlier training had learned."""

    def begin_with_trunk(self, trunk: dict[str, Tensor], source: str) -> None:
        """Take what a training without labels had learned."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training kept.

    Attributes:
        options: As JSON, with the labels.
        labels: What was learned.
        pictures: Digest of what they are learned from.
        start: Digest of what it began with, None for random weights.
        run: All that changes from step to step.
        curve: Of the epochs that are done.
        losses: Of each step of the epoch that is begun, with what else a step tells.
        seconds: Which that epoch took so far.
    """

    options: str
    labels: tuple[str, ...]
    pictures: str
    start: str | None
    run: dict[str, Any]
    curve: list[dict[str, Any]]
    losses: list[Any] = field(default_factory=list)
    seconds: float = 0.0


def write_checkpoint(checkpoint: Checkpoint, path: Path) -> None:
    """Write all that going on needs, so that a reader never finds half of it."""
    kept = {
        "options": checkpoint.options,
        "pictures": checkpoint.pictures,
        "start": checkpoint.start,
        "run": checkpoint.run,
        "curve": json.dumps(checkpoint.curve),
        "losses": checkpoint.losses,
        "seconds": checkpoint.seconds,
    }
    with replacing(path) as partial:
        torch.save(kept, partial)


def _read(path: Path, instead: str) -> Checkpoint:
    """What a training kept in a file, its tensors on the processor.

    Args:
        path: Of the file.
        instead: What to do where it cannot be read, for the sentence.

    Raises:
        TrainingDataError: It is damaged, or no checkpoint.
    """
    try:
        kept = torch.load(path, map_location="cpu", weights_only=True)
        return Checkpoint(
            kept["options"],
            tuple(json.loads(kept["options"])["labels"]),
            kept["pictures"],
            kept["start"],
            kept["run"],
            list(json.loads(kept["curve"])),
            list(kept["losses"]),
            kept["seconds"],
        )
    except _NO_CHECKPOINT as error:
        raise TrainingDataError(
            f"{path} is damaged or no checkpoint of a training; {instead}."
        ) from error


def digest_of_squares(known: LabelledPictures, unlabelled: Pixels | None) -> str:
    """Of every square that is learned from and its label, in their order."""
    digest = hashlib.sha256(np.ascontiguousarray(known.labels).tobytes())
    for pixels in (known.pixels, unlabelled):
        if pixels is not None:
            digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def digest_of_start(start: Path) -> str:
    """Of what an earlier training kept, with labels or without.

    Raises:
        TrainingDataError: There is no such training.
    """
    trunk = start / TRUNK
    try:
        with (trunk if trunk.is_file() else start / EXTRACTOR_CHECKPOINT).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TrainingDataError(
            f"{start} holds no training to begin with; give the folder that `familiar train"
            " extractor` or, once it is finished, `familiar train pretraining` wrote."
        ) from error


def prints_learned_before(start: Path, apart: LabelledPictures | None) -> Prints:
    """What the pictures are known again by that the training to begin with learned.

    Args:
        start: What it wrote.
        apart: What is held out now, if anything.

    Raises:
        TrainingDataError: What it kept of them is missing or damaged, or copies of them are held
            out.
    """
    try:
        learned = read_prints(start / LEARNED)
    except OSError as error:
        raise TrainingDataError(
            f"{start / LEARNED} cannot be read, which says what that training learned; begin with"
            " another training, or with none."
        ) from error
    except ValueError as error:
        raise TrainingDataError(f"{error} Begin with another training, or with none.") from error
    if apart is not None and (count := int(copied(prints_of(apart.pixels), learned).sum())):
        raise TrainingDataError(
            f"The training in {start} learned {count:,} of the pictures that are held out now, or"
            " copies of them; begin with another training, or choose another seed."
        )
    return learned


def begin(run: Beginning, start: Path) -> None:
    """Begin with what an earlier training of the same network and labels, or without any, reached.

    Args:
        run: Which takes that.
        start: What the earlier training wrote.

    Raises:
        TrainingDataError: What it kept is damaged, or it had other labels or another network.
    """
    if (start / TRUNK).is_file():
        try:
            run.begin_with_trunk(read_tensors(start / TRUNK), str(start / TRUNK))
        except ModelError as error:
            raise TrainingDataError(
                f"{error} Begin with another training, or with none."
            ) from error
        return
    begun = _read(start / EXTRACTOR_CHECKPOINT, "begin with another training, or with none")
    if begun.labels != run.known.names:
        raise TrainingDataError(
            f"The training in {start} learned other labels, perhaps some that are held out now;"
            " begin with one of the same pictures and the same seed."
        )
    try:
        run.begin_with(begun.run)
    except _NO_CHECKPOINT as error:
        raise TrainingDataError(
            f"The training in {start} had another network; nothing can begin with it."
        ) from error


def go_on(run: Resumable, checkpoint: Path, own: Checkpoint) -> Checkpoint:
    """Take up what the same training kept.

    Args:
        run: Which is restored.
        checkpoint: Of the training.
        own: What it would keep before its first step.

    Returns:
        `own` with what was done before.

    Raises:
        TrainingDataError: It is damaged, or another training's.
    """
    kept = _read(checkpoint, "remove it and start again, or choose another folder for the result")
    if (kept.options, kept.pictures, kept.start) != (own.options, own.pictures, own.start):
        raise TrainingDataError(
            f"{checkpoint} belongs to a training with other options, other pictures or another"
            " --start; choose another folder for the result."
        )
    try:
        run.restore(kept.run)
    except _NO_CHECKPOINT as error:
        raise TrainingDataError(
            f"{checkpoint} is of another network, perhaps of an earlier version; choose another"
            " folder for the result."
        ) from error
    return replace(own, curve=kept.curve, losses=kept.losses, seconds=kept.seconds)
