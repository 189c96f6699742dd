"""Which pictures `python -m benchmarks` measures with."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.progress import Progress

from benchmarks.building import measure_building
from benchmarks.gallery import SIDE, asked_pictures
from core.picture import DEFAULT_LIMITS, decode
from tests.core.fakes import HAIR, FakeDetector, FakeExtractor, drawn_gallery

EACH = 6


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return drawn_gallery(tmp_path / "gallery", each=EACH)


def add_damaged(gallery: Path) -> None:
    """A file that is no picture, to each character."""
    for name in HAIR:
        (gallery / name / "0.jpg").write_text("no picture", encoding="utf-8")


def hair(picture: bytes) -> str:
    """Whose hair most of the picture's upper part is like."""
    pixels = decode(picture).pixels.astype(int).reshape(-1, 3)
    counts = {
        name: int((np.abs(pixels - colour).max(1) < 12).sum()) for name, colour in HAIR.items()
    }
    return max(counts, key=counts.__getitem__)


def test_what_is_asked_is_from_all_over_the_gallery_and_the_same_each_time(gallery: Path) -> None:
    asked = asked_pictures(gallery, FakeDetector(), 20)
    assert len(asked) == 20
    assert {hair(picture) for picture in asked} == HAIR.keys()
    assert asked == asked_pictures(gallery, FakeDetector(), 20)
    with Image.open(io.BytesIO(asked[0])) as image:
        assert max(image.size) == SIDE


def test_all_that_can_be_read_are_asked_where_there_are_fewer(gallery: Path) -> None:
    add_damaged(gallery)
    assert len(asked_pictures(gallery, FakeDetector(), 100)) == EACH * len(HAIR)


def test_building_is_measured_on_what_an_index_of_the_gallery_has(
    gallery: Path, tmp_path: Path
) -> None:
    """Without damaged pictures, and with those that strangers may not send."""
    add_damaged(gallery)
    side = int((DEFAULT_LIMITS.file_bytes / 3) ** 0.5) + 1
    Image.new("RGB", (side, side)).save(gallery / "blue" / "large.bmp")
    with Progress(disable=True) as progress:
        building = measure_building(
            gallery, tmp_path / "data", FakeDetector(), FakeExtractor(), progress
        )
    assert building.pictures == EACH * len(HAIR) + 1
    assert progress.tasks[-1].completed == building.pictures
    assert building.share > 0
