"""`/reindex`, for the admins that the settings name."""

from __future__ import annotations

import logging

from telegram import Update, User
from telegram.error import TelegramError
from telegram.ext import CommandHandler, ContextTypes, filters

from bot.intake import Intake
from bot.telegram.asking import Asking, Handler
from bot.telegram.placeholder import Placeholder, language_of
from core.problem import Problem
from core.texts import say

log = logging.getLogger(__name__)


class Reindex:
    """Brings the index in line with the gallery; refused to all but the admins."""

    def __init__(self, intake: Intake, asking: Asking, admins: frozenset[int], me: User) -> None:
        self._intake = intake
        self._asking = asking
        self._admins = admins
        self._me = me

    def handlers(self) -> list[Handler]:
        """Of the command."""
        return [CommandHandler("reindex", self.reindex, filters.UpdateType.MESSAGE)]

    async def reindex(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Enqueue it; the worker reports in the placeholder."""
        message = update.message
        if message is None:
            return
        language = language_of(message)
        # Who writes as a group or a channel may be anybody with that right there.
        admin = message.from_user if message.sender_chat is None else None
        if admin is None or admin.id not in self._admins:
            log.warning("/reindex refused in chat %d", message.chat_id)
            await self._asking.answer(message, say("not_admin", language))
            return
        event = f"telegram-{self._me.id}-{update.update_id}"
        try:
            if not await self._intake.first_sight(event):
                return
        except Problem as problem:
            await self._asking.refuse(message, problem)
            return
        try:
            placeholder = await Placeholder.post(message, "telegram_reindexing")
        except TelegramError as error:
            log.info("No answer possible in chat %d: %s", message.chat_id, error)
            return
        async with placeholder.explaining(event):
            if not await self._intake.worker_alive():
                await placeholder.say(say("worker_away_reindex", language))
            await self._intake.reindex(
                event=event, destination=placeholder.destination, language=language
            )
