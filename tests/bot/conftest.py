"""What the tests of several bots need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.platforms.processes import RealRedis, real_redis


@pytest.fixture(scope="module")
def redis() -> Iterator[RealRedis]:
    """A Redis server of a module's own."""
    with real_redis() as server:
        yield server
