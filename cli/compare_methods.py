"""`familiar compare-methods`: every method, old and new, on the same pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli import terminal
from cli.folders import (
    Crops,
    check_file,
    check_folder,
    refuse_splits,
    tell_left_out,
    tell_unread,
)
from cli.terminal import Failure, messages, results
from cli.training_line import training_line
from core.settings import load_settings

if TYPE_CHECKING:
    from core.methods.table import MeasuredMethod, MethodComparison
    from core.methods.training import Budget, TrainingFolders
    from core.train.extractor import Report, TrainingProgress


def compare_methods(
    folder: Annotated[Path, typer.Argument(help="Folder of <character>/<picture>.")],
    crops: Crops = False,
    faces: Annotated[
        Path | None,
        typer.Option(help="Face crops to train on, <character>/<crop>; none of FOLDER's."),
    ] = None,
    series: Annotated[
        Path | None, typer.Option(help="Whole pictures to train on, <series>/<picture>.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="A series that is not trained on, as FOLDER's characters are in it; may be given"
            " again."
        ),
    ] = None,
    budget: Annotated[
        float,
        typer.Option(
            min=0.01,
            max=1_000_000,
            help="Millions of pixels that each network sees in training.",
        ),
    ] = 40.0,
    models: Annotated[
        Path, typer.Option(help="Where trained networks are kept; what is there is not trained.")
    ] = Path("runs/methods"),
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="The same seed gives the same result.")
    ] = 7,
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    plot: Annotated[
        Path | None,
        typer.Option(help="PNG file; if left out, one for each FOLDER beside the networks."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Train every method under one small equal budget and measure all on the same pictures."""
    settings = load_settings()
    for each in (folder, faces, series):
        if each is not None:
            check_folder(each)
    refuse_splits([each for each in (faces, series) if each is not None], (folder,))
    chart = plot or models / _chart_name(folder, budget, seed)
    check_file(chart, "--plot")
    with terminal.waiting("Loading the models"):
        from core.embed import check_characters
        from core.methods.table import compare_methods as compared
        from core.methods.table import load_resnet101, load_sources
        from core.methods.training import Budget, TrainingFolders, train_all
        from core.models import DEFAULT_EXTRACTOR, SHIPPED
        from core.models.chosen import extractor_precision, load_detector_of
        from core.models.device import torch_device
        from core.models.extractor import FamiliarExtractor
    # What cannot be measured is said now, and not when everything has been trained.
    check_characters(folder)
    if without and series is None:
        raise Failure("--without leaves out one of the --series; give these too.")
    left_out = tuple(without or ())
    device = torch_device(device)
    resnet101 = load_resnet101(device)
    spent = Budget(budget, seed, device)
    folders = TrainingFolders(faces, series, models, left_out)
    _refuse_shared(folder, folders)
    unread: list[str] = []
    try:
        trained = train_all(folders, spent, _reporter, unread.append)
    except ValueError as error:
        raise Failure(str(error)) from error
    tell_unread(sorted(set(unread)))
    shipped = FamiliarExtractor.load(
        SHIPPED / DEFAULT_EXTRACTOR,
        device,
        precision=extractor_precision(settings.model.precision, device),
        threads=settings.model.threads,
    )
    sources, missing = load_sources(shipped, resnet101, trained, device)
    detector = None if crops else load_detector_of(settings.model)
    with terminal.progress("Comparing", "pictures") as advance:
        comparison = compared(folder, detector, sources, missing, progress=advance)
    tell_left_out(folder, comparison.unreadable, comparison.copies)
    if as_json:
        terminal.show_json(_as_json(comparison, spent))
    elif markdown:
        results.print(_as_markdown(comparison, spent))
    else:
        _show(comparison, spent)
    # What took hours is told already, should the chart fail.
    _draw(comparison, folder, spent, chart)


def _refuse_shared(folder: Path, trained_on: TrainingFolders) -> None:
    """Refuse to measure on pictures of which copies are trained on."""
    from core.methods.table import shared_pictures

    faces, series = trained_on.faces, trained_on.series
    with terminal.waiting("Looking for copies of the pictures in what is trained on"):
        for each, apart in ((faces, ()), (series, trained_on.without)):
            shared = shared_pictures(folder, each, apart) if each else ()
            if shared:
                instead = (
                    "give other --faces"
                    if each is faces
                    else "leave out the series with their characters: --without NAME"
                )
                raise Failure(
                    f"{len(shared):,} pictures of {folder} lie in {each} too ({shared[0]} for one);"
                    " nothing may be measured on what was trained on. Take them out of it, or"
                    f" {instead}."
                )


@contextmanager
def _reporter(name: str) -> Iterator[Report]:
    with training_line() as line:

        def show(now: TrainingProgress) -> None:
            text = f"Training {name}: loss {now.loss:.3f}"
            line.update(now.step, now.steps, text, ended=now.ended)

        yield show


def _chart_name(folder: Path, budget: float, seed: int) -> str:
    """Of the chart of a folder, a budget and a seed, whatever other folders have the same name."""
    whole = folder.resolve()
    of_folder = f"{whole.name}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]}"
    return f"{of_folder}-budget-{budget:.10g}-seed-{seed}.png"


def _draw(comparison: MethodComparison, folder: Path, spent: Budget, out: Path) -> None:
    from core.methods.chart import draw_chart
    from core.train.figures import FiguresUnavailable

    try:
        what = f"{folder.resolve().name}: {_what(comparison)}"
        draw_chart(comparison, f"{what}\n{_budget(comparison, spent)}", out)
    except FiguresUnavailable:
        messages.print(
            "There is no chart without matplotlib: run `make setup`, or `pip install matplotlib`."
        )
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Failure(
            f"The chart cannot be written to {out} ({why}); give --plot another name."
        ) from error
    else:
        messages.print(f"The chart is in {out}")


def _what(comparison: MethodComparison) -> str:
    return (
        f"{comparison.pictures:,} pictures of {comparison.characters:,} characters,"
        f" no face in {comparison.without_face:.1%}"
    )


def _budget(comparison: MethodComparison, spent: Budget) -> str:
    from core.methods.training import SOURCES

    measured = {row.method.source for row in comparison.methods if row.figures}
    if measured.isdisjoint(SOURCES):
        return "No network but the shipped ones was trained."
    return (
        f"Each network but the shipped ones saw {spent.megapixels:g} million pixels"
        f" (seed {spent.seed})."
    )


def _cells(row: MeasuredMethod) -> tuple[str, ...]:
    error = "-" if row.equal_error_rate is None else f"{row.equal_error_rate:.3f}"
    if row.figures is None:
        return (row.method.name, row.method.likeness.name, "-", "-", "-", "-", row.note)
    reached = row.figures
    return (
        row.method.name,
        row.method.likeness.name,
        f"{reached.precision_at_1:.3f}",
        f"{reached.precision_at_5:.3f}",
        f"{reached.mean_average_precision:.3f}",
        error,
        row.note,
    )


_HEADINGS = ("method", "compared by", "P@1", "P@5", "mAP", "EER")


def _rows_and_notes(comparison: MethodComparison, mark: str) -> tuple[list[list[str]], list[str]]:
    """The cells of each method, and what they refer to by `mark`, such as ``[{}]``, and a number.

    The same note of several methods has one number.
    """
    rows: list[list[str]] = []
    notes: dict[str, str] = {}
    for row in comparison.methods:
        *cells, note = _cells(row)
        if note:
            cells[0] += " " + notes.setdefault(note, mark.format(len(notes) + 1))
        rows.append(cells)
    return rows, [f"{its_mark} {note}" for note, its_mark in notes.items()]


def _show(comparison: MethodComparison, spent: Budget) -> None:
    table = Table(*_HEADINGS)
    rows, notes = _rows_and_notes(comparison, "[{}]")
    for cells in rows:
        table.add_row(*cells)
    results.print(table)
    for note in notes:
        results.print(note)
    results.print(f"{_what(comparison)}. {_budget(comparison, spent)}")


def _as_markdown(comparison: MethodComparison, spent: Budget) -> str:
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---|---|---|---|---|---|"]
    rows, notes = _rows_and_notes(comparison, "({})")
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    lines += ["", f"{_what(comparison)}. {_budget(comparison, spent)}", *notes]
    return "\n".join(lines)


def _as_json(comparison: MethodComparison, spent: Budget) -> dict[str, object]:
    return {
        "pictures": comparison.pictures,
        "characters": comparison.characters,
        "without_face": comparison.without_face,
        "megapixels": spent.megapixels,
        "seed": spent.seed,
        "methods": [
            {
                "method": row.method.name,
                "look": row.method.look.value,
                "likeness": row.method.likeness.name,
                "precision_at_1": row.figures.precision_at_1 if row.figures else None,
                "precision_at_5": row.figures.precision_at_5 if row.figures else None,
                "mean_average_precision": (
                    row.figures.mean_average_precision if row.figures else None
                ),
                "equal_error_rate": row.equal_error_rate,
                "note": row.note,
            }
            for row in comparison.methods
        ],
        "copies": list(comparison.copies),
        "unreadable": {path: str(problem) for path, problem in comparison.unreadable},
    }
