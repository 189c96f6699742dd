"""A bot shows in Redis that it lives, so that a health check can ask from another process.

It is the bot's own event loop that shows it: a bot that hangs stops doing so. With each sign it
also sees to it that forgotten pictures do not stay in Redis' append-only file, as a worker does:
a bot may run without one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from redis import Redis
from redis.exceptions import RedisError

from core.settings import Settings
from worker.app import address_of, open_redis
from worker.store import erase_traces

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 10.0
SHOWN_SECONDS: Final = 45
"""For so long after its last sign a bot counts as alive; Redis may be away for a moment."""


def _key(platform: str) -> str:
    return f"familiar:bot:{platform}"


def _beat(client: Redis, platform: str) -> None:
    client.set(_key(platform), 1, ex=SHOWN_SECONDS)
    erase_traces(client)


async def keep_beating(settings: Settings, platform: str) -> None:
    """Show that the bot lives, until cancelled.

    Raises:
        Problem: No Redis server is set, or its address cannot be used.
    """
    # On a thread, because redis-py's asyncio client (8.1) loses a cancellation now and then, and a
    # bot that is to end would wait for this task for ever.
    with open_redis(address_of(settings.queue)) as client:
        while True:
            try:
                await asyncio.to_thread(_beat, client, platform)
            except (RedisError, OSError) as error:
                log.debug("No sign of life could be left in Redis: %s", error)
            await asyncio.sleep(BEAT_SECONDS)


def is_beating(settings: Settings, platform: str) -> bool:
    """Whether the bot has shown itself within the last seconds; not if Redis cannot be asked.

    Raises:
        Problem: As `keep_beating`.
    """
    try:
        with open_redis(address_of(settings.queue)) as client:
            return bool(client.exists(_key(platform)))
    except (RedisError, OSError):
        return False
