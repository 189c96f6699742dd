"""What the terminal shows: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import (
    Progress as ProgressBars,
)
from rich.text import Text

from core.problem import Refusal
from core.progress import Progress

# Names of people's files are shown as they are, whatever `rich` takes `:word:` and `[word]` for.
results = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
messages = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)

PLAIN_LINE_SECONDS: Final = 5.0
"""Where no terminal shows a bar, progress is one line in so many seconds."""


class Failure(Refusal):
    """The command cannot go on."""


def show_json(value: object) -> None:
    """Print a value as JSON, and nothing else, on stdout."""
    results.print(json.dumps(value, ensure_ascii=False, indent=1), no_wrap=True, crop=False)


@contextmanager
def progress(what: str, unit: str) -> Iterator[Progress]:
    """Show how far a long work is: a bar on a terminal, a line now and then elsewhere.

    Args:
        what: The work, such as ``Indexing``.
        unit: What is counted, such as ``pictures``.
    """
    if messages.is_terminal:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit, markup=False),
            TaskProgressColumn(show_speed=True),
            TimeRemainingColumn(),
        )
        with ProgressBars(*columns, console=messages) as bar:
            task = bar.add_task(what, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return

    yield plain_progress(what, unit)


def plain_progress(what: str, unit: str) -> Progress:
    """Progress as a line now and then; see `progress`."""
    said_at = time.monotonic()
    last: tuple[int, int] | None = None

    def say(done: int, total: int) -> None:
        nonlocal said_at, last
        now = time.monotonic()
        if (done, total) != last and (done >= total or now - said_at >= PLAIN_LINE_SECONDS):
            messages.print(f"{what}: {done:,} of {total:,} {unit}")
            said_at, last = now, (done, total)

    return say


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show that something of unknown length is under way."""
    if messages.is_terminal:
        with messages.status(Text(what)):
            yield
    else:
        messages.print(what)
        yield
