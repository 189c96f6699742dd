"""The embedded Redis: private, alone with its storage, and gone afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis

from cli import supervisor
from cli.redis_server import MEMORY_BYTES, EmbeddedRedis
from cli.supervisor import Member
from cli.terminal import Failure
from worker.app import SIMILAR_TASK, create_app


@contextmanager
def running(redis: EmbeddedRedis) -> Iterator[subprocess.Popen[bytes]]:
    """The server, while the context lasts."""
    member = Member("redis", redis.command, dict(os.environ), inherited=redis.inherited)
    process = supervisor.start(member, subprocess.DEVNULL)
    try:
        redis.wait_until_ready(process)
        yield process
    finally:
        supervisor.stop(process, 10)


def test_nobody_else_can_reach_it() -> None:
    redis = EmbeddedRedis.prepare(None)
    with running(redis) as process:
        assert not psutil.Process(process.pid).net_connections("inet")
        assert stat.S_IMODE(redis.socket.parent.stat().st_mode) == 0o700
    redis.clear()
    assert not redis.socket.parent.exists()


def test_celery_reaches_it_by_the_same_address() -> None:
    redis = EmbeddedRedis.prepare(None)
    with running(redis), Redis.from_url(redis.url) as client:
        create_app(redis.url).send_task(SIMILAR_TASK, kwargs={"job": {}})
        assert client.llen("look") == 1
    redis.clear()


def test_jobs_outlive_a_restart(tmp_path: Path) -> None:
    for expected in (None, b"kept"):
        redis = EmbeddedRedis.prepare(tmp_path / "redis")
        with running(redis), Redis.from_url(redis.url) as client:
            assert client.get("job") == expected
            client.set("job", "kept")
        redis.clear()


def test_without_storage_nothing_is_left(tmp_path: Path) -> None:
    redis = EmbeddedRedis.prepare(None)
    with running(redis), Redis.from_url(redis.url) as client:
        client.set("job", "kept")
        assert [path.name for path in redis.socket.parent.iterdir()] == ["redis"]
    redis.clear()


def test_it_refuses_what_is_too_much_and_drops_nothing() -> None:
    redis = EmbeddedRedis.prepare(None)
    with running(redis), Redis.from_url(redis.url) as client:
        assert int(client.config_get("maxmemory")["maxmemory"]) == MEMORY_BYTES
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    redis.clear()


def test_two_never_share_a_storage(tmp_path: Path) -> None:
    redis = EmbeddedRedis.prepare(tmp_path / "redis")
    with running(redis):
        with pytest.raises(Failure, match="FAMILIAR_DATA"):
            EmbeddedRedis.prepare(tmp_path / "redis")
        # The parent's hold is not what counts: a server that lost its parent still writes.
        assert redis.lock is not None
        os.close(redis.lock)
        with pytest.raises(Failure, match="FAMILIAR_DATA"):
            EmbeddedRedis.prepare(tmp_path / "redis")
    again = EmbeddedRedis.prepare(tmp_path / "redis")
    again.clear()


def test_a_server_that_does_not_start_is_a_sentence(tmp_path: Path) -> None:
    redis = EmbeddedRedis.prepare(None)
    process = subprocess.Popen(["false"])
    with pytest.raises(Failure, match="ended at once"):
        redis.wait_until_ready(process)
    redis.clear()
