"""The folders that commands read and write: which are refused, and what in them is left out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.terminal import Failure, messages
from core.folder import PictureFile, scan
from core.problem import Problem
from core.settings import ModelSettings

if TYPE_CHECKING:
    from core.models import Detector, Extractor

Crops = Annotated[
    bool,
    typer.Option(
        "--crops", help="Every picture is one face crop already; the detector is not asked."
    ),
]


def models_for(settings: ModelSettings, crops: bool) -> tuple[Detector | None, Extractor]:
    """The models of the settings; without a detector where every picture is a face crop."""
    from core.models.chosen import load_extractor_of, load_models

    if crops:
        return None, load_extractor_of(settings)
    return load_models(settings)


def check_folder(folder: Path) -> None:
    """Refuse a folder that cannot be read, before models are loaded for it.

    Raises:
        Problem: As `core.folder.scan` does, which looks in it later.
    """
    # Not `Path.is_dir`, which raises where a folder above may not be entered.
    if not os.path.isdir(folder) or not os.access(folder, os.R_OK | os.X_OK):
        raise Problem("folder_missing", path=folder)


def check_file(out: Path, option: str) -> None:
    """Refuse the name of a file that cannot be written, before hours of work end in it."""
    if out.is_dir():
        raise Failure(f"{out} is a folder; give {option} the name of a file.")
    above = _above(out, option)
    place, rights = (out, os.W_OK) if out.exists() else (above, os.W_OK | os.X_OK)
    _refuse_closed(out, place, rights, option)


def check_result(out: Path, option: str) -> None:
    """Refuse a folder that cannot be written, or nothing beside it, before hours of work end in it.

    What is to appear whole is written beside it first; see `core.files.partial_folder`.
    """
    if out.exists() and not out.is_dir():
        raise Failure(f"{out} is no folder; give {option} another name.")
    for place in (_above(out.resolve(), option), *([out] if out.exists() else [])):
        _refuse_closed(out, place, os.W_OK | os.X_OK, option)


def _above(out: Path, option: str) -> Path:
    """The nearest folder above `out` that is there."""
    above = next(place for place in out.absolute().parents if place.exists())
    if not above.is_dir():
        raise Failure(f"{out} cannot be written, {above} is no folder; give {option} another name.")
    return above


def _refuse_closed(out: Path, place: Path, rights: int, option: str) -> None:
    if not os.access(place, rights):
        raise Failure(f"{out} cannot be written, {place} is read-only; give {option} another name.")


def refuse_splits(learned: Sequence[Path], measured: Sequence[Path]) -> None:
    """Refuse both sides of a split in one, which would be taken for two labels.

    Raises:
        core.train.dataset.DatasetError: One of the folders has both.
    """
    from core.train.dataset import TRAIN, VALIDATION, refuse_sides

    for folder in learned:
        refuse_sides(folder, TRAIN)
    for folder in measured:
        refuse_sides(folder, VALIDATION)


def refuse_inside(folders: Sequence[Path], out: Path) -> None:
    """Refuse to write where pictures are read: the figures would be learned the next time.

    Raises:
        core.train.dataset.DatasetError: `out` is one of the folders, or lies in one.
    """
    from core.train.dataset import refuse_inside

    for folder in folders:
        refuse_inside(with_name(folder), out)


def with_name(folder: Path) -> Path:
    """The same folder by a path that ends in its name, as `.` and `..` do not."""
    return folder.resolve() if folder.name in ("", "..") else folder


def tell_left_out(
    folder: Path, unreadable: Sequence[tuple[str, object]], copies: Sequence[str]
) -> None:
    """Say what of a folder of `<character>/<picture>` was not measured.

    Args:
        folder: Is looked through for pictures in no character's folder.
        unreadable: Path and reason of each file that could not be read.
        copies: Path of each file that has the bytes of an earlier one.
    """
    tell_unreadable(unreadable)
    listed = {path for path, _ in unreadable}
    tell_outside(folder, [file for file in scan(folder).pictures if file.path not in listed])
    if copies:
        messages.print(
            f"{len(copies):,} pictures are copies of others, byte for byte, and were left out"
            f" ({copies[0]} for one)."
        )


def tell_unreadable(unreadable: Sequence[tuple[str, object]]) -> None:
    """List the files that were left out, with the reason of each."""
    if unreadable:
        messages.print(f"{len(unreadable):,} could not be read and were left out:")
        for path, reason in unreadable:
            messages.print(f"  {path}: {reason}")


def tell_unread(files: list[str]) -> None:
    """Say how many files were left out, if any."""
    if files:
        messages.print(
            f"{len(files):,} files could not be read and were left out, {files[0]} first."
        )


def tell_outside(folder: Path, pictures: Iterable[PictureFile], what: str = "character") -> None:
    """Say how many of a folder's pictures lie in no folder of a character, or of `what`, if any."""
    if count := sum(file.character is None for file in pictures):
        messages.print(
            f"{count:,} pictures directly in {folder} belong to no {what} and were left out."
        )
