"""`familiar evaluate-detector`: which faces a detector finds, and what it takes for one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from rich.table import Table

from cli import terminal
from cli.folders import check_folder, tell_unreadable
from cli.terminal import Failure, messages, results
from core.folder import PictureFile, scan
from core.settings import load_settings

if TYPE_CHECKING:
    from core.evaluate_detector import BoxedFigures, FalseAlarms, Found
    from core.faceless import Faceless
    from core.models import Detector
    from core.voc import Annotation

_NUMBER: Final = "number (of a name that is none, its checksum)"
"""By what pictures are kept from training, in words; see `core.voc.number_of`."""

_NAMED: Final = 10
"""Pictures that are named on the terminal where something was taken for a face."""


def evaluate_detector(
    folder: Annotated[
        Path | None,
        typer.Argument(help="Pictures with faces; boxed where LabelImg's .xml files lie beside."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(help="Another detector than the one in use, as `familiar models list` says."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="All boxed pictures, not only numbers that end in 0.")
    ] = False,
    faceless: Annotated[
        Path | None,
        typer.Option(
            help="Further pictures without a face: a folder, or a CSV with"
            " picture, x0, y0, x1, y1 that says where to cut."
        ),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Where the pictures of that CSV are; else beside it.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a detector: AP at IoU 0.5, pictures with a face, boxes where there is no face.

    Pictures without a face are drawn, and more can be given with --faceless.
    """
    _check_options(folder, everything, faceless, pictures)
    settings = load_settings()
    # What cannot be had is said now, and not when models are loaded and pictures looked at.
    boxed = None if folder is None else _boxed(folder, everything)
    further = iter(()) if faceless is None else _further(faceless, pictures)
    with terminal.waiting("Loading the detector"):
        from core.evaluate_detector import false_alarms
        from core.faceless.drawing import drawn
        from core.models.chosen import load_detector_of

        named = {"detector": detector} if detector else {}
        loaded = load_detector_of(settings.model.model_copy(update=named))
    # These first: one that cannot be read is said before FOLDER is measured.
    with terminal.waiting("Looking at pictures without a face"):
        alarms = false_alarms(chain(further, drawn()), loaded)
    figures, found = (None, None) if folder is None else _measured(folder, boxed, loaded)
    if boxed is not None:
        _tell_left_out(boxed)
    if as_json:
        terminal.show_json(_as_json(loaded.threshold, boxed, figures, found, alarms))
    else:
        _show(loaded.threshold, figures, found, alarms)


def _check_options(
    folder: Path | None, everything: bool, faceless: Path | None, pictures: Path | None
) -> None:
    """Refuse an option that would change nothing without another."""
    if everything and folder is None:
        raise Failure("--all needs FOLDER, whose boxed pictures it is about; name it too.")
    if pictures is not None and (faceless is None or not _is_table(faceless)):
        raise Failure("--pictures needs the CSV that names them: --faceless FILE.csv.")


class _Boxed(NamedTuple):
    """What of a folder with boxed pictures is measured, and what is not.

    Attributes:
        measured: At least one of them has a box.
        learned: How many others are boxed, which a training on this folder learns from.
        without_file: Pictures without an annotation of their name, of which nobody knows whether
            they show a face.
    """

    measured: Sequence[Annotation]
    learned: int
    without_file: Sequence[PictureFile]


def _boxed(folder: Path, everything: bool) -> _Boxed | None:
    """The boxed pictures that are measured; None where nothing is boxed."""
    from core.train.parts import split
    from core.voc import files_in, read_folder

    check_folder(folder)
    files = files_in(folder)
    if not files:
        if everything:
            raise Failure(
                f"--all is about boxed pictures, and no .xml file is in {folder}; leave it out."
            )
        return None
    annotations = read_folder(folder)
    if not any(len(annotation.boxes) for annotation in annotations):
        raise Failure(f"There is no box in any .xml file of {folder}, and so nothing to measure.")
    chosen = annotations if everything else split(annotations).validation
    if not any(len(annotation.boxes) for annotation in chosen):
        raise Failure(
            f"There is no face in the pictures of {folder} that training leaves out:"
            f" their {_NUMBER} ends in 0. --all measures on all of them."
        )
    beside = {path.resolve().with_suffix("") for path in files}
    without_file = [
        picture
        for picture in scan(folder).pictures
        if picture.location.with_suffix("") not in beside
    ]
    return _Boxed(chosen, len(annotations) - len(chosen), without_file)


def _tell_left_out(boxed: _Boxed) -> None:
    if boxed.learned:
        messages.print(
            f"{boxed.learned:,} boxed pictures were left out, which training learns from: their"
            f" {_NUMBER} does not end in 0. --all measures on them, too."
        )
    if boxed.without_file:
        messages.print(
            f"{len(boxed.without_file):,} pictures have no .xml file of their name and were left"
            f" out, {boxed.without_file[0].path} first; LabelImg writes one without boxes where"
            " there is no face."
        )


def _measured(
    folder: Path, boxed: _Boxed | None, detector: Detector
) -> tuple[BoxedFigures | None, Found]:
    from core.evaluate_detector import evaluate_boxed, evaluate_plain

    with terminal.progress("Detecting", "pictures") as advance:
        if boxed is None:
            found, unreadable = evaluate_plain(folder, detector, advance)
            tell_unreadable(unreadable)
            return None, found
        return evaluate_boxed(boxed.measured, detector, advance)


def _further(faceless: Path, pictures: Path | None) -> Iterator[Faceless]:
    from core.faceless import cut, given

    if _is_table(faceless):
        return cut(faceless, pictures or faceless.parent)
    return given(faceless)


def _is_table(faceless: Path) -> bool:
    return faceless.suffix.lower() == ".csv"


def _show(
    threshold: float, figures: BoxedFigures | None, found: Found | None, alarms: FalseAlarms
) -> None:
    if figures is not None:
        right = "none" if figures.precision is None else f"{figures.precision:.3f}"
        results.print(
            f"Average precision at IoU 0.5: {figures.average_precision:.3f}, on"
            f" {figures.pictures:,} pictures with {figures.boxes:,} faces. At the threshold of"
            f" {threshold:.3f}: precision {right}, recall {figures.recall:.3f}."
        )
    table = Table("pictures", "how many", f"with a box of {threshold:.3f} or more", "share")
    rows: list[tuple[str, Found]] = [] if found is None else [("with faces", found)]
    rows += [(f"no face: {kind.value}", count) for kind, count in alarms.kinds.items()]
    rows.append(("no face: all", alarms.total))
    for what, count in rows:
        table.add_row(what, f"{count.pictures:,}", f"{count.with_box:,}", f"{count.share:.1%}")
    results.print(table)
    for name, score in alarms.names[:_NAMED]:
        results.print(f"taken for a face: {name} ({score:.2f})")
    if len(alarms.names) > _NAMED:
        results.print(f"and {len(alarms.names) - _NAMED:,} more, which --json lists")


def _as_json(
    threshold: float,
    boxed: _Boxed | None,
    figures: BoxedFigures | None,
    found: Found | None,
    alarms: FalseAlarms,
) -> dict[str, object]:
    return {
        "threshold": threshold,
        "boxed": None
        if boxed is None or figures is None
        else {
            "average_precision": figures.average_precision,
            "precision": figures.precision,
            "recall": figures.recall,
            "faces": figures.boxes,
            "pictures": figures.pictures,
            "learned_and_left_out": boxed.learned,
            "without_file_and_left_out": [picture.path for picture in boxed.without_file],
        },
        "with_faces": None if found is None else _counted(found),
        "without_faces": {kind.value: _counted(count) for kind, count in alarms.kinds.items()}
        | {"all": _counted(alarms.total)},
        "taken_for_a_face": [{"picture": name, "score": score} for name, score in alarms.names],
    }


def _counted(found: Found) -> dict[str, int]:
    return {"pictures": found.pictures, "with_box": found.with_box}
