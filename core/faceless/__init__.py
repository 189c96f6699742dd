"""Pictures in which there is no face: what a detector must leave alone.

`core.faceless.drawing` draws some. Others are cut out of the pictures of a folder, where a table
says, or lie in a folder of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from core.face import Pixels
from core.folder import reason, scan
from core.picture import DEFAULT_LIMITS, Limits, UnreadablePicture, read

COLUMNS: Final = ("picture", "x0", "y0", "x1", "y1")
"""Of a table of windows: a path within the folder, and where to cut, in pixels."""


class Kind(StrEnum):
    """What a picture without a face shows."""

    GIVEN = "given"
    CUT = "cut out"
    TEXTURE = "drawn texture"
    LANDSCAPE = "drawn landscape"
    STILL_LIFE = "drawn still life"


class FacelessError(Exception):
    """The pictures cannot be had; the message says why."""


@dataclass(frozen=True, slots=True)
class Faceless:
    """A picture without a face.

    Attributes:
        name: Says where it is from, for people.
        kind: What it shows.
        pixels: ``(height, width, 3)``.
    """

    name: str
    kind: Kind
    pixels: Pixels


def cut(table: Path, folder: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Faceless]:
    """The windows of a table, cut out of the pictures of a folder.

    Args:
        table: CSV with `COLUMNS`.
        folder: Where the paths of the table begin.
        limits: What a picture may be at most.

    Raises:
        FacelessError: The table is none, a picture is not there or cannot be read, or a window
            reaches beyond its picture.
    """
    with table.open(newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise FacelessError(f"{table} needs the columns {', '.join(COLUMNS)}.")
        for row in rows:
            try:
                x0, y0, x1, y1 = (int(row[corner]) for corner in COLUMNS[1:])
            except (TypeError, ValueError) as error:
                raise FacelessError(f"{table}, line {rows.line_num}: no window.") from error
            pixels = _read(folder / row["picture"], limits)
            if not (0 <= x0 < x1 <= pixels.shape[1] and 0 <= y0 < y1 <= pixels.shape[0]):
                raise FacelessError(
                    f"{table}, line {rows.line_num}: the window reaches beyond its picture."
                )
            name = f"{row['picture']} {x0},{y0},{x1},{y1}"
            yield Faceless(name, Kind.CUT, pixels[y0:y1, x0:x1].copy())


def given(folder: Path, limits: Limits = DEFAULT_LIMITS) -> Iterator[Faceless]:
    """Every picture below a folder in which there is no face in any.

    Raises:
        FacelessError: A picture cannot be read.
        Problem: `folder` is not a folder, or cannot be listed.
    """
    for file in scan(folder).pictures:
        yield Faceless(file.path, Kind.GIVEN, _read(file.location, limits))


def _read(path: Path, limits: Limits) -> Pixels:
    try:
        return read(path, limits).pixels
    except UnreadablePicture as error:
        raise FacelessError(f"{path}: {reason(error)}.") from error
