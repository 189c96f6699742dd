"""What the demo is doing, and which process does it: a live list on a terminal, lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class Stage:
    """One step of the demo.

    Attributes:
        process: Who is at work.
        what: What is being done; may change while it is.
        seconds: How long it took; None while it is under way.
        failed: It did not succeed.
    """

    process: str
    what: str
    seconds: float | None = None
    failed: bool = False
    _spinner: Spinner = field(default_factory=lambda: Spinner("dots"), repr=False)

    def count(self, done: int, total: int) -> None:
        """Show how far it is."""
        self.what = f"{self.what.split(':')[0]}: {done:,} of {total:,}"


class Stages:
    """The list of steps so far."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stages: list[Stage] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        table = Table.grid(padding=(0, 2))
        for stage in self._stages:
            if stage.failed:
                mark: Text | Spinner = Text("✗", "red")
            elif stage.seconds is None:
                mark = stage._spinner
            else:
                mark = Text("✓", "green")
            took = "" if stage.seconds is None else f"{stage.seconds:.1f} s"
            table.add_row(mark, Text(stage.process, "cyan"), Text(stage.what), Text(took, "dim"))
        yield table

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the list while the context lasts; it stays on the screen afterwards."""
        try:
            if self._console.is_terminal:
                with Live(self, console=self._console, refresh_per_second=12):
                    yield
            else:
                yield
        finally:
            self._stages = []

    @contextmanager
    def stage(self, process: str, what: str) -> Iterator[Stage]:
        """A step that lasts as long as the context."""
        stage = Stage(process, what)
        self._stages.append(stage)
        begun = time.monotonic()
        try:
            yield stage
        except BaseException:
            stage.failed = True
            raise
        finally:
            stage.seconds = time.monotonic() - begun
        if not self._console.is_terminal:
            self._console.print(Text(f"[{process}] {stage.what} ({stage.seconds:.1f} s)"))
