"""Pictures for training, decoded once and kept in memory as squares of one size."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePath, PurePosixPath
from typing import Final, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.folder import scan
from core.framing import cut_square, resized, whole_square
from core.picture import OWN_LIMITS, SUFFIXES, UnreadablePicture, check, decode
from core.problem import Refusal
from core.train.spread import all_over

LeftOut = Callable[[str], None]
"""Called with the name of each picture file that cannot be read and so is left out."""

_AT_LEAST: Final = 2

_JPEG: Final = b"\xff\xd8"
"""How the one format begins that knows no transparency."""

# Of a damaged archive, whatever its first unexpected byte leads to; RuntimeError asks for a
# password, or is of a compression that is not known here.
_UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
)

Fit = Literal["pad", "squeeze"]
"""How a picture becomes a square: its edges repeat, as for faces, or its sides are squeezed."""


class TrainingDataError(Refusal):
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

    def where(self, chosen: NDArray[np.bool_]) -> LabelledPictures:
        """Some of the pictures, ``(n,)``, under the same labels.

        Raises:
            TrainingDataError: A label has none left.
        """
        left = np.bincount(self.labels[chosen], minlength=len(self.names))
        if not left.all():
            raise TrainingDataError(
                f"All pictures of {self.names[int(left.argmin())]} are copies of pictures that are"
                " held out; take it away, or choose another seed."
            )
        return LabelledPictures(self.pixels[chosen], self.labels[chosen], self.names)

    def only(self, labels: NDArray[np.int64]) -> LabelledPictures:
        """The pictures of some labels, numbered anew in the order given."""
        rows = np.flatnonzero(np.isin(self.labels, labels))
        number = {int(label): i for i, label in enumerate(labels)}
        renumbered = np.array([number[int(self.labels[row])] for row in rows], np.int64)
        return LabelledPictures(
            self.pixels[rows], renumbered, tuple(self.names[int(label)] for label in labels)
        )


def together(parts: Sequence[LabelledPictures]) -> LabelledPictures:
    """Several sets as one, at least one; what has one name in several of them is one label.

    Labels are numbered as their names first come: those of the first set keep their numbers.
    """
    number: dict[str, int] = {}
    for part in parts:
        for name in part.names:
            number.setdefault(name, len(number))
    return LabelledPictures(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate(
            [
                np.array([number[name] for name in part.names], np.int64)[part.labels]
                for part in parts
            ]
        ),
        tuple(number),
    )


def squared(pixels: Pixels, side: int, fit: Fit = "pad") -> Pixels:
    """The whole picture in a square of `side` pixels.

    Args:
        pixels: ``(height, width, 3)``.
        side: Of the result.
        fit: What becomes of a picture that is not square.
    """
    if fit == "pad":
        return cut_square(pixels, whole_square(pixels), side)
    return resized(pixels, side)


def bytes_of(path: Path) -> bytes:
    """What a file holds; nothing where it cannot be read or is no file."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def decoded(data: bytes) -> Pixels | None:
    """A picture of the training folders; None where it cannot be read.

    What is transparent is seen on white, as it is where people's pictures are compared.
    """
    if not data.startswith(_JPEG):
        try:
            return decode(data, OWN_LIMITS).pixels
        except UnreadablePicture:
            return None
    try:
        check(data, OWN_LIMITS)
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, UnreadablePicture):
        return None
    if picture is None:
        return None
    return np.asarray(picture[:, :, ::-1], np.uint8)


def load_labelled(
    folder: Path,
    side: int,
    fit: Fit = "pad",
    left_out: LeftOut | None = None,
    without: Collection[str] = (),
) -> LabelledPictures:
    """Read ``<folder>/<name>/<picture>``, names and pictures in the order of their names.

    What counts is what `core.folder.scan` finds, at any depth below a label's folder. A label with
    one readable picture is left out.

    Args:
        folder: One folder a label.
        side: Of the squares.
        fit: What becomes of a picture that is not square.
        left_out: Told of each file that cannot be read.
        without: Labels that are not read.

    Raises:
        TrainingDataError: Fewer than two labels have enough pictures, or one of `without` is none
            of the folder's.
        core.problem.Problem: `folder` is not a folder.
    """
    found = scan(folder)
    refuse_unknown(folder, without, (file.character for file in found.pictures))
    if left_out is not None:
        for path, _ in found.unreadable:
            left_out(str(folder / path))
    squares: list[Pixels] = []
    labels: list[int] = []
    names: list[str] = []
    # Folder by folder: as texts, ``a-b/1.png`` would come before ``a/1.png``.
    in_order = sorted(found.pictures, key=lambda file: file.path.split("/"))
    for name, its_files in groupby(in_order, key=lambda file: file.character):
        if name is None or name in without:
            continue
        files = ((str(folder / file.path), bytes_of(file.location)) for file in its_files)
        its_squares = [squared(picture, side, fit) for picture in _readable(files, left_out)]
        if len(its_squares) < _AT_LEAST:
            continue
        squares.extend(its_squares)
        labels.extend([len(names)] * len(its_squares))
        names.append(name)
    if len(names) < 2:
        raise TrainingDataError(
            f"{folder} needs at least two folders with {_AT_LEAST} readable pictures or more,"
            " one folder a character."
        )
    return LabelledPictures(np.stack(squares), np.array(labels, np.int64), tuple(names))


def refuse_unknown(folder: Path, without: Collection[str], names: Iterable[str | None]) -> None:
    """Refuse to leave out what is not there: it may be there under another name.

    Raises:
        TrainingDataError: One of `without` is none of the names.
    """
    if unknown := sorted(set(without).difference(names)):
        raise TrainingDataError(
            f"{folder} has no folder {unknown[0]} with pictures in it, which is to be left out."
        )


def _readable(files: Iterable[tuple[str, bytes]], left_out: LeftOut | None) -> Iterator[Pixels]:
    for name, data in files:
        picture = decoded(data)
        if picture is not None:
            yield picture
        elif left_out is not None:
            left_out(name)


@dataclass(frozen=True, slots=True)
class _File:
    """A picture's file.

    Attributes:
        path: Of the file, or of the zip file that holds it.
        member: Its name in the zip file; None: it lies in none.
    """

    path: Path
    member: str | None = None


def visible_in(folder: Path) -> list[Path]:
    """Everything below a folder, in order, without what is hidden or lies in a hidden folder."""
    return [path for path in sorted(folder.rglob("*")) if not _hidden(path.relative_to(folder))]


def _hidden(path: PurePath) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _listed(folder: Path) -> Iterator[_File]:
    for path in (path for path in visible_in(folder) if path.is_file()):
        if path.suffix.lower() == ".zip":
            with _unpacking(path) as archive:
                members = sorted(archive.namelist())
            for member in members:
                named = PurePosixPath(member)
                if named.suffix.lower() in SUFFIXES and not (
                    member.endswith("/") or _hidden(named)
                ):
                    yield _File(path, member)
        elif path.suffix.lower() in SUFFIXES:
            yield _File(path)


def _contents(files: Iterable[_File]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each; a zip file is opened once for members that follow each other."""
    for path, its_files in groupby(files, key=lambda file: file.path):
        members = [file.member for file in its_files if file.member is not None]
        if not members:
            yield str(path), bytes_of(path)
            continue
        with _unpacking(path) as archive:
            for member in members:
                large = archive.getinfo(member).file_size > OWN_LIMITS.file_bytes
                yield f"{path}/{member}", b"" if large else archive.read(member)


@contextmanager
def _unpacking(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except _UNPACKING_ERRORS as error:
        raise TrainingDataError(
            f"{path} cannot be unpacked, it is damaged or has a password; put its pictures into a"
            " folder instead, or take it away."
        ) from error


def load_unlabelled(
    folder: Path,
    side: int,
    fit: Fit = "pad",
    left_out: LeftOut | None = None,
    most: int | None = None,
) -> Pixels:
    """Every picture under a folder, those inside zip files included: ``(n, side, side, 3)``.

    Hidden files and folders are passed over, as in every other folder.

    Args:
        folder: Searched at any depth.
        side: Of the squares.
        fit: What becomes of a picture that is not square.
        left_out: Told of each file that cannot be read.
        most: Files that are read, evenly from the first to the last; None: all.

    Raises:
        TrainingDataError: There is none, or a zip file cannot be unpacked.
    """
    files: Iterable[_File] = _listed(folder)
    if most is not None:
        files = all_over(list(files), most)
    squares = [squared(picture, side, fit) for picture in _readable(_contents(files), left_out)]
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
        TrainingDataError: Fewer than two labels would remain to train on.
    """
    if names - held_out < 2:
        raise TrainingDataError(
            f"Of {names} labels, {held_out} cannot be held out: two or more are to be learned; hold"
            " out fewer."
        )
    order = np.random.default_rng([seed, 3]).permutation(names)
    return np.sort(order[held_out:]), np.sort(order[:held_out])
