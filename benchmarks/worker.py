"""A worker process that also writes the times of each answered job into a file.

Usage: ``python -m benchmarks.worker FILE``; the file gets one JSON object a line.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

from cli import logs
from core.settings import load_settings
from worker.main import run


class TimesWriter(logging.Handler):
    """Takes the times out of the worker's own log records."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line for a record that has times."""
        times = {name: getattr(record, name, None) for name in ("started", "spent", "steps")}
        if times["steps"] is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(times) + "\n")


if __name__ == "__main__":
    settings = load_settings()
    logs.set_up(settings.log.level)
    logging.getLogger("worker.tasks").addHandler(TimesWriter(Path(sys.argv[1])))
    run(settings)
