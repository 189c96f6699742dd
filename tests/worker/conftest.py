"""A worker's surroundings for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from tests.core.fakes import drawn_gallery
from tests.platforms.processes import RealRedis, real_redis
from tests.platforms.workplace import Workplace


@pytest.fixture(scope="module")
def server() -> Iterator[RealRedis]:
    """One Redis server for a module."""
    with real_redis() as server:
        yield server


@pytest.fixture
def redis(server: RealRedis) -> Iterator[Redis]:
    """A client of it; the server is empty and takes as much as it is given."""
    with server.client() as client:
        client.flushall()
        client.config_set("maxmemory", 0)
        yield client


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
