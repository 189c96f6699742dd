"""Calls of the Bot API that wait when Telegram says so and outlast a bad connection."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import httpx
from telegram.error import BadRequest, NetworkError, RetryAfter, TelegramError

log = logging.getLogger(__name__)

MOST_SECONDS: Final = 90.0
"""Telegram limits groups to 20 messages a minute, so a wait of a minute is to be expected."""

FEW_SECONDS: Final = 3.0
"""For what is dropped rather than waited for, because every chat waits behind it."""

ATTEMPTS: Final = 4

_NEVER_SENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

Result = TypeVar("Result")


async def patiently(
    call: Callable[[], Awaitable[Result]],
    *,
    harmless_twice: bool = True,
    most_seconds: float = MOST_SECONDS,
) -> Result:
    """What `call` returns, after as many attempts as are reasonable.

    Args:
        call: One call of the Bot API.
        harmless_twice: Whether Telegram may get it twice, as an edit; what posts something is
            made again only where it surely has not reached Telegram or was not taken.
        most_seconds: Longer than that no pause that Telegram asks for is waited for.

    Raises:
        telegram.error.TelegramError: It was refused, or the last attempt failed.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + most_seconds
    pause = 0.5
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await call()
        except RetryAfter as error:
            wait = seconds_of(error)
            if attempt == ATTEMPTS or loop.time() + wait > until:
                raise
            log.info("Telegram asks for a pause of %.0f s", wait)
        except BadRequest:
            # A refusal, though the library counts it among the network's errors.
            raise
        except NetworkError as error:
            if attempt == ATTEMPTS or (not harmless_twice and may_have_arrived(error)):
                raise
            wait, pause = pause, 2 * pause
            log.info("Again in %.1f s: %s", wait, error)
        await asyncio.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def may_have_arrived(error: TelegramError) -> bool:
    """Whether Telegram may have done what was asked for: its answer was lost, or came too late."""
    if isinstance(error, BadRequest) or not isinstance(error, NetworkError):
        return False
    return not isinstance(error.__cause__, _NEVER_SENT)


def seconds_of(error: RetryAfter) -> float:
    """How long Telegram wants us to wait."""
    after = error.retry_after
    return float(after) if isinstance(after, int | float) else after.total_seconds()
