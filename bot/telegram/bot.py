"""The bot's process: how it starts, what it listens to and how it stops."""

from __future__ import annotations

import asyncio
import logging
import re
import signal
from collections.abc import Awaitable
from typing import Any, Final, TypeAlias

from telegram import Message, Update
from telegram.error import InvalidToken, TelegramError
from telegram.ext import Application, ContextTypes

from bot.heartbeat import keep_beating
from bot.intake import Intake
from bot.telegram.asking import Asking, tell
from bot.telegram.help import Help
from bot.telegram.menu import set_menu
from bot.telegram.patience import patiently
from bot.telegram.pictures import Downloads
from bot.telegram.placeholder import language_of
from bot.telegram.polling import Polling, TelegramAway, TelegramProblem
from bot.telegram.reindex import Reindex
from bot.telegram.similar import Similar
from core.redaction import hide_secrets
from core.settings import Settings
from core.texts import say

log = logging.getLogger(__name__)

UPDATES_AT_ONCE: Final = 64
"""Some of them only wait: for the rest of an album, or because Telegram asks for a pause."""

STOP_SECONDS: Final = 20.0

# What the six type parameters are is the library's own affair.
App: TypeAlias = Application[Any, Any, Any, Any, Any, Any]


def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT.

    Raises:
        core.problem.Problem: It cannot start, or Telegram ended it for good; says what to do.
    """
    token = settings.telegram.token
    if token is None:
        raise TelegramProblem("telegram_token_missing")
    hide_secrets(settings)
    # A line for every request, each with the token in its address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(_serve(settings, Intake.connect(settings), token.get_secret_value()))


def application(settings: Settings, token: str) -> App:
    """The library's application, without its own updater.

    Raises:
        TelegramProblem: No token looks like this one.
    """
    if not re.fullmatch(r"\d+:[\w-]+", token):
        raise TelegramProblem("telegram_token_refused")
    builder = (
        Application.builder()
        .token(token)
        .updater(None)
        .concurrent_updates(UPDATES_AT_ONCE)
        .connection_pool_size(UPDATES_AT_ONCE)
        .connect_timeout(5)
        .pool_timeout(30)
        .read_timeout(20)
        .write_timeout(20)
    )
    if settings.telegram.api_url is not None:
        builder.base_url(f"{settings.telegram.api_url}/bot")
        builder.base_file_url(f"{settings.telegram.api_url}/file/bot")
    return builder.build()


async def _serve(settings: Settings, intake: Intake, token: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    app = application(settings, token)
    try:
        if await _first_of(_reach(app), stop):
            await _answer(app, settings, intake, stop)
    finally:
        await app.shutdown()


async def _reach(app: App) -> None:
    """Learn from Telegram who we are, and have it send us what people write.

    Raises:
        TelegramProblem: The token is refused.
        TelegramAway: It does not answer.
    """
    try:
        await patiently(app.initialize)
        await patiently(app.bot.delete_webhook)
    except InvalidToken:
        # The library's own message repeats the token.
        raise TelegramProblem("telegram_token_refused") from None
    except TelegramError as error:
        raise TelegramAway("telegram_unreachable") from error


async def _answer(app: App, settings: Settings, intake: Intake, stop: asyncio.Event) -> None:
    me = app.bot.bot
    asking = Asking(intake, Downloads(settings))
    app.add_handlers(
        [
            *Help(settings, asking, me).handlers(),
            *Reindex(intake, asking, settings.telegram.admins, me).handlers(),
            *Similar(asking, me).handlers(),
        ]
    )
    app.add_error_handler(_on_error)
    polling = Polling(app.bot, app.update_queue)
    await app.start()
    menu = asyncio.create_task(set_menu(app.bot, settings.telegram.admins))
    asking_again = asyncio.create_task(intake.keep_asking("telegram"))
    beating = asyncio.create_task(keep_beating(settings, "telegram"))
    log.info("Telegram bot ready as @%s", me.username)
    try:
        await _first_of(polling.run(), stop)
    finally:
        log.info("Telegram bot stops")
        menu.cancel()
        beating.cancel()
        await polling.confirm()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await app.stop()
        except TimeoutError:
            log.warning("Some requests were not taken before the bot stopped")
        asking_again.cancel()


async def _first_of(work: Awaitable[None], stop: asyncio.Event) -> bool:
    """Whether `work` ended before `stop` was set; where it did not, it is cancelled."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if working.done():
        await working
        return True
    working.cancel()
    await asyncio.wait((working,))
    return False


async def _on_error(update: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    """Whatever a feature did not foresee ends in a log and a sentence."""
    log.error("An update failed", exc_info=context.error)
    message = update.message if isinstance(update, Update) else None
    if isinstance(message, Message):
        await tell(message, say("command_failed", language_of(message)))
