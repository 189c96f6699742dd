"""Crops of heads, with a table that maps each crop to the picture it was cut from."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

from core.embed import FolderReader
from core.face import Face, Pixels, crop, widened_square
from core.models import Detector
from core.picture import DEFAULT_LIMITS, Limits
from core.train.dataset import refuse_inside

TABLE = "crops.csv"
COLUMNS = ("crop", "picture", "x0", "y0", "x1", "y1", "score")
HEAD_MARGIN = 0.35
"""Boxes reach from brow to chin; with this margin around them the crop holds the hair."""


@dataclass(frozen=True, slots=True)
class CropsWritten:
    """What came of a folder.

    Attributes:
        pictures: How many were looked at.
        crops: How many were written.
        unreadable: Paths of the pictures that could not be read, and why.
    """

    pictures: int
    crops: int
    unreadable: tuple[tuple[str, str], ...]


def write_crops(
    folder: Path,
    out: Path,
    detector: Detector,
    *,
    margin: float = HEAD_MARGIN,
    lift: float = 0.0,
    smallest: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    limits: Limits = DEFAULT_LIMITS,
) -> CropsWritten:
    """Cut every face that counts out of every picture below `folder`.

    A crop is called ``<name of the picture>_<n>.jpg`` and lies in `out` where its picture lies in
    `folder`. ``crops.csv`` has a row for each; boxes are the detector's, in pixels of the picture.

    Args:
        folder: Searched at any depth.
        out: Made if it is missing; a table that is there already is replaced, and crops that it
            alone lists are removed.
        detector: Its own threshold decides what counts.
        margin: See `core.face.widened_square`.
        lift: The same.
        smallest: Side of the smallest crop that is written, in pixels.
        progress: Called after each batch with how many are done, and of how many.
        limits: What a picture may be at most.

    Raises:
        core.train.dataset.DatasetError: `out` lies in `folder`, where a crop could get the name of
            a picture.
        core.problem.Problem: `folder` is missing, or no picture in it can be read.
    """
    refuse_inside(folder, out)
    reader = FolderReader(folder, progress, limits)
    numbers: Counter[PurePosixPath] = Counter()
    pictures = 0
    out.mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    for paths, batch in reader.batches():
        pictures += len(batch)
        for path, pixels, faces in zip(paths, batch, detector.detect(batch), strict=True):
            # Two pictures may differ in their suffix alone: their crops are counted together.
            name = PurePosixPath(path).with_suffix("")
            for face in faces:
                square = widened_square(face.box, margin, lift)
                if face.score < detector.threshold or square[2] - square[0] < smallest:
                    continue
                cut = f"{name}_{numbers[name]}.jpg"
                numbers[name] += 1
                _save(crop(pixels, square), out / cut)
                rows.append([cut, path, *_described(face)])
    earlier = _listed(out / TABLE)
    partial = out / (TABLE + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    os.replace(partial, out / TABLE)
    for cut in earlier.difference(row[0] for row in rows):
        old = out / cut
        # What is not below `out` was never written as a crop, whatever the table says.
        if old.is_file() and old.resolve().is_relative_to(out.resolve()):
            old.unlink()
    return CropsWritten(pictures, len(rows), tuple(reader.unreadable))


def _listed(table: Path) -> set[str]:
    """The crops of an earlier run; none where the table is missing or is another one."""
    if not table.is_file():
        return set()
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            return set()
        return {line[0] for line in lines if line}


def _save(head: Pixels, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(head, cv2.COLOR_RGB2BGR))
    target.write_bytes(data.tobytes())


def _described(face: Face) -> list[str]:
    return [*(f"{value:.1f}" for value in face.box), f"{face.score:.4f}"]
