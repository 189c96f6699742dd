"""What every way of asking on Telegram shares: from a message with a picture to the queue."""

from __future__ import annotations

import logging
from functools import partial
from typing import TypeAlias

from telegram import Message, Update
from telegram.error import TelegramError
from telegram.ext import BaseHandler, ContextTypes

from bot.intake import Intake
from bot.telegram.patience import FEW_SECONDS
from bot.telegram.pictures import Downloads, Sent
from bot.telegram.placeholder import Placeholder, language_of, reply
from bot.telegram.reading import Wish
from core.problem import Problem
from core.texts import say

log = logging.getLogger(__name__)

Handler: TypeAlias = BaseHandler[Update, ContextTypes.DEFAULT_TYPE, None]
"""What a feature listens to, and what it does then."""


def person_of(message: Message) -> str:
    """Whom the rate limit counts: the sender, or the group or channel that speaks as one."""
    sender = message.sender_chat or message.from_user
    return f"telegram-{sender.id if sender is not None else message.chat_id}"


async def tell(message: Message, sentence: str) -> None:
    """Reply with a sentence, as far as Telegram lets us within moments: no job stands behind it,
    and whoever waited here would keep one of the places that all chats share."""
    try:
        await reply(message, sentence, most_seconds=FEW_SECONDS)
    except TelegramError as error:
        log.info("No answer possible in chat %d: %s", message.chat_id, error)


class Asking:
    """Hands pictures to the queue, and says in the placeholder what went wrong; answers what has
    no picture."""

    def __init__(self, intake: Intake, downloads: Downloads) -> None:
        self._intake = intake
        self._downloads = downloads

    async def answer(self, message: Message, sentence: str) -> None:
        """Answer what is no request of a picture; it counts in the same limit."""
        person, language = person_of(message), language_of(message)
        words = await self._intake.words(person, language, sentence)
        if words is None:
            log.info("No answer in chat %d: over the limit", message.chat_id)
        else:
            await tell(message, words)

    async def refuse(self, message: Message, problem: Problem) -> None:
        """Say why nothing is posted for a message, or nothing where that was said before."""
        sentence = self._intake.refusal(person_of(message), language_of(message), problem)
        if sentence is not None:
            await tell(message, sentence)

    async def ask(
        self, event: str, message: Message, picture: Sent, wish: Wish, *, spoiler: bool
    ) -> None:
        """Answer one picture, once however often its event comes.

        Args:
            event: Unique to this picture of this update; the job's id.
            message: The message that asks, to which the answer replies.
            picture: Of that message, or of the one that it replies to.
            wish: What the person wants to know.
            spoiler: The picture is covered where it was sent.
        """
        language = language_of(message)
        try:
            # Both before anything is posted: Telegram lets a bot write only so much, and who
            # forwards a whole folder must not use it up for everybody.
            if not await self._intake.first_sight(event):
                log.info("Seen before: %s", event)
                return
            await self._intake.allow(person_of(message))
        except Problem as problem:
            log.info("Not taken: %s, %s", event, problem.key)
            await self.refuse(message, problem)
            return
        try:
            placeholder = await Placeholder.post(message, "looking")
        except TelegramError as error:
            log.info("No answer possible in chat %d: %s", message.chat_id, error)
            return
        async with placeholder.explaining(event):
            if not await self._intake.worker_alive():
                minutes = self._intake.kept_minutes
                await placeholder.say(say("worker_away", language, minutes=minutes))
            await self._intake.similar(
                event=event,
                data=partial(self._downloads.fetch, picture),
                look=wish.look,
                count=wish.count,
                destination=placeholder.destination,
                language=language,
                spoiler=spoiler,
            )
