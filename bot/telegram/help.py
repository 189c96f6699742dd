"""`/help` and `/start`."""

from __future__ import annotations

from telegram import Update, User
from telegram.ext import CommandHandler, ContextTypes, filters

from bot.telegram.albums import MOST_PICTURES
from bot.telegram.asking import Asking, Handler
from bot.telegram.pictures import most_bytes
from bot.telegram.placeholder import language_of
from core.look import MAX_COUNT
from core.settings import Settings
from core.texts import say


class Help:
    """How to ask. It needs nothing but the chat, so it works while everything else is down."""

    def __init__(self, settings: Settings, asking: Asking, me: User) -> None:
        self._settings = settings
        self._asking = asking
        self._me = me

    def handlers(self) -> list[Handler]:
        """Of the two commands."""
        return [CommandHandler(["help", "start"], self.explain, filters.UpdateType.MESSAGE)]

    async def explain(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Explain every way of asking."""
        message = update.message
        if message is None:
            return
        sentence = say(
            "telegram_help_text",
            language_of(message),
            mention=f"@{self._me.username}",
            count=MAX_COUNT,
            pictures=MOST_PICTURES,
            size=most_bytes(self._settings) // 2**20,
            minutes=self._settings.limit.upload_minutes,
        )
        await self._asking.answer(message, sentence)
