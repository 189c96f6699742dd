"""Where a training comes from: kept in its folder from the beginning on, and told by its card."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from core.files import write_text
from core.train.results import one_at_a_time, why_taken

ORIGIN: Final = "origin.json"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from, for its card.

    Attributes:
        command: That trained it.
        terms: Of the pictures; empty where they were not stated.
    """

    command: str
    terms: str = ""


@one_at_a_time
def begun(out: Path, now: Origin, checkpoint: str, resume: bool) -> Origin:
    """The origin of a training that is about to begin or to go on, kept in its folder.

    One that goes on keeps the command that it began with, and its terms where none are stated now.
    A folder that the training is going to refuse stays as it is.

    Args:
        out: Folder of the training; made if it is missing.
        now: Of the command that runs.
        checkpoint: Name of the file that a training of this kind goes on from.
        resume: Whether it is to go on, if there is that file.

    Raises:
        BlockingIOError: Another training is at work in that folder.
    """
    goes_on = resume and (out / checkpoint).exists()
    before = _kept(out / ORIGIN) if goes_on else None
    origin = now if before is None else Origin(before.command, now.terms or before.terms)
    if why_taken(out, checkpoint, resume) is None:
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / ORIGIN, json.dumps(asdict(origin), indent=1) + "\n")
    return origin


def _kept(path: Path) -> Origin | None:
    """What `begun` kept; None where it did not, or the file is damaged."""
    try:
        told = json.loads(path.read_bytes())
        return Origin(str(told["command"]), str(told["terms"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
