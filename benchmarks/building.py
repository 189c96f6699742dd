"""Index building, beside what the bare models reach on pictures that are decoded already."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from rich.progress import Progress

from benchmarks.gallery import readable
from core.embed import BATCH, above_threshold, embed_batch
from core.face import Pixels
from core.folder import scan
from core.gallery import build_index
from core.models import Detector, Extractor

CHUNK: Final = 4 * BATCH
"""Pictures that are decoded before the clock runs, so that a gallery need not fit into memory."""


@dataclass(frozen=True, slots=True)
class Building:
    """Rates in pictures a second.

    Attributes:
        pictures: In the gallery.
        built: By building the index from files.
        bare: By the models alone, batch by batch.
    """

    pictures: int
    built: float
    bare: float

    @property
    def share(self) -> float:
        """Of the bare models' rate that building reaches."""
        return self.built / self.bare


def measure_building(
    gallery: Path, data: Path, detector: Detector, extractor: Extractor, progress: Progress
) -> Building:
    """Build the index of `gallery` in the empty folder `data`, then run the models alone."""
    bar = progress.add_task("building the index", total=None)
    started = time.perf_counter()
    report = build_index(
        gallery,
        data,
        detector,
        extractor,
        lambda done, total: progress.update(bar, completed=done, total=total),
    )
    built = report.pictures / (time.perf_counter() - started)
    bar = progress.add_task("the bare models", total=report.pictures)
    spent, pictures = 0.0, 0
    for pixels in _decoded(gallery):
        started = time.perf_counter()
        for place in range(0, len(pixels), BATCH):
            batch = pixels[place : place + BATCH]
            embed_batch(batch, detector, extractor, above_threshold(detector))
        spent += time.perf_counter() - started
        pictures += len(pixels)
        progress.update(bar, completed=pictures)
    return Building(report.pictures, built, pictures / spent)


def _decoded(gallery: Path) -> Iterator[list[Pixels]]:
    pictures = readable(scan(gallery).pictures)
    while chunk := list(islice(pictures, CHUNK)):
        yield chunk
