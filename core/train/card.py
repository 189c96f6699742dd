"""The model card beside trained weights: what they are, what they came from, how far to trust."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.files import replacing

CARD: Final = "README.md"
CARD_BESIDE: Final = "MODEL_CARD.md"
_HEADINGS: Final = ("## Data", "## Training", "## Figures", "## Limits")

TERMS_UNKNOWN: Final = (
    "The terms of the pictures were not stated when this was trained (`--terms`). Until they are"
    " known, keep the weights to research and personal use."
)


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a card says.

    Attributes:
        title: Name of the model.
        what: One or two sentences on what goes in and what comes out.
        data: What it was trained on, a line each.
        terms: Of those pictures, and what follows for the weights.
        command: That trained it, as it can be typed again.
        seed: Of everything that was drawn.
        metrics: For each set, its figures by name; a figure is None where it could not be had.
        limits: What it is not good for, a line each.
        figures: Files beside the card to show, by what they show.
    """

    title: str
    what: str
    data: Sequence[str]
    terms: str
    command: str
    seed: int
    metrics: Mapping[str, Mapping[str, float | None]]
    limits: Sequence[str]
    figures: Mapping[str, str]


def written(card: ModelCard) -> str:
    """The card in Markdown."""
    data, training, measured, limits = _HEADINGS
    parts = [f"# {card.title}", card.what, data, _listed(card.data), card.terms]
    parts += [training, f"```\n{card.command}\n```", f"Seed {card.seed}.", measured]
    if card.metrics:
        names = list(dict.fromkeys(name for row in card.metrics.values() for name in row))
        lines = ["| set | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
        for of, figures in card.metrics.items():
            cells = [_number(figures.get(name)) for name in names]
            lines.append(f"| {_plain(of)} | " + " | ".join(cells) + " |")
        parts.append("\n".join(lines))
    else:
        parts.append("Nothing was kept away from training, so nothing was measured.")
    parts += [f"![{_plain(what)}]({file})" for what, file in card.figures.items()]
    parts += [limits, _listed(card.limits)]
    return "\n\n".join(parts) + "\n"


def write_card(card: ModelCard, folder: Path) -> Path:
    """Write the card into a folder, as `CARD_BESIDE` where somebody's own text is called `CARD`.

    A reader never finds half of it. Of names that are no UTF-8, the other bytes are escaped.

    Returns:
        Its path.
    """
    path = folder / CARD
    if path.exists() and not _is_card(path):
        path = folder / CARD_BESIDE
    with replacing(path) as partial:
        partial.write_text(written(card), encoding="utf-8", errors="backslashreplace")
    return path


def _is_card(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return all(heading in lines for heading in _HEADINGS)


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_on_one_line(line)}" for line in lines)


def _plain(name: str) -> str:
    """A name that ends neither its cell of a table nor its link, whatever is in it."""
    return re.sub(r"[\\`|\[\]]", r"\\\g<0>", _on_one_line(name))


def _on_one_line(text: str) -> str:
    return " ".join(text.splitlines())


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
