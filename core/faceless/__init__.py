"""Pictures in which there is no face: what a detector must leave alone.

`core.faceless.drawing` draws some. Others are cut out of the pictures of a folder, where a table
says, or lie in a folder of their own.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from core.face import Pixels
from core.folder import reason, scan
from core.picture import OWN_LIMITS, UnreadablePicture, read
from core.problem import Problem, Refusal

COLUMNS: Final = ("picture", "x0", "y0", "x1", "y1")
"""Of a table of windows: a path within the folder, and where to cut, in pixels."""


class Kind(StrEnum):
    """What a picture without a face shows."""

    GIVEN = "given"
    CUT = "cut out"
    TEXTURE = "drawn texture"
    LANDSCAPE = "drawn landscape"
    STILL_LIFE = "drawn still life"


class FacelessError(Refusal):
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


@dataclass(frozen=True, slots=True)
class _Window:
    """A line of a table.

    Attributes:
        line: Its number, from 1.
        picture: A path within the folder.
        corners: ``x0, y0, x1, y1`` in pixels.
    """

    line: int
    picture: str
    corners: tuple[int, int, int, int]


def cut(table: Path, folder: Path) -> Iterator[Faceless]:
    """The windows of a table, cut out of the pictures of a folder as they are taken.

    The table is read at once, and it is looked whether the pictures are there.

    Args:
        table: CSV with `COLUMNS`.
        folder: Where the paths of the table begin.

    Raises:
        FacelessError: The table is none, a picture is not there or cannot be read, or a window
            reaches beyond its picture.
    """
    windows = _windows(table)
    for window in windows:
        if not (folder / window.picture).is_file():
            raise FacelessError(
                f"{table}, line {window.line} names {window.picture}: there is no such file in"
                f" {folder}."
            )
    return _cut(table, windows, folder)


def _windows(table: Path) -> list[_Window]:
    windows = []
    try:
        # Excel begins a table in UTF-8 with a byte order mark.
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise FacelessError(f"{table} needs the columns {', '.join(COLUMNS)}.")
            for row in rows:
                try:
                    x0, y0, x1, y1 = (int(row[corner]) for corner in COLUMNS[1:])
                except (TypeError, ValueError) as error:
                    raise FacelessError(f"{table}, line {rows.line_num}: no window.") from error
                windows.append(_Window(rows.line_num, row["picture"] or "", (x0, y0, x1, y1)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise FacelessError(f"{table} is no CSV in UTF-8; save it as one.") from error
    if not windows:
        raise FacelessError(f"{table} has no line that says where to cut; add some.")
    return windows


def _cut(table: Path, windows: Iterable[_Window], folder: Path) -> Iterator[Faceless]:
    for window in windows:
        pixels = _read(folder / window.picture)
        x0, y0, x1, y1 = window.corners
        if not (0 <= x0 < x1 <= pixels.shape[1] and 0 <= y0 < y1 <= pixels.shape[0]):
            raise FacelessError(
                f"{table}, line {window.line}: the window reaches beyond its picture."
            )
        name = f"{window.picture} {x0},{y0},{x1},{y1}"
        yield Faceless(name, Kind.CUT, pixels[y0:y1, x0:x1].copy())


def given(folder: Path) -> Iterator[Faceless]:
    """Every picture below a folder in which there is no face in any, read as it is taken.

    Raises:
        FacelessError: A picture cannot be read.
        Problem: `folder` is not a folder, cannot be listed, or holds no picture.
    """
    found = scan(folder)
    for path, problem in found.unreadable:
        raise FacelessError(f"{folder / path}: {reason(problem)}.")
    if not found.pictures:
        raise Problem("folder_without_pictures", path=folder)
    return (Faceless(file.path, Kind.GIVEN, _read(file.location)) for file in found.pictures)


def _read(path: Path) -> Pixels:
    try:
        return read(path, OWN_LIMITS).pixels
    except UnreadablePicture as error:
        raise FacelessError(f"{path}: {reason(error)}.") from error
