"""Pictures of what a trained network can and cannot do.

All but `retrieval_sheet` needs matplotlib (the extra ``train``). Nothing here opens a window.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from core.face import Pixels, Vectors
from core.likeness import COSINE, Likeness
from core.retrieval import equal_error_of, pair_likenesses
from core.train.face_data import LabelledPictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CONFUSED: Final = 10
SHEET_ROWS: Final = 12
SHEET_COLUMNS: Final = 8
_FAMILIES: Final = (
    *("DejaVu Sans", "Noto Sans CJK JP", "Noto Sans JP", "IPAexGothic", "Hiragino Sans"),
    *("Yu Gothic", "Meiryo"),
)
"""Fonts for names: matplotlib's own, which knows no Japanese, then those that systems bring."""

_TILE: Final = 96
_FRAME: Final = 4
_RIGHT: Final = (46, 160, 67)
_WRONG: Final = (207, 34, 46)


class FiguresUnavailable(Exception):
    """matplotlib is not installed; the message says how it is."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Two labels that are taken for each other.

    Attributes:
        one: The first label's number.
        other: The second's.
        rate: Share of the pairs of one picture each that are at least as alike as the equal
            error rate's threshold asks, 0..1.
    """

    one: int
    other: int
    rate: float


def draw_figures(
    folder: Path,
    pictures: LabelledPictures,
    vectors: Vectors,
    likeness: Likeness = COSINE,
) -> tuple[Path, ...]:
    """Similarity histogram, ROC, confused characters and retrieval sheet of one set.

    Args:
        folder: Gets ``similarities.png``, ``roc.png``, ``confused.png`` and ``retrieval.png``.
        pictures: The set.
        vectors: ``(n, d)``, one a picture.
        likeness: How vectors are compared.

    Returns:
        The files.

    Raises:
        FiguresUnavailable: matplotlib is not installed.
        ValueError: There is no pair of one label, or none of two.
    """
    labels = pictures.labels
    same, different = pair_likenesses(vectors, labels, likeness)
    rate, threshold = equal_error_of(same, different)
    similar = _similarities(same, different, threshold, likeness.name)
    write_figure(similar, folder / "similarities.png")
    write_figure(_roc(same, different, rate), folder / "roc.png")
    confused = confusions(vectors, labels, threshold, likeness)
    write_figure(_confused(confused, pictures.names), folder / "confused.png")
    retrieval_sheet(pictures.pixels, vectors, labels, likeness).save(folder / "retrieval.png")
    wanted = ("similarities.png", "roc.png", "confused.png", "retrieval.png")
    return tuple(folder / name for name in wanted)


def draw_curves(points: Mapping[str, Sequence[tuple[float, float]]], out: Path) -> None:
    """Training curves, one panel each, as PNG.

    Args:
        points: For each panel its name and ``(epoch, y)``.
        out: The file to write.

    Raises:
        FiguresUnavailable: matplotlib is not installed.
    """
    shown = {name: line for name, line in points.items() if line}
    figure = new_figure(4.2 * max(1, len(shown)), 3.2)
    for place, (name, line) in enumerate(shown.items(), start=1):
        axes = figure.add_subplot(1, len(shown), place)
        axes.plot([x for x, _ in line], [y for _, y in line], marker=".", color="#3b6fb6")
        axes.set_title(name, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    write_figure(figure, out)


def confusions(
    vectors: Vectors,
    labels: NDArray[np.int64],
    threshold: float,
    likeness: Likeness = COSINE,
) -> list[Confusion]:
    """The `CONFUSED` most confused pairs of labels, in order; of equals, the first by number."""
    order = np.argsort(labels, kind="stable")
    numbers, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
    found = []
    for place, one in enumerate(numbers[:-1]):
        start, end = starts[place], starts[place + 1]
        alike = likeness.between(vectors[order[start:end]], vectors[order[end:]])
        passing = np.add.reduceat((alike >= threshold).sum(0), starts[place + 1 :] - end)
        rates = passing / (counts[place] * counts[place + 1 :])
        found += [
            Confusion(int(one), int(numbers[place + 1 + further]), float(rates[further]))
            for further in np.argsort(-rates, kind="stable")[:CONFUSED]
        ]
    return sorted(found, key=lambda pair: (-pair.rate, pair.one, pair.other))[:CONFUSED]


def retrieval_sheet(
    pixels: Pixels,
    vectors: Vectors,
    labels: NDArray[np.int64],
    likeness: Likeness = COSINE,
) -> Image.Image:
    """Some pictures, each with its nearest others, framed green where right and red where wrong.

    Each that asks is of another label, while there are labels; they are the same each time.

    Args:
        pixels: ``(n, side, side, 3)``.
        vectors: ``(n, d)``.
        labels: ``(n,)``.
        likeness: How vectors are compared.
    """
    rng = np.random.default_rng(0)
    counts = np.bincount(labels)
    able = [label for label in np.unique(labels) if counts[label] > 1]
    asking = [int(rng.choice(np.flatnonzero(labels == label))) for label in rng.permutation(able)]
    asking = asking[:SHEET_ROWS]
    step = _TILE + 2 * _FRAME
    columns = min(SHEET_COLUMNS, len(labels) - 1)
    sheet = Image.new("RGB", (step * (columns + 1) + 3 * _FRAME, step * len(asking)), "white")
    draw = ImageDraw.Draw(sheet)
    for line, row in enumerate(asking):
        alike = likeness.between(vectors[row : row + 1], vectors)[0]
        alike[row] = -np.inf
        nearest = np.argsort(-alike, kind="stable")[:columns]
        _place(sheet, pixels[row], _FRAME, line * step + _FRAME)
        for column, answer in enumerate(nearest.tolist(), start=1):
            left, top = column * step + 3 * _FRAME, line * step
            colour = _RIGHT if labels[answer] == labels[row] else _WRONG
            draw.rectangle((left, top, left + step - 1, top + step - 1), fill=colour)
            _place(sheet, pixels[answer], left + _FRAME, top + _FRAME)
    return sheet


def _place(sheet: Image.Image, pixels: Pixels, left: int, top: int) -> None:
    sheet.paste(Image.fromarray(pixels).resize((_TILE, _TILE)), (left, top))


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, which no window shows.

    Raises:
        FiguresUnavailable: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise FiguresUnavailable(
            "There are no figures without matplotlib:"
            " run `make setup`, or `pip install matplotlib`."
        ) from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


@cache
def _fonts() -> dict[str, frozenset[int]]:
    """Of `_FAMILIES`, those that are installed, and the characters that each can draw."""
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    found = {}
    for family in _FAMILIES:
        try:
            path = findfont(family, fallback_to_default=False)
        except ValueError:
            continue
        found[family] = frozenset(FT2Font(path).get_charmap())
    return found


def shown_names(names: Sequence[str]) -> list[str]:
    """Names as they can be drawn: where no font has all the characters, the label's number."""
    known = frozenset().union(*_fonts().values())
    return [
        name if known.issuperset(map(ord, name)) else f"label {number}"
        for number, name in enumerate(names)
    ]


def write_figure(figure: Figure, out: Path) -> None:
    """Write a figure as PNG; its folder is made if it is missing."""
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110, format="png")


def _similarities(
    same: NDArray[np.float32], different: NDArray[np.float32], threshold: float, name: str
) -> Figure:
    figure = new_figure(6, 3.6)
    axes = figure.add_subplot()
    low, high = float(min(same[0], different[0])), float(max(same[-1], different[-1]))
    bins = np.linspace(low, high if high > low else low + 1, 81)
    for pairs, colour, label in (
        (different, "#cf222e", f"{len(different):,} pairs of two characters"),
        (same, "#2ea043", f"{len(same):,} pairs of one character"),
    ):
        weights = np.full(len(pairs), 1 / len(pairs))
        axes.hist(pairs, bins=bins.tolist(), weights=weights, color=colour, alpha=0.55, label=label)
    axes.axvline(threshold, color="black", linestyle="--", label="equal error rate")
    axes.set_xlabel(name if low >= -1 else f"{name} distance, negative")
    axes.set_ylabel("share of the pairs")
    axes.legend(fontsize=8)
    return figure


def _roc(same: NDArray[np.float32], different: NDArray[np.float32], rate: float) -> Figure:
    thresholds = np.quantile(np.concatenate([same, different]), np.linspace(0, 1, 1001))
    accepted = 1 - np.searchsorted(different, thresholds, side="left") / len(different)
    right = 1 - np.searchsorted(same, thresholds, side="left") / len(same)
    figure = new_figure(4.6, 4.4)
    axes = figure.add_subplot()
    axes.plot(accepted, right, color="#3b6fb6")
    axes.plot([0, 1], [1, 0], color="grey", linewidth=0.8, linestyle=":")
    axes.plot(rate, 1 - rate, "ko", label=f"equal error rate {rate:.3f}")
    axes.set_xlabel("false accepts: pairs of two characters taken for one")
    axes.set_ylabel("true accepts: pairs of one character")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    return figure


def _confused(pairs: Sequence[Confusion], names: Sequence[str]) -> Figure:
    figure = new_figure(7, 0.35 * len(pairs) + 1)
    axes = figure.add_subplot()
    shown = shown_names(names)
    rows = [f"{shown[pair.one]} / {shown[pair.other]}" for pair in pairs]
    axes.barh(range(len(pairs)), [pair.rate for pair in pairs], color="#e08a2e")
    # A dollar sign begins no formula.
    fonts = list(_fonts())
    axes.set_yticks(range(len(pairs)), rows, fontsize=8, fontfamily=fonts, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("share of their pairs that pass for one character")
    axes.grid(axis="x", alpha=0.3)
    return figure
