"""LabelImg's Pascal VOC files: pictures with their faces boxed, and sometimes named."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.folder import reason
from core.picture import OWN_LIMITS, UnreadablePicture, read
from core.problem import Refusal

PICTURE_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".jfif")
"""All that is read elsewhere; of several pictures of one name, the first is the boxed one."""


UNNAMED: Final = "face"
"""What a box without a name is called, as is every box of many that a detector learns from."""


class AnnotationError(Refusal):
    """An annotation file cannot be used; the message names the file and says why."""


@dataclass(frozen=True, slots=True)
class Annotation:
    """One boxed picture.

    Attributes:
        picture: The picture's file.
        boxes: ``(n, 4)`` float32, ``[x0, y0, x1, y1]`` in pixels; ``n`` may be 0.
        names: What each box is called, ``n`` strings; `UNNAMED` where it has no name.
        size: Width and height in pixels of the picture that was boxed; None where nothing says so.
    """

    picture: Path
    boxes: NDArray[np.float32]
    names: tuple[str, ...]
    size: tuple[float, float] | None = None

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


def read_annotation(path: Path) -> Annotation:
    """Read one LabelImg file and find its picture beside it.

    Boxes without any area are left out: LabelImg writes them where somebody clicked twice. Those
    that are marked as difficult count as all others, unlike in PASCAL VOC's own evaluation.

    Raises:
        AnnotationError: The file cannot be read or is no Pascal VOC, a corner of a box is no finite
            number, its boxes are given as shares of the picture, a size is no number, or there is
            no picture of its name.
    """
    try:
        # Expat refuses to blow entities up since 2.4.1, and reads none from elsewhere.
        root = ElementTree.parse(path).getroot()  # noqa: S314
        width, height = (float(root.findtext(f"size/{k}", "").strip() or 0) for k in _SIDES)
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
                names.append(item.findtext("name", "").strip() or UNNAMED)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{path} is no Pascal VOC annotation: {error}.") from error
    except OSError as error:
        raise AnnotationError(
            f"{path} cannot be read ({error.strerror}); take it away, or let this user read it."
        ) from error
    if boxes and np.abs(boxes).max() <= 1:
        raise AnnotationError(
            f"{path} has no corner beyond 1, as if boxes were shares of the picture; write them in"
            " pixels, xmin and xmax times its width, ymin and ymax times its height."
        )
    picture = _picture_beside(path)
    if picture is None:
        raise AnnotationError(f"{path} has no picture beside it ({', '.join(PICTURE_SUFFIXES)}).")
    array = np.array(boxes, np.float32).reshape(-1, 4)
    size = (width, height) if width > 0 and height > 0 else None
    return Annotation(picture, array, tuple(names), size)


def _picture_beside(path: Path) -> Path | None:
    """The picture of an annotation's name, whatever capitals its suffix has."""
    for suffix in PICTURE_SUFFIXES:
        if (picture := path.with_suffix(suffix)).is_file():
            return picture
    # Folders are large: this is looked through for the few that are written otherwise.
    others = {
        each.suffix.lower(): each
        for each in path.parent.iterdir()
        if each.stem == path.stem and each.is_file()
    }
    return next((others[suffix] for suffix in PICTURE_SUFFIXES if suffix in others), None)


def pixels_of(annotation: Annotation) -> Pixels:
    """The picture, ``(height, width, 3)``, as it is seen wherever pictures are compared.

    Raises:
        AnnotationError: It cannot be read; or it has boxes, and another size than when they were
            drawn: it was changed since, or is turned by its EXIF and was boxed as it is stored.
    """
    try:
        pixels = read(annotation.picture, OWN_LIMITS).pixels
    except UnreadablePicture as error:
        raise AnnotationError(f"{annotation.picture}: {reason(error)}.") from error
    height, width = pixels.shape[:2]
    if annotation.size is not None and annotation.size != (width, height) and len(annotation.boxes):
        boxed = " x ".join(f"{side:.10g}" for side in annotation.size)
        raise AnnotationError(
            f"{annotation.picture} is {width} x {height} pixels and was boxed at {boxed}; put that"
            " picture back, draw the boxes anew, or correct <size> where they lie right."
        )
    return pixels


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


def refuse_beyond(annotations: Sequence[Annotation], seen: int) -> None:
    """Refuse to measure by boxes of which none lies in its picture.

    Args:
        annotations: Boxed pictures; where none has a box, there is nothing to refuse.
        seen: How many of their boxes lie in their pictures; see `within`.

    Raises:
        AnnotationError: There are boxes, and none does.
    """
    boxed = [annotation.picture for annotation in annotations if len(annotation.boxes)]
    if boxed and not seen:
        raise AnnotationError(
            f"All boxes lie beyond their pictures, those of {boxed[0]} among them, and so there is"
            " nothing to measure; were the pictures scaled or cut since, box them anew."
        )


def files_in(folder: Path) -> list[Path]:
    """The annotation files below `folder` in order, without hidden ones, such as macOS leaves.

    XML of something else, such as a comic's ComicInfo.xml, is none of them; a damaged file may be.
    """
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() == ".xml"
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not _is_of_something_else(path)
    ]


def _is_of_something_else(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            _, root = next(ElementTree.iterparse(file, ("start",)))  # noqa: S314
    except (OSError, ElementTree.ParseError, ValueError, LookupError):
        return False
    return bool(root.tag != "annotation")


def read_folder(folder: Path) -> list[Annotation]:
    """Every annotation below `folder`, ordered by path; see `files_in`.

    Raises:
        AnnotationError: There is none, or one of them cannot be read.
    """
    annotations = [read_annotation(path) for path in files_in(folder)]
    if not annotations:
        raise AnnotationError(f"There is no Pascal VOC annotation (*.xml) in {folder}.")
    return annotations


_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SIDES = ("width", "height")
_FARTHEST = float(np.finfo(np.float32).max)
