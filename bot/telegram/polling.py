"""Long polling: one request that waits at Telegram until somebody writes."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from telegram import Bot, Update
from telegram.error import (
    Conflict,
    InvalidToken,
    NetworkError,
    RetryAfter,
    TelegramError,
    TimedOut,
)

from bot.telegram.patience import seconds_of
from core.problem import Problem

log = logging.getLogger(__name__)

POLL_SECONDS: Final = 30
YOUNG_SECONDS: Final = 60.0
LONGEST_PAUSE: Final = 30.0
CONFIRM_SECONDS: Final = 3.0
KINDS: Final = (Update.MESSAGE,)
"""Not the edited ones: who corrects a caption does not ask again."""


class TelegramProblem(Problem):
    """The bot cannot run: the token, another bot with the same one, or the way to Telegram."""


class TelegramAway(TelegramProblem):
    """Telegram does not answer."""

    passing = True


class Polling:
    """Brings updates into a queue, each confirmed to Telegram once it is there.

    It is written out here, and not left to the library's updater, because that one goes on
    silently after the token was revoked, and for ever beside another process with the same one.
    """

    def __init__(self, bot: Bot, updates: asyncio.Queue[object]) -> None:
        self._bot = bot
        self._updates = updates
        self._next: int | None = None

    async def run(self) -> None:
        """Poll until cancelled; a bad connection is outlasted.

        Raises:
            TelegramProblem: The token was revoked, or this process has just been started beside
                another one with the same token. Of two, the older goes on.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        failures = 0
        while True:
            try:
                await self._poll(POLL_SECONDS)
            except InvalidToken:
                raise TelegramProblem("telegram_token_refused") from None
            except Conflict:
                if loop.time() - started < YOUNG_SECONDS:
                    raise TelegramProblem("telegram_conflict") from None
                log.warning("Another process polls with the same token")
                await asyncio.sleep(1)
            except RetryAfter as error:
                await asyncio.sleep(seconds_of(error))
            except TimedOut:
                failures += 1
                await asyncio.sleep(min(failures, LONGEST_PAUSE))
            except NetworkError as error:
                if failures == 0:
                    log.warning("Telegram cannot be reached, trying on: %s", error)
                failures += 1
                await asyncio.sleep(min(2.0**failures, LONGEST_PAUSE))
            else:
                if failures:
                    log.info("Telegram can be reached again")
                failures = 0

    async def confirm(self) -> None:
        """Tell Telegram that what is in the queue need not be sent again."""
        if self._next is None:
            return
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._poll(0)
        except (TelegramError, TimeoutError) as error:
            # They will come once more, and the intake knows them.
            log.info("The last updates could not be confirmed: %s", error)

    async def _poll(self, seconds: int) -> None:
        found = await self._bot.get_updates(
            offset=self._next, timeout=seconds, allowed_updates=KINDS
        )
        for update in found:
            await self._updates.put(update)
            self._next = update.update_id + 1
