"""Measure and print tables: ``python -m benchmarks [REQUESTS]``, ``python -m benchmarks models``.

The second measures the models alone.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from benchmarks.building import Building, measure_building
from benchmarks.gallery import SIDE, asked_pictures, choose_gallery
from benchmarks.models import SIDE as PICTURE_SIDE
from benchmarks.models import measure_alone, measure_models, measure_whole, notes
from benchmarks.models import table as models_table
from benchmarks.requests import WARM_UP, Requests, measure_requests, percentile
from cli.terminal import messages, results
from core.models.chosen import load_models
from core.models.quantised import processors
from core.settings import ModelSettings

REQUESTS: Final = 100
WHOLE_MS: Final = 120
MODELS_MS: Final = 60
SHARE: Final = 0.8


def main(requests: int) -> None:
    """Measure, and print both tables."""
    with tempfile.TemporaryDirectory(prefix="familiar-bench-") as name, _progress() as progress:
        folder = Path(name)
        gallery = choose_gallery(folder)
        detector, extractor = load_models(ModelSettings())
        building = measure_building(gallery.folder, folder / "data", detector, extractor, progress)
        pictures = asked_pictures(gallery.folder, detector, requests + WARM_UP)
        pictures = [pictures[n % len(pictures)] for n in range(requests + WARM_UP)]
        measured = measure_requests(gallery.folder, folder / "data", folder, pictures, progress)
    results.print(
        f"{platform.machine()}, {processors()} CPU cores,"
        f" load {os.getloadavg()[0]:.1f}; {gallery.name}: {building.pictures} pictures;"
        f" {requests} requests, each a picture of {SIDE} px with one face, one at a time"
    )
    results.print(table(measured, building))
    models()


def models() -> None:
    """Measure the models alone, and print their table."""
    with _progress() as progress:
        measured = measure_models(progress)
        whole = measure_alone(measure_whole)
    results.print(
        f"{platform.machine()}, {processors()} CPU cores,"
        f" load {os.getloadavg()[0]:.1f}; the shipped models"
    )
    results.print(models_table(measured))
    p50, p95 = (percentile(whole, share) for share in (50, 95))
    results.print(
        f"One picture of {PICTURE_SIDE} px with one face, from its pixels to its vectors, by the"
        f" models of the settings: p50 {p50:.1f}, p95 {p95:.1f}, quickest {min(whole):.1f} ms of"
        f" {len(whole)}; the bar is at most {MODELS_MS} ms"
    )
    for note in notes(measured):
        results.print(note)


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=messages,
        transient=True,
    )


def table(requests: Requests, building: Building) -> Table:
    """One table of all figures."""
    result = Table()
    result.add_column("what")
    for heading in ("p50", "p95", "aim"):
        result.add_column(heading, justify="right")
    for name, seconds in requests.steps.items():
        result.add_row(f"worker: {name}", *_milliseconds(seconds), "")
    result.add_row("worker: the whole", *_milliseconds(requests.whole), f"under {WHOLE_MS} ms")
    result.add_row("person's message to worker's start", *_milliseconds(requests.to_worker), "")
    result.add_row("person's message to answer", *_milliseconds(requests.to_answer), "")
    result.add_section()
    result.add_row("index building", f"{building.built:.1f} pictures/s", "", "")
    result.add_row("bare models", f"{building.bare:.1f} pictures/s", "", "")
    result.add_row("building / bare models", f"{building.share:.0%}", "", f"at least {SHARE:.0%}")
    result.add_section()
    for name, mebibytes in requests.memory.items():
        result.add_row(f"memory: {name}", f"{mebibytes:.0f} MiB", "", "")
    return result


def _milliseconds(seconds: list[float]) -> tuple[str, str]:
    p50, p95 = (f"{1000 * percentile(seconds, share):.1f} ms" for share in (50, 95))
    return p50, p95


if __name__ == "__main__":
    if sys.argv[1:] == ["models"]:
        models()
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS)
