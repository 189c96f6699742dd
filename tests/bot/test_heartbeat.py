"""A bot's sign of life, in a real Redis."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator

import pytest

from bot import heartbeat
from bot.heartbeat import SHOWN_SECONDS, is_beating, keep_beating
from core.problem import Problem
from core.settings import QueueSettings, Settings, load_settings
from tests.platforms.processes import RealRedis, real_redis, wait_for
from worker.store import UploadStore, forget


@pytest.fixture
def redis() -> Iterator[RealRedis]:
    with real_redis() as server:
        yield server


@pytest.fixture
def settings(redis: RealRedis) -> Settings:
    queue = QueueSettings.model_construct(redis_url=redis.url)
    return load_settings().model_copy(update={"queue": queue})


async def test_it_is_seen_by_others_and_fades_by_itself(
    settings: Settings, redis: RealRedis
) -> None:
    assert not is_beating(settings, "discord")
    beating = asyncio.create_task(keep_beating(settings, "discord"))
    async with asyncio.timeout(5):
        while not is_beating(settings, "discord"):
            await asyncio.sleep(0.02)
    assert not is_beating(settings, "telegram")
    beating.cancel()
    with redis.client() as client:
        assert 0 < client.ttl("familiar:bot:discord") <= SHOWN_SECONDS


async def test_without_a_worker_it_sees_to_what_is_left_of_forgotten_pictures() -> None:
    picture = random.Random(1).randbytes(4096)
    with real_redis(durable=True) as server, server.client() as client:

        def on_disk() -> bool:
            files = [path for path in server.folder.rglob("*") if path.is_file()]
            return any(picture in path.read_bytes() for path in files)

        UploadStore(client, 60).put(picture, "job-1")
        forget(client, "job-1")
        assert on_disk()
        queue = QueueSettings.model_construct(redis_url=server.url)
        settings = load_settings().model_copy(update={"queue": queue})
        beating = asyncio.create_task(keep_beating(settings, "discord"))
        await asyncio.to_thread(wait_for, lambda: not on_disk(), "the file is written anew", 10)
        beating.cancel()


async def test_it_beats_again_once_a_redis_that_was_away_is_back(
    settings: Settings,
    redis: RealRedis,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.02)
    caplog.set_level("DEBUG", heartbeat.__name__)
    redis.stop()
    beating = asyncio.create_task(keep_beating(settings, "discord"))
    async with asyncio.timeout(20):
        while "No sign of life" not in caplog.text:
            await asyncio.sleep(0.02)
        assert not is_beating(settings, "discord")
        redis.start()
        while not is_beating(settings, "discord"):
            await asyncio.sleep(0.02)
    beating.cancel()


@pytest.mark.parametrize("address", ["nowhere", "redis://localhost/?socket_timeout=3"])
def test_an_address_that_cannot_be_used_is_a_sentence_without_it(
    settings: Settings, address: str
) -> None:
    wrong = settings.model_copy(update={"queue": QueueSettings(redis_url=address)})
    with pytest.raises(Problem) as problem:
        is_beating(wrong, "discord")
    assert problem.value.key == "queue_address_invalid"
    assert address not in problem.value.sentence()


async def test_it_ends_at_whatever_moment_it_is_cancelled(settings: Settings) -> None:
    for turns in range(60):
        beating = asyncio.create_task(keep_beating(settings, "discord"))
        for _ in range(turns % 30):
            await asyncio.sleep(0)
        beating.cancel()
        _, pending = await asyncio.wait([beating], timeout=2)
        assert not pending, f"cancelled after {turns % 30} turns of the event loop"
