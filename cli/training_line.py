"""The line that says where a training stands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.terminal import messages, plain_progress

if TYPE_CHECKING:
    from core.train.session import TrainingStep


class TrainingLine:
    """One line that says where a training stands: on a terminal a bar, else each epoch's end."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("Starting")
        self._say = plain_progress("Finding faces to learn from", "pictures")

    def looked(self, done: int, total: int) -> None:
        """Show in how many pictures faces were looked for before the training begins."""
        if self._bar is not None and self._task is not None:
            text = "Finding faces to learn from"
            self._bar.update(self._task, completed=done, total=total, description=text)
        else:
            self._say(done, total)

    def update(self, done: int, total: int, text: str, *, ended: bool) -> None:
        """Show the steps done of all, and `text`, which is worth a line where an epoch `ended`."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
        elif ended:
            messages.print(text)

    def show(self, now: TrainingStep) -> None:
        """Show where a training of boxes stands."""
        # What is measured after this epoch is told with the next one.
        tuning = "" if now.tuning is None else f", AP50 {now.tuning:.3f} before it"
        self.update(
            (now.epoch - 1) * now.steps + now.step,
            now.epochs * now.steps,
            f"Epoch {now.epoch} of {now.epochs}, loss {now.loss:.3f}{tuning}",
            ended=now.step == now.steps,
        )


@contextmanager
def training_line() -> Iterator[TrainingLine]:
    """Show one training, on a terminal as a bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if not messages.is_terminal:
        yield TrainingLine(None)
        return
    with Progress(*columns, console=messages) as bar:
        yield TrainingLine(bar)
