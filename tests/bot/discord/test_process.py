"""The Discord bot as a process: light, quiet about its secrets, and clear about what it lacks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import discord as discord_library
import psutil
import pytest

from cli.supervisor import AWAY
from core.job import SimilarJob
from core.texts import say
from tests.bot.pictures import picture
from tests.platforms.discord_wire import TOKEN, DiscordServer, discord_server
from tests.platforms.jobs import waiting_similar_jobs
from tests.platforms.processes import (
    RealProcess,
    RealRedis,
    gives_up,
    running,
    wait_for,
)
from worker.app import LOOK_QUEUE, WORKER_HEARTBEAT_KEY
from worker.store import UploadStore

CPU_SECONDS = 5.0
MEMORY_MIB = 110

LOUD = """
import logging
logging.basicConfig(level="DEBUG")
from core.settings import load_settings
from bot.discord.bot import run
run(load_settings())
"""


@pytest.fixture
def discord() -> Iterator[DiscordServer]:
    with discord_server() as server:
        yield server


def environment(discord: DiscordServer, redis: RealRedis) -> dict[str, str]:
    return {**discord.settings(), "REDIS_URL": redis.url}


def test_it_starts_fast_and_stays_small(
    discord: DiscordServer, redis: RealRedis, tmp_path: Path
) -> None:
    with running("discord", environment(discord, redis), tmp_path) as bot:
        discord.wait_for_bot(bot)
        process = psutil.Process(bot.pid)
        used = process.cpu_times()
        discord.slash("similar", picture=("a.png", picture())).wait()
        memory = process.memory_info().rss / 2**20
    print(f"start: {used.user + used.system:.2f} s of CPU; memory: {memory:.0f} MiB")
    assert used.user + used.system < CPU_SECONDS
    assert memory < MEMORY_MIB


def test_it_stops_cleanly_on_sigterm(
    discord: DiscordServer, redis: RealRedis, tmp_path: Path
) -> None:
    quiet = {**environment(discord, redis), "FAMILIAR_LOG_LEVEL": "WARNING"}
    with running("discord", quiet, tmp_path) as bot:
        discord.wait_for_bot(bot)
        assert bot.stop(10) == 0
        assert "Traceback" not in bot.output()
        assert "Task was destroyed" not in bot.output()


class TestWhatIsInHandWhenItStops:
    """Redis is held up for a while, so that the bot is stopped in the middle of a request."""

    HELD_UP = 2500  # milliseconds, less than the bot waits for Redis

    @pytest.fixture
    def stopped_meanwhile(
        self, discord: DiscordServer, redis: RealRedis, tmp_path: Path
    ) -> Iterator[Callable[[], SimilarJob]]:
        """Stops a bot whose Redis has been silent since, and gives the one job that came of it."""
        with (
            running("discord", environment(discord, redis), tmp_path) as bot,
            redis.client() as client,
        ):
            discord.wait_for_bot(bot)
            client.delete(LOOK_QUEUE)
            client.client_pause(self.HELD_UP)

            def stop() -> SimilarJob:
                assert bot.stop(30) == 0
                (job,) = waiting_similar_jobs(client)
                return job

            yield stop
        assert "Traceback" not in bot.output()

    def test_a_command_still_becomes_a_job(
        self, discord: DiscordServer, stopped_meanwhile: Callable[[], SimilarJob]
    ) -> None:
        asked = discord.slash("similar", picture=("a.png", picture()))
        wait_for(lambda: asked.acknowledged, "the bot has it in hand", 10)
        assert stopped_meanwhile().id == f"discord-{asked.interaction_id}"

    def test_a_mention_still_gets_its_placeholder_and_becomes_a_job(
        self, discord: DiscordServer, stopped_meanwhile: Callable[[], SimilarJob]
    ) -> None:
        asked = discord.send(discord.bot_mention, [("a.png", picture())])
        # Commands come to the bot after what was written before them.
        discord.slash("help").wait()
        assert stopped_meanwhile().id == f"discord-{asked}"


def test_what_fails_after_the_first_picture_leaves_its_message_to_the_worker(
    discord: DiscordServer, redis: RealRedis, tmp_path: Path
) -> None:
    with running("discord", environment(discord, redis), tmp_path) as bot, redis.client() as client:
        client.delete(LOOK_QUEUE)
        client.set(WORKER_HEARTBEAT_KEY, 1)
        discord.wait_for_bot(bot)
        message = discord.send("", [("a.png", picture()), ("b.png", picture())])
        discord.fail("POST", "/webhooks/", 403)
        asked = discord.context_menu("Find similar", message)
        wait_for(lambda: asked.followups, "the person is told", 10)
        (job,) = waiting_similar_jobs(client)
        client.delete(WORKER_HEARTBEAT_KEY)
    assert job.id == f"discord-{asked.interaction_id}"
    assert asked.shown is not None
    assert asked.shown.content == say("looking"), "that is the placeholder of the first"
    (told,) = asked.followups
    assert told.content == say("command_failed")
    assert told.ephemeral


def test_who_waits_when_it_is_killed_is_asked_to_send_the_picture_again(
    discord: DiscordServer, redis: RealRedis, tmp_path: Path
) -> None:
    with redis.client() as client:
        client.delete(LOOK_QUEUE)
        with running("discord", environment(discord, redis), tmp_path) as bot:
            discord.wait_for_bot(bot)
            discord.hold_files(True)
            asked = discord.slash("similar", picture=("a.png", picture()))
            wait_for(lambda: discord.fetches, "the bot fetches the picture")
            bot.kill()
        discord.hold_files(False)
        assert waiting_similar_jobs(client) == []
        with running("discord", environment(discord, redis), tmp_path):
            wait_for(lambda: waiting_similar_jobs(client), "its request in the queue", 90)
        (job,) = waiting_similar_jobs(client)
        # The worker finds no picture, and says so in the placeholder.
        assert UploadStore(client, 60).get(job.upload) is None
    assert job.id == f"discord-{asked.interaction_id}"


def test_no_secret_is_logged_even_at_debug(
    discord: DiscordServer, redis: RealRedis, tmp_path: Path
) -> None:
    bot = RealProcess([sys.executable, "-c", LOUD], environment(discord, redis), tmp_path, "loud")
    try:
        discord.wait_for_bot(bot)
        asked = discord.slash("similar", picture=("a.png", b"words"))
        asked.wait()
        discord.fail("PATCH", "/webhooks/", 403, code=50013)
        discord.slash("similar", picture=("b.png", b"words"))
        bot.wait_for_output("could not be edited")
    finally:
        bot.stop()
    output = bot.output()
    assert "[hidden]" in output
    assert TOKEN not in output
    assert "simcord_interaction_" not in output


class TestWhatItLacks:
    def test_no_redis(self, discord: DiscordServer, tmp_path: Path) -> None:
        assert "REDIS_URL" in gives_up("discord", discord.settings(), tmp_path)

    def test_no_token(self, redis: RealRedis, tmp_path: Path) -> None:
        said = gives_up("discord", {"REDIS_URL": redis.url}, tmp_path)
        assert "FAMILIAR_DISCORD_TOKEN" in said

    @pytest.mark.parametrize(
        ("changes", "code", "key"),
        [
            ({"FAMILIAR_DISCORD_TOKEN": "wrong.token.entirely"}, 1, "discord_token_refused"),
            (
                {"FAMILIAR_DISCORD_API_URL": "http://127.0.0.1:9/api/v10"},
                AWAY,
                "discord_unreachable",
            ),
        ],
        ids=["a wrong token", "no way to Discord"],
    )
    def test_a_setting_that_does_not_lead_there(
        self,
        discord: DiscordServer,
        redis: RealRedis,
        tmp_path: Path,
        changes: dict[str, str],
        code: int,
        key: str,
    ) -> None:
        said = gives_up("discord", environment(discord, redis) | changes, tmp_path, code)
        assert said == say(key)

    def test_an_intent_that_is_not_switched_on(
        self, discord: DiscordServer, redis: RealRedis, tmp_path: Path
    ) -> None:
        discord.granted = discord_library.Intents.default()
        said = gives_up("discord", environment(discord, redis), tmp_path)
        assert said == say("discord_intent_missing")

    @pytest.mark.parametrize(
        ("status", "retry_after", "code"),
        [(429, 60, AWAY), (403, None, 1)],
        ids=["it asks for patience", "the way to it is closed for good"],
    )
    def test_a_discord_that_answers_otherwise(
        self,
        discord: DiscordServer,
        redis: RealRedis,
        tmp_path: Path,
        status: int,
        retry_after: float | None,
        code: int,
    ) -> None:
        discord.fail("GET", "/users/@me", status, retry_after=retry_after)
        said = gives_up("discord", environment(discord, redis), tmp_path, code)
        assert said == say("discord_unreachable")
