"""The list of commands that Telegram offers while a person types ``/``."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from telegram import Bot, BotCommand, BotCommandScope, BotCommandScopeChat, BotCommandScopeDefault
from telegram.error import TelegramError

from bot.telegram.patience import patiently
from core.texts import FALLBACK, languages, say

log = logging.getLogger(__name__)

FOR_ALL = ("similar", "help")
FOR_ADMINS = ("similar", "reindex", "help")


async def set_menu(bot: Bot, admins: Iterable[int]) -> None:
    """Set the menu in every language; `/reindex` shows in the admins' own chats alone.

    What does not succeed is logged: commands work without a menu.
    """
    await _set(bot, FOR_ALL, BotCommandScopeDefault())
    for admin in sorted(admins):
        await _set(bot, FOR_ADMINS, BotCommandScopeChat(admin))


async def _set(bot: Bot, names: Iterable[str], scope: BotCommandScope) -> None:
    for language in sorted(languages()):
        commands = [BotCommand(name, say(f"telegram_menu_{name}", language)) for name in names]
        # The menu without a language is what everybody else sees.
        code = None if language == FALLBACK else language
        try:
            await patiently(partial(bot.set_my_commands, commands, scope, code))
        except TelegramError as error:
            # A chat with an admin exists only once that admin has written to the bot.
            log.info("The menu was not set for %s: %s", scope.type, error)
            return
