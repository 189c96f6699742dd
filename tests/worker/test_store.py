"""Uploads on a real Redis: how long they are there, in its memory and in its file."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator

import pytest
from redis import Redis
from redis.exceptions import OutOfMemoryError

from tests.platforms.processes import RealRedis, real_redis, wait_for
from worker.claim import Claims
from worker.store import UploadStore, erase_traces, forget


def noise(size: int = 4096, seed: int = 0) -> bytes:
    """Bytes that nothing can compress."""
    return random.Random(seed).randbytes(size)


def test_bytes_come_back_under_their_hash_and_are_forgotten(redis: Redis) -> None:
    store = UploadStore(redis, lifetime_seconds=60)
    data = bytes(range(256))
    sha256 = store.put(data)
    assert sha256 == hashlib.sha256(data).hexdigest()
    assert store.get(sha256) == data
    (key,) = redis.keys("familiar:upload:*")
    assert 0 < redis.ttl(key) <= 60
    redis.delete(key)
    assert store.get(sha256) is None


def test_nothing_but_a_trace_outlives_a_picture(redis: Redis) -> None:
    store = UploadStore(redis, lifetime_seconds=60)
    store.put(noise(), "job-1")
    lasting = [key for key in redis.keys("*") if redis.ttl(key) < 0]
    assert lasting == [b"familiar:traces"]


class TestForget:
    """Once a job is answered, nobody needs its picture."""

    def test_the_picture_of_an_answered_job_goes(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        sha256 = store.put(noise(), "job-1")
        Claims(redis).answered("job-1")
        assert store.get(sha256) is None
        assert not redis.keys("familiar:want*")

    def test_it_stays_while_another_job_waits_with_the_same_one(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        sha256 = store.put(noise(), "job-1")
        store.put(noise(), "job-2")
        forget(redis, "job-1")
        forget(redis, "job-1")
        assert store.get(sha256) == noise(), "twice answered is once answered"
        forget(redis, "job-2")
        assert store.get(sha256) is None

    def test_it_stays_where_somebody_keeps_it_for_no_job(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        sha256 = store.put(noise())
        store.put(noise(), "job-1")
        forget(redis, "job-1")
        assert store.get(sha256) == noise()

    def test_a_job_without_a_picture_takes_none_away(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        sha256 = store.put(noise(), "job-1")
        forget(redis, "reindex-1")
        assert store.get(sha256) == noise()


class TestRoom:
    """Pictures leave room for the queue."""

    def test_pictures_are_refused_before_redis_refuses_everything(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        redis.config_set("maxmemory", "8mb")

        def put(number: int) -> None:
            for seed in range(number):
                store.put(noise(2**20, seed))

        put(2)
        with pytest.raises(OutOfMemoryError):
            put(20)
        redis.set("a job", noise(2**20))

    def test_there_is_room_again_once_they_are_answered(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        redis.config_set("maxmemory", "8mb")
        for seed in range(20):
            store.put(noise(2**20, seed), f"job-{seed}")
            forget(redis, f"job-{seed}")

    def test_a_redis_without_a_limit_takes_all(self, redis: Redis) -> None:
        store = UploadStore(redis, 60)
        for seed in range(4):
            store.put(noise(2**20, seed))

    def test_a_redis_that_does_not_say_is_left_to_refuse_by_itself(
        self, server: RealRedis, redis: Redis
    ) -> None:
        redis.acl_setuser(
            "guest", enabled=True, nopass=True, commands=["+@all", "-info"], keys=["*"]
        )
        try:
            with Redis.from_url(server.url, username="guest", password="any") as guest:
                sha256 = UploadStore(guest, 60).put(noise())
                assert UploadStore(guest, 60).get(sha256) == noise()
        finally:
            redis.acl_deluser("guest")


class TestTraces:
    """What is forgotten does not stay in Redis' file."""

    @pytest.fixture
    def durable(self) -> Iterator[RealRedis]:
        with real_redis(durable=True) as server:
            yield server

    @staticmethod
    def on_disk(server: RealRedis, data: bytes) -> bool:
        """Whether the bytes stand in any file that Redis keeps."""
        files = (path for path in server.folder.rglob("*") if path.is_file())
        return any(data in path.read_bytes() for path in files)

    @staticmethod
    def wait_until_rewritten(redis: Redis) -> None:
        def idle() -> bool:
            state = redis.info("persistence")
            return not (state["aof_rewrite_in_progress"] or state["aof_rewrite_scheduled"])

        wait_for(idle, "the file is written anew")

    def test_a_picture_that_expired_is_in_the_file_no_more(self, durable: RealRedis) -> None:
        with durable.client() as redis:
            old = UploadStore(redis, 60).put(noise(seed=1), "job-1")
            UploadStore(redis, 60).put(noise(seed=2), "job-2")
            assert self.on_disk(durable, noise(seed=1))
            assert not erase_traces(redis), "nothing is forgotten yet"
            # Its time is over now, however long this machine took so far.
            keys = ["familiar:wants:job-1", *redis.keys(f"familiar:*:{old}")]
            assert len(keys) == 3
            for key in keys:
                redis.pexpire(key, 1)
            wait_for(lambda: not redis.exists(*keys), "it expires")
            assert self.on_disk(durable, noise(seed=1)), "expiry leaves the file as it is"
            assert erase_traces(redis)
            self.wait_until_rewritten(redis)
            assert not self.on_disk(durable, noise(seed=1))
            assert self.on_disk(durable, noise(seed=2)), "that one is still waiting"
            assert redis.zcard("familiar:traces") == 1

    def test_a_workers_heart_sees_to_it(self, durable: RealRedis) -> None:
        with durable.client() as redis:
            UploadStore(redis, 1).put(noise(), "job-1")
            claims = Claims(redis, beat_seconds=0.05)
            claims.start()
            try:
                wait_for(lambda: not self.on_disk(durable, noise()), "the heart beats", 10)
            finally:
                claims.stop()

    def test_it_is_asked_for_once_in_a_lifetime_whoever_asks(self, durable: RealRedis) -> None:
        with durable.client() as redis:
            store = UploadStore(redis, 2)
            store.put(noise(seed=1), "job-1")
            forget(redis, "job-1")
            assert erase_traces(redis)
            asked = time.monotonic()
            self.wait_until_rewritten(redis)
            store.put(noise(seed=2), "job-2")
            forget(redis, "job-2")
            with durable.client() as another:
                assert not erase_traces(another)
                assert self.on_disk(durable, noise(seed=2))
                wait_for(lambda: erase_traces(another), "a lifetime later", 10)
            assert time.monotonic() - asked > 1.5
            self.wait_until_rewritten(redis)
            assert not self.on_disk(durable, noise(seed=2))
            assert not redis.exists("familiar:traces")

    def test_a_rewrite_that_runs_already_does_not_count(
        self, durable: RealRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with durable.client() as redis:
            UploadStore(redis, 60).put(noise(), "job-1")
            forget(redis, "job-1")
            # The server pauses for so long at each key that it writes, in microseconds.
            redis.config_set("rdb-key-save-delay", 500_000)
            redis.bgrewriteaof()
            assert not erase_traces(redis)
            assert redis.zcard("familiar:traces") == 1
            redis.config_set("rdb-key-save-delay", 0)
            wait_for(lambda: erase_traces(redis), "the first rewrite ends", 20)

    def test_where_redis_keeps_no_file_none_is_made(self, redis: Redis, server: RealRedis) -> None:
        UploadStore(redis, 60).put(noise(), "job-1")
        forget(redis, "job-1")
        assert not erase_traces(redis)
        assert not redis.exists("familiar:traces"), "there is nothing to remember"
        assert not list(server.folder.rglob("*aof*"))

    def test_a_redis_that_refuses_is_asked_again_only_after_the_next_picture(
        self, durable: RealRedis, caplog: pytest.LogCaptureFixture
    ) -> None:
        with durable.client() as redis:
            redis.acl_setuser(
                "guest", enabled=True, nopass=True, commands=["+@all", "-bgrewriteaof"], keys=["*"]
            )
            UploadStore(redis, 60).put(noise(), "job-1")
            forget(redis, "job-1")
            with Redis.from_url(durable.url, username="guest", password="any") as guest:
                assert not erase_traces(guest)
                assert not erase_traces(guest)
        (told,) = caplog.messages
        assert "does not let its append-only file be rewritten" in told

    def test_a_picture_sent_again_meanwhile_keeps_its_trace(self, durable: RealRedis) -> None:
        with durable.client() as redis:
            store = UploadStore(redis, 60)
            store.put(noise(), "job-1")
            forget(redis, "job-1")

            class SentAgain(Redis):
                """Somebody sends the same picture while the worker asks."""

                def bgrewriteaof(self, **kwargs: object) -> bool:
                    store.put(noise(), "job-2")
                    return bool(super().bgrewriteaof(**kwargs))

            with SentAgain.from_url(durable.url) as other:
                assert erase_traces(other)
            assert redis.zcard("familiar:traces") == 1
