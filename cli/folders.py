"""`familiar embed` and `familiar detect`: a whole folder of pictures into one file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.terminal import Failure, messages, results
from core.problem import Problem
from core.settings import ModelSettings, load_settings

if TYPE_CHECKING:
    from core.models import Detector, Extractor

Pictures = Annotated[Path, typer.Argument(help="Searched for pictures at any depth.")]
Crops = Annotated[
    bool,
    typer.Option(
        "--crops", help="Every picture is one face crop already; the detector is not asked."
    ),
]


def embed(
    folder: Pictures,
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    crops: Crops = False,
) -> None:
    """Write the vectors of a folder's pictures: path, face_count, character, feel."""
    settings = load_settings()
    check_folder(folder)
    check_file(out, "--out")
    with terminal.waiting("Loading the models"):
        from core.embed import embed_folder, save_vectors

        detector, extractor = models_for(settings.model, crops)
    with terminal.progress("Embedding", "pictures") as advance:
        vectors = embed_folder(folder, detector, extractor, advance)
    save_vectors(vectors, out)
    tell_unreadable(vectors.unreadable)
    without = int((vectors.face_count == 0).sum())
    results.print(f"Embedded {len(vectors.paths):,} pictures ({without:,} without a face): {out}")


def detect(
    folder: Pictures,
    out: Annotated[Path, typer.Option(help="The JSON file to write.")],
) -> None:
    """Write the faces of a folder's pictures as JSON: for each path, boxes and their scores.

    All boxes with a score of 0.01 or more are written, as measurements need them; a face is what
    reaches the detector's threshold, which is said at the end.
    """
    settings = load_settings()
    check_folder(folder)
    check_file(out, "--out")
    with terminal.waiting("Loading the detector"):
        from core.embed import detect_folder, save_detections
        from core.models.chosen import load_detector_of

        detector = load_detector_of(settings.model)
    with terminal.progress("Detecting", "pictures") as advance:
        detections = detect_folder(folder, detector, advance)
    save_detections(detections, out)
    tell_unreadable(detections.unreadable)
    found = sum(
        any(face.score >= detector.threshold for face in faces)
        for faces in detections.faces.values()
    )
    results.print(
        f"Looked at {len(detections.faces):,} pictures, found a face in {found:,}, where a face has"
        f" a score of {detector.threshold:g} or more: {out}"
    )


def models_for(settings: ModelSettings, crops: bool) -> tuple[Detector | None, Extractor]:
    """The models of the settings; without a detector where every picture is a face crop."""
    from core.models.chosen import load_extractor_of, load_models

    if crops:
        return None, load_extractor_of(settings)
    return load_models(settings)


def tell_unreadable(unreadable: Sequence[tuple[str, object]]) -> None:
    """List the files that were left out, with the reason of each."""
    if unreadable:
        messages.print(f"{len(unreadable):,} could not be read and were left out:")
        for path, reason in unreadable:
            messages.print(f"  {path}: {reason}")


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
