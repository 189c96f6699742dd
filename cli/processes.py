"""`familiar up`, `familiar worker`, `familiar bot`: the processes that serve a community."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.text import Text

from cli import logs
from cli.redis_server import EmbeddedRedis, address_of_running
from cli.supervisor import Member, Supervisor
from cli.terminal import Failure, messages
from core.settings import Settings, load_settings

WORKER_GRACE_SECONDS: Final = 20.0
"""The answers that a worker is working on may take so long; what is left stays in the queue."""

COLOURS: Final = {"redis": "red", "worker": "green", "discord": "blue", "telegram": "cyan"}


class Platform(StrEnum):
    """Where people chat."""

    DISCORD = "discord"
    TELEGRAM = "telegram"


def familiar_command(*arguments: str) -> list[str]:
    """The command line of a further `familiar` process of the same installation."""
    return [sys.executable, "-P", "-m", "cli.main", *arguments]


def worker(
    check: Annotated[
        bool,
        typer.Option("--check", help="Say whether one is alive here, by exit code; start none."),
    ] = False,
) -> None:
    """Answer requests from the queue; one process holds the models in memory."""
    settings = load_settings()
    logs.set_up(settings.log.level)
    from worker import main as worker_main

    if check:
        if not worker_main.check(_with_redis_of_up(settings)):
            raise Failure("No worker is at work on this machine.")
        return
    worker_main.run(settings)


def bot(
    platform: Annotated[Platform, typer.Argument(help="Which bot.")],
    check: Annotated[
        bool, typer.Option("--check", help="Say whether it is alive, by exit code; start none.")
    ] = False,
) -> None:
    """Run one chat bot; it hands every picture to the queue."""
    settings = load_settings()
    if check:
        from bot.heartbeat import is_beating

        if not is_beating(_with_redis_of_up(settings), platform):
            raise Failure(f"The {platform.title()} bot is not at work.")
        return
    logs.set_up(settings.log.level)
    if platform is Platform.DISCORD:
        from bot.discord import bot as discord_bot

        discord_bot.run(settings)
    else:
        from bot.telegram import bot as telegram_bot

        telegram_bot.run(settings)


def _storage(settings: Settings) -> Path:
    """Where the Redis server of `familiar up` keeps its queue."""
    return settings.gallery.data.absolute() / "redis"


def _with_redis_of_up(settings: Settings) -> Settings:
    """Where no Redis server is set, the settings with that of a `familiar up` of the same data."""
    if settings.queue.redis_url is not None:
        return settings
    address = address_of_running(_storage(settings))
    queue = settings.queue.model_copy(update={"redis_url": address})
    return settings.model_copy(update={"queue": queue})


def _members(
    settings: Settings, redis: EmbeddedRedis | None, environment: Mapping[str, str]
) -> list[Member]:
    members = []
    if redis is not None:
        members.append(
            Member(
                "redis",
                redis.command,
                environment,
                needed=True,
                inherited=redis.inherited,
                ready=redis.wait_until_ready,
                ending=redis.erase_traces,
            )
        )
        environment = {**environment, "REDIS_URL": redis.url}
    members.append(
        Member(
            "worker",
            familiar_command("worker"),
            environment,
            needed=True,
            grace_seconds=WORKER_GRACE_SECONDS,
        )
    )
    members += [
        Member(platform, familiar_command("bot", platform), environment)
        for platform in Platform
        if (settings.discord if platform is Platform.DISCORD else settings.telegram).token
    ]
    return members


def _say(name: str, line: str) -> None:
    messages.print(Text.assemble((f"{name:<8} ", COLOURS.get(name, "")), line))


def up() -> None:
    """Run everything: Redis (unless REDIS_URL names one), a worker, each bot that has a token."""
    settings = load_settings()
    redis = None
    if settings.queue.redis_url is None:
        redis = EmbeddedRedis.prepare(_storage(settings))
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    members = _members(settings, redis, environment)
    if settings.discord.token is None and settings.telegram.token is None:
        messages.print(
            "No bot has a token, so nobody can ask yet: put FAMILIAR_DISCORD_TOKEN or"
            " FAMILIAR_TELEGRAM_TOKEN into the file .env (the README says how to get one)."
            " The worker runs all the same; Ctrl+C stops it."
        )
    try:
        code = Supervisor(members, _say).run()
    finally:
        if redis is not None:
            redis.clear()
    if code:
        raise Failure("Stopped, because what is left cannot work alone; see the lines above.")
