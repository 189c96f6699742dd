"""Crops of heads, with a table that maps each crop to the picture it was cut from."""

from __future__ import annotations

import csv
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import cv2

from core.embed import FolderReader, above_threshold
from core.face import Face, Pixels
from core.files import partial_folder
from core.framing import HEADS, Framing, crop, holdable
from core.models import Detector
from core.progress import Progress
from core.train.dataset import DatasetError, refuse_inside

TABLE = "crops.csv"
FROM = f".{TABLE}.from"
"""File beside the table with the folder of the pictures, as a path from there."""

COLUMNS = ("crop", "picture", "x0", "y0", "x1", "y1", "score")


@dataclass(frozen=True, slots=True)
class CropsWritten:
    """What came of a folder.

    Attributes:
        pictures: How many were looked at.
        crops: How many were written.
        removed: Crops of an earlier run that were not cut again.
        unreadable: Paths of the pictures that could not be read, and why.
    """

    pictures: int
    crops: int
    removed: int
    unreadable: tuple[tuple[str, str], ...]


def write_crops(
    folder: Path,
    out: Path,
    detector: Detector,
    *,
    framing: Framing = HEADS,
    smallest: int = 1,
    progress: Progress = lambda done, total: None,
) -> CropsWritten:
    """Cut every face that counts out of every picture below `folder`, each once.

    A crop is called ``<name of the picture>_<n>.jpg`` and lies in `out` where its picture lies in
    `folder`. ``crops.csv`` has a row for each; boxes are the detector's, in pixels of the picture.
    Nothing changes in `out` before all are cut.

    Args:
        folder: Searched at any depth.
        out: Made if it is missing; a table of the same folder that is there already is replaced,
            with the crops that it lists. A folder is the same where one of their pictures is
            still in it, and where it was not cut from another one that is still there.
        detector: Its own threshold decides what counts.
        framing: Of the crops.
        smallest: Side of the smallest crop that is written, in pixels.
        progress: Called after each batch with how many are done, and of how many.

    Raises:
        core.train.dataset.DatasetError: `out` or a crop would lie in `folder`, which is only read;
            `out` holds crops of another folder; or there is a file in the place of the table or of
            a crop that no earlier run wrote.
        BlockingIOError: Another process is writing crops into `out`.
        core.problem.Problem: `folder` is missing, or no picture in it can be read.
    """
    refuse_inside(folder, out)
    reader = FolderReader(folder, progress)
    choose = above_threshold(detector)
    numbers: Counter[PurePosixPath] = Counter()
    pictures = 0
    rows: list[list[str]] = []
    with partial_folder(out / TABLE) as partial:
        earlier = _earlier(folder, out)
        for paths, batch in reader.batches():
            if not pictures:
                _refuse_another(folder, out, earlier)
            pictures += len(batch)
            for path, pixels, faces in zip(paths, batch, detector.detect(batch), strict=True):
                # Two pictures may differ in their suffix alone: their crops are counted together.
                name = PurePosixPath(path).with_suffix("")
                for face in choose(faces):
                    square = framing.square(face.box)
                    if square[2] - square[0] < smallest:
                        continue
                    cut = f"{name}_{numbers[name]}.jpg"
                    numbers[name] += 1
                    refuse_inside(folder, out / cut)
                    if cut not in earlier:
                        _refuse_taken(out / cut)
                    _save(crop(*holdable(pixels, square)), partial / cut)
                    rows.append([cut, path, *_described(face)])
        with (partial / TABLE).open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        (partial / FROM).write_bytes(os.fsencode(os.path.relpath(folder.resolve(), out.resolve())))
        # In this order there is never a crop that no table lists, wherever this is cut short.
        removed = earlier.keys() - {row[0] for row in rows}
        for cut in removed:
            (out / cut).unlink(missing_ok=True)
        os.replace(partial / FROM, out / FROM)
        os.replace(partial / TABLE, out / TABLE)
        for cut, *_ in rows:
            (out / cut).parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial / cut, out / cut)
    return CropsWritten(pictures, len(rows), len(removed), tuple(reader.unreadable))


def pictures_of_crops(out: Path) -> dict[str, Path]:
    """By the path of each crop that `write_crops` wrote into a folder, where its picture is, or
    was; nothing where there is no table."""
    source = _source(out) or out
    return {cut: source / picture for cut, picture in (_listed(out / TABLE) or {}).items()}


def _earlier(folder: Path, out: Path) -> dict[str, str]:
    """The crops that an earlier run left in `out`, and the picture that each was cut from."""
    listed = _listed(out / TABLE)
    if listed is None:
        raise DatasetError(
            f"{out / TABLE} is no table of crops; move it away, or name another folder."
        )
    return {cut: picture for cut, picture in listed.items() if _was_cut(folder, out, cut)}


def _listed(table: Path) -> dict[str, str] | None:
    """The picture of each crop in a table, if there is one; None where it is something else."""
    if not table.exists():
        return {}
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            return None
        return {line[0]: line[1] for line in lines if len(line) > 1}


def _was_cut(folder: Path, out: Path, cut: str) -> bool:
    """Whether it can be a crop; what is not below `out` never was, whatever the table says."""
    place = (out / cut).resolve()
    return (
        place.is_file()
        and place.is_relative_to(out.resolve())
        and not place.is_relative_to(folder.resolve())
    )


def _refuse_another(folder: Path, out: Path, earlier: dict[str, str]) -> None:
    if not earlier:
        return
    source = _source(out)
    another = source is not None and source.is_dir() and not source.samefile(folder)
    if another or not any((folder / picture).exists() for picture in earlier.values()):
        raise DatasetError(
            f"{out} holds crops of other pictures than those in {folder}; name another folder."
        )


def _source(out: Path) -> Path | None:
    """The folder that an earlier run cut from; None where it did not say."""
    if not (out / FROM).is_file():
        return None
    return out.resolve() / os.fsdecode((out / FROM).read_bytes())


def _refuse_taken(target: Path) -> None:
    """Refuse a place where something lies, or a file in the place of its folder."""
    place = target
    while not os.path.lexists(place):
        place = place.parent
    if place == target or not place.is_dir():
        raise DatasetError(
            f"{place} is there already and is no crop of an earlier run; move it away, or name"
            " another folder."
        )


def _save(head: Pixels, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    _, data = cv2.imencode(".jpg", cv2.cvtColor(head, cv2.COLOR_RGB2BGR))
    target.write_bytes(data.tobytes())


def _described(face: Face) -> list[str]:
    return [*(f"{value:.1f}" for value in face.box), f"{face.score:.4f}"]
