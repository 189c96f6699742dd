"""`familiar embed` and `familiar detect`: a whole folder of pictures into one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.folders import Crops, check_file, check_folder, models_for, tell_unreadable
from cli.terminal import results
from core.settings import load_settings

Pictures = Annotated[Path, typer.Argument(help="Searched for pictures at any depth.")]


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
