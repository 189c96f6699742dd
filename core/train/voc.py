"""LabelImg's Pascal VOC files: pictures with their faces boxed, and sometimes named."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, NamedTuple
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.folder import READERS, reason
from core.picture import OWN_LIMITS, UnreadablePicture, read
from core.train.copies import Prints, copied, prints_of

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".jfif")
"""All that is read elsewhere; of several pictures of one name, the first is the boxed one."""


class AnnotationError(Exception):
    """An annotation file cannot be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One boxed picture.

    Attributes:
        picture: The picture's file.
        boxes: ``(n, 4)`` float32, ``[x0, y0, x1, y1]`` in pixels; ``n`` may be 0.
        names: What each box is called, ``n`` strings.
    """

    picture: Path
    boxes: NDArray[np.float32]
    names: tuple[str, ...]

    @property
    def number(self) -> int:
        """See `number_of`."""
        return number_of(self.picture)


def number_of(picture: Path) -> int:
    """A number that stays with a picture: its name where that is one, else a checksum."""
    stem = picture.stem
    if re.fullmatch(r"[0-9]+", stem):
        return int(stem)
    return zlib.crc32(stem.encode(errors="surrogateescape"))


def for_validation(number: int) -> bool:
    """Whether the picture of this number is kept for validation."""
    return number % 10 == 0


def read_annotation(path: Path) -> Annotation:
    """Read one LabelImg file and find its picture beside it.

    Boxes without any area are left out: LabelImg writes them where somebody clicked twice.

    Raises:
        AnnotationError: The file cannot be read or is no Pascal VOC, a corner of a box is no finite
            number, or there is no picture of its name.
    """
    try:
        # Expat refuses to blow entities up since 2.4.1, and reads none from elsewhere.
        root = ElementTree.parse(path).getroot()  # noqa: S314
        boxes = []
        names = []
        for item in root.iterfind("object"):
            corners = [float(item.findtext(f"bndbox/{k}", "")) for k in _CORNERS]
            if not np.abs(corners).max() <= _FARTHEST:
                raise AnnotationError(
                    f"{path} has a box with a corner that is no finite number; draw it anew, or"
                    " take it out."
                )
            if corners[2] > corners[0] and corners[3] > corners[1]:
                boxes.append(corners)
                names.append(item.findtext("name", "face"))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path} is no Pascal VOC annotation: {error}.") from error
    except OSError as error:
        raise AnnotationError(
            f"{path} cannot be read ({error.strerror}); take it away, or let this user read it."
        ) from error
    for suffix in (*PICTURE_SUFFIXES, *map(str.upper, PICTURE_SUFFIXES)):
        picture = path.with_suffix(suffix)
        if picture.is_file():
            array = np.array(boxes, np.float32).reshape(-1, 4)
            return Annotation(picture, array, tuple(names))
    raise AnnotationError(f"{path} has no picture beside it ({', '.join(PICTURE_SUFFIXES)}).")


def pixels_of(annotation: Annotation) -> Pixels:
    """The picture, ``(height, width, 3)``, as it is seen wherever pictures are compared.

    Raises:
        AnnotationError: It cannot be read.
    """
    try:
        return read(annotation.picture, OWN_LIMITS).pixels
    except UnreadablePicture as error:
        raise AnnotationError(f"{annotation.picture}: {reason(error)}.") from error


def within(annotation: Annotation, pixels: Pixels) -> Annotation:
    """The annotation with its boxes cut at the edges of its picture.

    Boxes that lie outside of it are left out, and so are their names.

    Args:
        annotation: What was boxed.
        pixels: The picture, as `pixels_of` gives it.
    """
    height, width = pixels.shape[:2]
    boxes = np.clip(annotation.boxes, 0, np.array([width, height, width, height], np.float32))
    seen = np.flatnonzero((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))
    names = tuple(annotation.names[row] for row in seen)
    return replace(annotation, boxes=boxes[seen], names=names)


def digest_of(annotations: Sequence[Annotation]) -> str:
    """One hash for the pictures, what is in them and their boxes, in their order.

    Raises:
        AnnotationError: A picture cannot be read.
    """
    digest = hashlib.sha256()
    for annotation in annotations:
        line = f"{annotation.picture.name} {_content(annotation)} "
        digest.update(line.encode(errors="surrogateescape"))
        digest.update(annotation.boxes.tobytes())
    return digest.hexdigest()


def _content(annotation: Annotation) -> str:
    try:
        return hashlib.sha256(annotation.picture.read_bytes()).hexdigest()
    except OSError as error:
        raise AnnotationError(f"{annotation.picture}: {error.strerror}.") from error


def contents_of(annotations: Iterable[Annotation]) -> frozenset[str]:
    """The SHA-256 of each picture's file, in hexadecimal digits, by which copies are known.

    Raises:
        AnnotationError: A picture cannot be opened.
    """
    return frozenset(_content(annotation) for annotation in annotations)


class Kept(NamedTuple):
    """Pictures that are tuned or reported on and so must not be trained on.

    Attributes:
        contents: As `contents_of` has them.
        prints: By which they are known scaled and re-encoded, too.
    """

    contents: frozenset[str]
    prints: Prints


def kept_of(annotations: Sequence[Annotation]) -> Kept:
    """What pictures are known again by.

    Raises:
        AnnotationError: One cannot be read.
    """
    return Kept(contents_of(annotations), _prints_of(annotations))


def _prints_of(annotations: Sequence[Annotation]) -> Prints:
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        each = list(pool.map(lambda one: prints_of([pixels_of(one)]), annotations))
    return Prints(*map(np.concatenate, zip(prints_of([]), *each, strict=True)))


def files_in(folder: Path) -> list[Path]:
    """The annotation files below `folder` in order, without hidden ones, such as macOS leaves."""
    return [
        path
        for path in sorted(folder.rglob("*.xml"))
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def read_folder(folder: Path) -> list[Annotation]:
    """Every annotation below `folder`, ordered by path; see `files_in`.

    Raises:
        AnnotationError: There is none, or one of them cannot be read.
    """
    annotations = [read_annotation(path) for path in files_in(folder)]
    if not annotations:
        raise AnnotationError(f"There is no Pascal VOC annotation (*.xml) in {folder}.")
    return annotations


@dataclass(frozen=True, slots=True)
class Split:
    """Which pictures a detector learns from, is tuned on, and is reported on.

    Attributes:
        training: To learn from.
        tuning: To take decisions by.
        validation: To report on.
        copies: Left out of what is learned: scaled or re-encoded, they are tuned or reported on.
    """

    training: tuple[Annotation, ...]
    tuning: tuple[Annotation, ...]
    validation: tuple[Annotation, ...]
    copies: tuple[Annotation, ...] = ()


def split(annotations: list[Annotation]) -> Split:
    """Validation: numbers that end in 0. Tuning: every twentieth of the rest (5, 25, 45, ...)."""
    return Split(
        training=tuple(
            a for a in annotations if not for_validation(a.number) and a.number % 20 != 5
        ),
        tuning=tuple(a for a in annotations if a.number % 20 == 5),
        validation=tuple(a for a in annotations if for_validation(a.number)),
    )


def read_parts(folders: Path | Sequence[Path]) -> tuple[Split, list[Annotation]]:
    """The parts of the first folder, and all that is trained on: its part and the others whole.

    Every picture is looked at, before anybody waits for what needs it at the end. What is nearly
    one that the first folder keeps, such as the next frame of a film, is left out.

    Raises:
        AnnotationError: The pictures of a folder cannot be used, or the very file of one that the
            first keeps for tuning or validation would be trained on.
    """
    first, *others = [folders] if isinstance(folders, Path) else list(folders)
    parts = split(read_folder(first))
    further = [annotation for folder in others for annotation in read_folder(folder)]
    learning = [*parts.training, *further]
    kept = kept_of((*parts.tuning, *parts.validation))
    for annotation in learning:
        if _content(annotation) in kept.contents:
            raise AnnotationError(
                f"{annotation.picture} is one of the pictures in {first} that are kept for tuning"
                " and validation; take it out of what is trained on."
            )
    near = copied(_prints_of(learning), kept.prints)
    copies = tuple(learning[row] for row in np.flatnonzero(near))
    own = tuple(parts.training[row] for row in np.flatnonzero(~near[: len(parts.training)]))
    learning = [learning[row] for row in np.flatnonzero(~near)]
    return replace(parts, training=own, copies=copies), learning


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_FARTHEST = float(np.finfo(np.float32).max)
