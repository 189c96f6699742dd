"""`familiar compare`: is the same character in two pictures?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.asked import read_asked
from cli.folders import Crops, models_for
from cli.terminal import results
from core.settings import load_settings

if TYPE_CHECKING:
    from core.compare import Comparison


def compare(
    first: Annotated[Path, typer.Argument(help="A picture.")],
    second: Annotated[Path, typer.Argument(help="The picture to hold against it.")],
    crops: Crops = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether two pictures show the same character, by their most confident faces."""
    settings = load_settings()
    one, other = (read_asked(path, settings.limit.picture).pixels for path in (first, second))
    with terminal.waiting("Loading the models"):
        from core.compare import compare as compared

        detector, extractor = models_for(settings.model, crops)
    found = compared((one, other), detector, extractor)
    if as_json:
        terminal.show_json(_as_json(found))
    else:
        results.print(_sentence(found, (first, second)))


def _sentence(found: Comparison, paths: tuple[Path, Path]) -> str:
    without = [str(path) for path, face in zip(paths, found.faces, strict=True) if face is None]
    if found.similarity is None:
        return f"No face was found in {' and in '.join(without)}."
    alike = f"similarity {found.similarity:.3f}"
    if found.threshold is None:
        return f"{alike[0].upper()}{alike[1:]}. This extractor has no threshold to judge by."
    verdict = "The same character" if found.same else "Not the same character"
    said = f"{verdict}: {alike}, and {found.threshold:.3f} or more is the same"
    if found.false_accepts is None:
        return f"{said}."
    share = f"{100 * found.false_accepts:.3g}%"
    return f"{said}, which {share} of pairs of different characters reached when it was chosen."


def _as_json(found: Comparison) -> dict[str, object]:
    return {
        "faces": [
            None if face is None else {"box": list(face.box), "score": face.score}
            for face in found.faces
        ],
        "similarity": found.similarity,
        "threshold": found.threshold,
        "false_accepts": found.false_accepts,
        "same": found.same,
    }
