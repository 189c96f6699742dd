"""The one message that an answer will replace."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from telegram import Message
from telegram.constants import ChatAction
from telegram.error import BadRequest, TelegramError

from bot.telegram.patience import MOST_SECONDS, may_have_arrived, patiently
from core.job import TelegramDestination
from core.problem import Problem
from core.texts import say

log = logging.getLogger(__name__)


def language_of(message: Message) -> str:
    """The language that the sender's app is set to; empty where Telegram does not say."""
    return (message.from_user and message.from_user.language_code) or ""


async def reply(message: Message, sentence: str, *, most_seconds: float = MOST_SECONDS) -> Message:
    """Answer a message below it, or at the chat's end where it was deleted meanwhile.

    Raises:
        telegram.error.TelegramError: The bot may not write there, or not within `most_seconds`, or
            Telegram is away, or nobody can tell whether the answer stands there.
    """
    return await patiently(
        lambda: message.reply_text(sentence, do_quote=True, allow_sending_without_reply=True),
        harmless_twice=False,
        most_seconds=most_seconds,
    )


class Placeholder:
    """A message of the bot that says how far a request is, until a worker replaces it."""

    def __init__(self, asked: Message, posted: Message) -> None:
        self._asked = asked
        self._posted = posted

    @classmethod
    async def post(cls, asked: Message, key: str) -> Placeholder:
        """Reply to the asking message with the sentence `key`, and show that work is under way.

        Raises:
            telegram.error.TelegramError: As `reply`. Where a placeholder may stand there that
                nobody can edit, the person has been asked to try again.
        """
        language = language_of(asked)
        try:
            posted = await reply(asked, say(key, language))
        except TelegramError as error:
            if may_have_arrived(error):
                await reply(asked, say("command_failed", language))
            raise
        placeholder = cls(asked, posted)
        try:
            await asked.reply_chat_action(
                ChatAction.UPLOAD_PHOTO, message_thread_id=placeholder.destination.topic_id
            )
        except TelegramError as error:
            # A courtesy; the placeholder says the same.
            log.debug("No chat action: %s", error)
        return placeholder

    @property
    def destination(self) -> TelegramDestination:
        """Where the worker finds it."""
        return TelegramDestination(
            chat_id=self._posted.chat_id,
            message_id=self._posted.message_id,
            reply_to=self._asked.message_id,
            topic_id=self._asked.message_thread_id if self._asked.is_topic_message else None,
        )

    async def say(self, sentence: str) -> None:
        """Replace what it says. Only before its job is enqueued: from then on it belongs to the
        worker, whose answer must not be written over."""
        try:
            await patiently(lambda: self._posted.edit_text(sentence))
        except BadRequest as error:
            if "not modified" not in error.message.lower():
                log.warning("A placeholder could not be edited: %s", error)
        except TelegramError as error:
            # The placeholder or the access is gone; there is nobody left to tell.
            log.warning("A placeholder could not be edited: %s", error)

    @asynccontextmanager
    async def explaining(self, event: str) -> AsyncIterator[None]:
        """Whatever goes wrong inside the ``async with`` ends here, in one sentence to read."""
        language = language_of(self._asked)
        try:
            yield
        except Problem as problem:
            log.info("Not taken: %s, %s", event, problem.key)
            await self.say(problem.sentence(language))
        except Exception:
            log.exception("Not taken: %s", event)
            await self.say(say("command_failed", language))
