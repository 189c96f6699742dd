"""The table as a picture."""

from __future__ import annotations

from pathlib import Path

from core.methods.table import MethodComparison
from core.train.figures import new_figure, write_figure


def draw_chart(comparison: MethodComparison, title: str, out: Path) -> None:
    """Bars of P@1 and mAP for each method, and its equal error rate as a mark, as PNG.

    Args:
        comparison: What was measured.
        title: Over it, as it stands.
        out: The file to write; its folder is made if it is missing.

    Raises:
        core.train.figures.FiguresUnavailable: matplotlib is not installed.
        OSError: The file cannot be written.
    """
    rows = comparison.methods
    figure = new_figure(9, 0.42 * len(rows) + 1.4)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        if row.figures is None:
            axes.text(0.005, place, "not measured", va="center", fontsize=8, color="grey")
            continue
        first, average = row.figures.precision_at_1, row.figures.mean_average_precision
        axes.barh(place - 0.19, first, 0.36, color="#3b6fb6", label="P@1")
        axes.barh(place + 0.19, average, 0.36, color="#e08a2e", label="mAP")
        axes.text(first + 0.005, place - 0.19, f"{first:.3f}", va="center", fontsize=7)
        axes.text(average + 0.005, place + 0.19, f"{average:.3f}", va="center", fontsize=7)
        if row.equal_error_rate is not None:
            axes.plot(row.equal_error_rate, place, "k|", markersize=13, label="equal error rate")
    names = [row.method.name for row in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title(title, fontsize=10, parse_math=False)  # a dollar sign begins no formula
    handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), fontsize=8, loc="outside lower center", ncols=3)
    axes.grid(axis="x", alpha=0.3)
    write_figure(figure, out)
