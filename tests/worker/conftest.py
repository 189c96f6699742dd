"""A worker's surroundings for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.core.fakes import drawn_gallery
from tests.platforms.processes import real_redis
from tests.platforms.workplace import Workplace


@pytest.fixture
def workplace(tmp_path: Path) -> Iterator[Workplace]:
    """Redis and a drawn gallery, not indexed; no worker runs yet."""
    with real_redis(durable=True) as server:
        place = Workplace(server, tmp_path)
        drawn_gallery(place.gallery)
        try:
            yield place
        finally:
            place.close()
