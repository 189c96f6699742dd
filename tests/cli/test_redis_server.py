"""The embedded Redis: private, alone with its storage, and gone afterwards."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from redis import Redis

from cli import redis_server, supervisor
from cli.redis_server import MEMORY_BYTES, EmbeddedRedis
from cli.supervisor import Member
from cli.terminal import Failure
from worker.app import SIMILAR_TASK, create_app
from worker.store import UploadStore, erase_traces, forget


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


def on_disk(folder: Path, data: bytes) -> bool:
    """Whether the bytes stand in any file below `folder`."""
    return any(data in path.read_bytes() for path in folder.rglob("*") if path.is_file())


class TestEnding:
    """What was forgotten is not left on the disk while nothing runs."""

    @pytest.fixture
    def redis(self, tmp_path: Path) -> Iterator[EmbeddedRedis]:
        redis = EmbeddedRedis.prepare(tmp_path / "redis")
        yield redis
        redis.clear()

    def test_forgotten_pictures_leave_the_storage(
        self, redis: EmbeddedRedis, tmp_path: Path
    ) -> None:
        answered, waiting = (random.Random(seed).randbytes(4096) for seed in range(2))
        with running(redis), Redis.from_url(redis.url) as client:
            uploads = UploadStore(client, 60)
            # The file was written anew a moment ago, so it is not due again for a minute.
            uploads.put(b"an earlier one", "job-0")
            forget(client, "job-0")
            assert erase_traces(client)
            uploads.put(answered, "job-1")
            kept = uploads.put(waiting, "job-2")
            forget(client, "job-1")
            redis.erase_traces()
        assert not on_disk(tmp_path, answered)
        with running(redis), Redis.from_url(redis.url) as client:
            assert UploadStore(client, 60).get(kept) == waiting

    def test_where_that_is_not_done_in_time_it_is_said(
        self, redis: EmbeddedRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(redis_server, "ERASE_SECONDS", 0.2)
        with running(redis), Redis.from_url(redis.url) as client:
            UploadStore(client, 60).put(b"one", "job-1")
            forget(client, "job-1")
            client.set("another", "key")
            # The server pauses for so long at each key that it writes, in microseconds.
            client.config_set("rdb-key-save-delay", 500_000)
            with pytest.raises(Failure, match="may still stand"):
                redis.erase_traces()

    def test_a_server_that_is_gone_is_said(self, redis: EmbeddedRedis) -> None:
        with pytest.raises(Failure, match="may still stand"):
            redis.erase_traces()

    def test_where_nothing_is_stored_nothing_is_done(self) -> None:
        redis = EmbeddedRedis.prepare(None)
        redis.erase_traces()
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
