"""Pictures for training, decoded once and kept in memory as squares of one size."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Pixels, crop
from core.models.extractor import resized, whole_square

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp"})


Fit = Literal["pad", "squeeze"]
"""How a picture becomes a square: its edges repeat, as for faces, or its sides are squeezed."""


class TrainingDataError(Exception):
    """A folder cannot be trained on; the message says why."""


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Squares and who they show.

    Attributes:
        pixels: ``(n, side, side, 3)``.
        labels: ``(n,)``, index into `names`.
        names: One for each label.
    """

    pixels: Pixels
    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def only(self, labels: NDArray[np.int64]) -> LabelledPictures:
        """The pictures of some labels, numbered anew in the order given."""
        rows = np.flatnonzero(np.isin(self.labels, labels))
        number = {int(label): i for i, label in enumerate(labels)}
        renumbered = np.array([number[int(self.labels[row])] for row in rows], np.int64)
        return LabelledPictures(
            self.pixels[rows], renumbered, tuple(self.names[int(label)] for label in labels)
        )


def together(parts: Sequence[LabelledPictures]) -> LabelledPictures:
    """Several sets as one, each with labels of its own; at least one."""
    starts = np.cumsum([0, *(len(part.names) for part in parts[:-1])])
    return LabelledPictures(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels + start for part, start in zip(parts, starts, strict=True)]),
        tuple(name for part in parts for name in part.names),
    )


def squared(pixels: Pixels, side: int, fit: Fit = "pad") -> Pixels:
    """The whole picture in a square of `side` pixels.

    Args:
        pixels: ``(height, width, 3)``.
        side: Of the result.
        fit: What becomes of a picture that is not square.
    """
    if fit == "pad":
        pixels = crop(pixels, whole_square(pixels))
    return resized(pixels, side)


def decoded(data: bytes) -> Pixels | None:
    """A picture of the training folders; None where it cannot be read."""
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        return None
    return np.asarray(picture[:, :, ::-1], np.uint8)


def load_labelled(folder: Path, side: int, at_least: int = 2, fit: Fit = "pad") -> LabelledPictures:
    """Read ``<folder>/<name>/<picture>``, names and pictures in the order of their names.

    Args:
        folder: One folder a label.
        side: Of the squares.
        at_least: Labels with fewer readable pictures are left out.
        fit: What becomes of a picture that is not square.

    Raises:
        TrainingDataError: Fewer than two labels have enough pictures.
    """
    squares: list[Pixels] = []
    labels: list[int] = []
    names: list[str] = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        pictures = [
            picture
            for path in sorted(place.iterdir())
            if path.suffix.lower() in SUFFIXES
            and (picture := decoded(path.read_bytes())) is not None
        ]
        if len(pictures) < at_least:
            continue
        squares.extend(squared(picture, side, fit) for picture in pictures)
        labels.extend([len(names)] * len(pictures))
        names.append(place.name)
    if len(names) < 2:
        raise TrainingDataError(
            f"{folder} needs at least two folders with {at_least} readable pictures or more,"
            " one folder a character."
        )
    return LabelledPictures(np.stack(squares), np.array(labels, np.int64), tuple(names))


def _files(folder: Path) -> Iterator[bytes]:
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() == ".zip":
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if Path(name).suffix.lower() in SUFFIXES:
                        yield archive.read(name)
        elif path.suffix.lower() in SUFFIXES:
            yield path.read_bytes()


def load_unlabelled(folder: Path, side: int, fit: Fit = "pad") -> Pixels:
    """Every picture under a folder, those inside zip files included: ``(n, side, side, 3)``.

    Raises:
        TrainingDataError: There is none.
    """
    squares = [
        squared(picture, side, fit)
        for data in _files(folder)
        if (picture := decoded(data)) is not None
    ]
    if not squares:
        raise TrainingDataError(f"{folder} holds no readable picture.")
    return np.stack(squares)


def split_by_label(
    names: int, held_out: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Labels to train on and labels to check on; no label is in both.

    A split by picture would put pictures of one character, and near copies among them, on both
    sides, and reward remembering.

    Raises:
        ValueError: Fewer than two labels would remain to train on.
    """
    if names - held_out < 2:
        raise ValueError(f"Of {names} labels, {held_out} cannot be held out.")
    order = np.random.default_rng([seed, 3]).permutation(names)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
