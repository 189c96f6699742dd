"""The Telegram bot as a process: light, quiet about its secrets, and clear about what it lacks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from cli.supervisor import AWAY
from core.texts import say
from tests.bot.pictures import picture
from tests.platforms.jobs import waiting_similar_jobs
from tests.platforms.processes import (
    RealProcess,
    RealRedis,
    gives_up,
    real_redis,
    running,
    wait_for,
)
from tests.platforms.telegram_server import TOKEN, ApiError, TelegramServer, User
from worker.app import LOOK_QUEUE
from worker.store import UploadStore

CPU_SECONDS = 5.0
MEMORY_MIB = 100
MIKA = User(11, "Mika", "en")

LOUD = """
import logging
logging.basicConfig(level="DEBUG")
from core.settings import load_settings
from bot.telegram.bot import run
run(load_settings())
"""


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


def environment(telegram: TelegramServer, redis: RealRedis) -> dict[str, str]:
    return {
        "REDIS_URL": redis.url,
        "FAMILIAR_TELEGRAM_TOKEN": TOKEN,
        "FAMILIAR_TELEGRAM_API_URL": telegram.url,
    }


def test_it_starts_fast_and_stays_small(
    telegram: TelegramServer, redis: RealRedis, tmp_path: Path
) -> None:
    with running("telegram", environment(telegram, redis), tmp_path) as bot:
        telegram.wait_until_polled()
        process = psutil.Process(bot.pid)
        used = process.cpu_times()
        asked = telegram.send_photo(MIKA, telegram.private_chat(MIKA), picture())
        telegram.wait_for_sentence(asked, "Nobody is at work")
        memory = process.memory_info().rss / 2**20
    print(f"start: {used.user + used.system:.2f} s of CPU; memory: {memory:.0f} MiB")
    assert used.user + used.system < CPU_SECONDS
    assert memory < MEMORY_MIB


class TestStopping:
    def test_it_ends_cleanly_on_sigterm(
        self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        quiet = {**environment(telegram, redis), "FAMILIAR_LOG_LEVEL": "WARNING"}
        with running("telegram", quiet, tmp_path) as bot:
            telegram.wait_until_polled()
            assert bot.stop(30) == 0
            assert bot.output() == ""

    def test_what_it_has_seen_is_taken_and_comes_to_no_other_process(
        self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        chat = telegram.private_chat(MIKA)
        with redis.client() as client:
            client.delete(LOOK_QUEUE)
            with running("telegram", environment(telegram, redis), tmp_path) as bot:
                telegram.wait_until_polled()
                # An album, so that the bot is still waiting for more of it when it is stopped.
                asked = telegram.send_photo(MIKA, chat, picture(), media_group_id="1")
                telegram.wait_until_taken(asked)
                assert bot.stop(30) == 0
            (job,) = waiting_similar_jobs(client)
        assert len(telegram.replies(asked)) == 1
        assert job.destination.platform == "telegram"
        assert job.destination.reply_to == asked.id
        waiting = httpx.get(f"{telegram.url}/bot{TOKEN}/getUpdates").json()
        assert waiting == {"ok": True, "result": []}

    def test_it_stops_while_telegram_is_away(
        self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        with running("telegram", environment(telegram, redis), tmp_path) as bot:
            telegram.wait_until_polled()
            telegram.refuse("getUpdates", ApiError(502, "Bad Gateway"), times=1000)
            telegram.send_text(MIKA, telegram.private_chat(MIKA), "hello")
            telegram.wait_for(lambda: telegram.pending_faults("getUpdates") < 1000)
            assert bot.stop(30) == 0


def test_who_waits_when_it_is_killed_is_asked_to_send_the_picture_again(
    telegram: TelegramServer, redis: RealRedis, tmp_path: Path
) -> None:
    with redis.client() as client:
        client.delete(LOOK_QUEUE)
        with running("telegram", environment(telegram, redis), tmp_path) as bot:
            telegram.wait_until_polled()
            telegram.limit("getFile", retry_after=60)
            asked = telegram.send_photo(MIKA, telegram.private_chat(MIKA), picture())
            telegram.wait_for(lambda: not telegram.pending_faults("getFile"))
            bot.kill()
        assert waiting_similar_jobs(client) == []
        with running("telegram", environment(telegram, redis), tmp_path):
            wait_for(lambda: waiting_similar_jobs(client), "its request in the queue", 90)
        (job,) = waiting_similar_jobs(client)
        # The worker finds no picture, and says so in the placeholder.
        assert UploadStore(client, 60).get(job.upload) is None
    (placeholder,) = telegram.replies(asked)
    assert job.destination.platform == "telegram"
    assert job.destination.message_id == placeholder.id


def test_what_was_written_while_it_was_away_is_answered(
    telegram: TelegramServer, redis: RealRedis, tmp_path: Path
) -> None:
    asked = telegram.send_photo(MIKA, telegram.private_chat(MIKA), picture())
    with running("telegram", environment(telegram, redis), tmp_path):
        telegram.wait_for_sentence(asked, "Nobody is at work")


def test_without_redis_the_person_is_told_and_the_bot_goes_on(
    telegram: TelegramServer, tmp_path: Path
) -> None:
    chat = telegram.private_chat(MIKA)
    with (
        real_redis() as redis,
        running("telegram", environment(telegram, redis), tmp_path) as bot,
    ):
        telegram.wait_until_polled()
        redis.stop()
        asked = telegram.send_photo(MIKA, chat, picture())
        telegram.wait_for_sentence(asked, say("queue_unreachable"))
        redis.start()
        again = telegram.send_photo(MIKA, chat, picture())
        telegram.wait_for_sentence(again, "Nobody is at work")
        wait_for(lambda: waiting_similar_jobs(redis.client()), "the job")
        assert len(telegram.replies(asked)) == 1
        assert bot.popen.poll() is None


def test_no_secret_is_logged_even_at_debug(
    telegram: TelegramServer, redis: RealRedis, tmp_path: Path
) -> None:
    settings = environment(telegram, redis)
    bot = RealProcess([sys.executable, "-c", LOUD], settings, tmp_path, "loud")
    try:
        telegram.wait_until_polled()
        chat = telegram.private_chat(MIKA)
        telegram.hang_up("getFile", times=10)
        asked = telegram.send_photo(MIKA, chat, picture())
        telegram.wait_for_sentence(asked, say("picture_not_fetched"))
        telegram.refuse("editMessageText", ApiError(403, "Forbidden: bot was blocked by the user"))
        telegram.send_document(MIKA, chat, b"words")
        bot.wait_for_output("could not be edited")
    finally:
        bot.stop()
    assert "[hidden]" in bot.output()
    assert TOKEN not in bot.output()
    assert TOKEN.partition(":")[2] not in bot.output()


class TestWhatEndsIt:
    def test_no_redis(self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path) -> None:
        settings = environment(telegram, redis)
        del settings["REDIS_URL"]
        assert "REDIS_URL" in gives_up("telegram", settings, tmp_path)

    def test_no_token(self, redis: RealRedis, tmp_path: Path) -> None:
        said = gives_up("telegram", {"REDIS_URL": redis.url}, tmp_path)
        assert "FAMILIAR_TELEGRAM_TOKEN" in said
        assert say("telegram_token_missing") in said

    @pytest.mark.parametrize(
        ("changes", "code", "key"),
        [
            ({"FAMILIAR_TELEGRAM_TOKEN": "7000000001:AAanother"}, 1, "telegram_token_refused"),
            ({"FAMILIAR_TELEGRAM_TOKEN": "not a token"}, 1, "telegram_token_refused"),
            ({"FAMILIAR_TELEGRAM_API_URL": "http://127.0.0.1:9"}, AWAY, "telegram_unreachable"),
        ],
        ids=["another bot's token", "no token at all", "no way to Telegram"],
    )
    def test_a_setting_that_does_not_lead_there(
        self,
        telegram: TelegramServer,
        redis: RealRedis,
        tmp_path: Path,
        changes: dict[str, str],
        code: int,
        key: str,
    ) -> None:
        said = gives_up("telegram", environment(telegram, redis) | changes, tmp_path, code)
        assert said == say(key)

    def test_another_process_with_the_same_token(
        self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        poll = f"{telegram.url}/bot{TOKEN}/getUpdates"
        with running("telegram", environment(telegram, redis), tmp_path) as bot:
            telegram.wait_until_polled()
            httpx.get(poll, params={"timeout": 0})
            assert bot.popen.wait(30) == 1
            assert say("telegram_conflict") in bot.output()
            assert TOKEN not in bot.output()

    def test_a_token_that_is_revoked_while_it_runs(
        self, telegram: TelegramServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        with running("telegram", environment(telegram, redis), tmp_path) as bot:
            telegram.wait_until_polled()
            telegram.refuse("getUpdates", ApiError(401, "Unauthorized"), times=5)
            telegram.send_text(MIKA, telegram.private_chat(MIKA), "hello")
            assert bot.popen.wait(30) == 1
            assert say("telegram_token_refused") in bot.output()
            assert TOKEN not in bot.output()
