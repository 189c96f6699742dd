"""`familiar compare-precisions`: what less than float32 changes, on the same pictures."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli import terminal
from cli.folders import Crops, check_folder, refuse_splits, tell_left_out
from cli.terminal import Failure, results
from core.settings import load_settings

if TYPE_CHECKING:
    from core.compare_precisions import PrecisionComparison, Turned, Variant
    from core.settings import ModelSettings

_HEADINGS = ("precision", "look", "P@1", "P@5", "mAP", "EER")


def compare_precisions(
    folder: Annotated[Path, typer.Argument(help="Folder of <character>/<picture>.")],
    crops: Crops = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table.")] = False,
) -> None:
    """Measure the models in float32, int8 and bfloat16: P@1, P@5, mAP, EER, how vectors turn."""
    check_folder(folder)
    refuse_splits((), (folder,))
    settings = load_settings()
    with terminal.waiting("Loading the models"):
        from core.compare_precisions import compare_precisions

        variants = _variants(settings.model, crops)
    if len(variants) == 1:
        raise Failure("These models compute in float32 alone: there is nothing to compare.")
    with terminal.progress("Comparing", "pictures") as advance:
        comparison = compare_precisions(folder, variants, progress=advance)
    tell_left_out(folder, comparison.unreadable, comparison.copies)
    if as_json:
        terminal.show_json(_as_json(comparison))
    elif markdown:
        results.print(_as_markdown(comparison))
    else:
        table = Table(*_HEADINGS)
        for row in _rows(comparison):
            table.add_row(*row)
        results.print(table)
        results.print(_closing(comparison))


def _variants(model: ModelSettings, crops: bool) -> list[Variant]:
    import torch

    from core.compare_precisions import Variant
    from core.models.chosen import load_detector_of, load_extractor_of

    threads = model.threads or torch.get_num_threads()

    def named(precision: str) -> ModelSettings:
        return model.model_copy(update={"precision": precision})

    exact = load_extractor_of(named("float32"))
    detector, detector_in_int8 = (
        None if crops else load_detector_of(named(precision)) for precision in ("float32", "int8")
    )
    found = [Variant("float32", detector, exact)]
    # Models of one's own may have no other precision.
    detector_differs = detector_in_int8 is not None and detector_in_int8.precision == "int8"
    if detector_differs:
        found.append(Variant("detector in int8", detector_in_int8, exact))
    for precision, together in (("int8", "both in int8"), ("bfloat16", "int8 and bfloat16")):
        coarse = load_extractor_of(named(precision))
        if coarse.precision == precision:
            found.append(Variant(f"extractor in {precision}", detector, coarse))
            if detector_differs:
                found.append(Variant(together, detector_in_int8, coarse))
    # The extractor in int8 leaves PyTorch with one, which the others have use for.
    torch.set_num_threads(threads)
    return found


def _rows(comparison: PrecisionComparison) -> list[tuple[str, ...]]:
    return [
        (
            precision.name,
            look.value,
            *(
                f"{figure:.4f}"
                for figure in (
                    reached.precision_at_1,
                    reached.precision_at_5,
                    reached.mean_average_precision,
                    error,
                )
            ),
        )
        for precision in comparison.precisions
        for look, (reached, error) in precision.looks.items()
    ]


def _closing(comparison: PrecisionComparison) -> str:
    def told(turned: Turned | None) -> str:
        if turned is None:
            return "none found"
        return f"{turned.mean:.5f} (least {turned.least:.5f})"

    sentences = [f"{comparison.count:,} pictures."]
    for turning in comparison.turnings:
        sentences.append(
            f"Cosine between vectors in float32 and those of the {turning.name}: faces"
            f" {told(turning.faces)}, whole pictures {told(turning.pictures)}."
        )
    return " ".join(sentences)


def _as_markdown(comparison: PrecisionComparison) -> str:
    lines = ["| " + " | ".join(_HEADINGS) + " |", "|---" * len(_HEADINGS) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(comparison)]
    return "\n".join([*lines, "", _closing(comparison)])


def _as_json(comparison: PrecisionComparison) -> dict[str, object]:
    return {
        "pictures": comparison.count,
        "precisions": {
            precision.name: {
                look.value: {**asdict(reached), "equal_error_rate": error}
                for look, (reached, error) in precision.looks.items()
            }
            for precision in comparison.precisions
        },
        "cosine": {
            turning.name: {
                what: None if turned is None else {"mean": turned.mean, "least": turned.least}
                for what, turned in (("faces", turning.faces), ("pictures", turning.pictures))
            }
            for turning in comparison.turnings
        },
        "copies": list(comparison.copies),
        "unreadable": {path: str(problem) for path, problem in comparison.unreadable},
    }
