"""`familiar evaluate`: how well the characters of a folder are told apart."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli import terminal
from cli.folders import Crops, check_folder, models_for, refuse_splits, tell_left_out
from cli.terminal import results
from core.look import Look
from core.settings import load_settings

if TYPE_CHECKING:
    from core.evaluate_folder import FolderFigures


def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of <character>/<picture>.")],
    look: Annotated[
        Look | None, typer.Option(help="One look alone; all three where it is left out.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    crops: Crops = False,
) -> None:
    """Let each picture ask and all others answer: P@1, P@5, mAP, EER of all pairs, and pictures
    with no face."""
    check_folder(folder)
    refuse_splits((), (folder,))
    settings = load_settings()
    with terminal.waiting("Loading the models"):
        from core.evaluate_folder import evaluate_folder

        detector, extractor = models_for(settings.model, crops)
    looks = tuple(Look) if look is None else (look,)
    with terminal.progress("Evaluating", "pictures") as advance:
        figures = evaluate_folder(
            folder,
            detector,
            extractor,
            looks=looks,
            progress=advance,
        )
    tell_left_out(folder, figures.unreadable, figures.copies)
    if as_json:
        terminal.show_json(_as_json(figures))
    else:
        _show(figures)


def _show(figures: FolderFigures) -> None:
    table = Table("look", "P@1", "P@5", "mAP", "EER")
    for look, reached in figures.looks.items():
        table.add_row(
            look.value,
            f"{reached.precision_at_1:.3f}",
            f"{reached.precision_at_5:.3f}",
            f"{reached.mean_average_precision:.3f}",
            f"{figures.equal_error_rates[look]:.3f}",
        )
    results.print(table)
    results.print(
        f"{figures.pictures:,} pictures of {figures.characters:,} characters;"
        f" {figures.asked:,} asked; no face in {figures.without_face:.1%}."
    )


def _as_json(figures: FolderFigures) -> dict[str, object]:
    return {
        "pictures": figures.pictures,
        "characters": figures.characters,
        "asked": figures.asked,
        "without_face": figures.without_face,
        "looks": {
            look.value: {**asdict(reached), "equal_error_rate": figures.equal_error_rates[look]}
            for look, reached in figures.looks.items()
        },
        "copies": list(figures.copies),
        "unreadable": {path: str(problem) for path, problem in figures.unreadable},
    }
