"""Asking: by caption, by reply, by mention, by album, or by a picture alone in a private chat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from telegram import ExternalReplyInfo, Message, Update, User
from telegram.constants import ChatType
from telegram.ext import ContextTypes, MessageHandler, filters

from bot.telegram.albums import Albums, Part
from bot.telegram.asking import Asking, Handler
from bot.telegram.pictures import carries_anything, is_spoiler, picture_of
from bot.telegram.placeholder import language_of
from bot.telegram.reading import SIMILAR, Request, Wish, read, replied_to
from core.picture import FORMATS
from core.problem import Problem
from core.texts import say

LISTENED_TO: Final = filters.UpdateType.MESSAGE & ~filters.StatusUpdate.ALL


class Similar:
    """Finds out whether a message asks for something, and of which picture.

    In groups only commands and mentions count; in a private chat a picture alone does.
    """

    def __init__(self, asking: Asking, me: User) -> None:
        self._asking = asking
        self._me = me
        self._albums: Albums[Request] = Albums(self._request_of_album)

    def handlers(self) -> list[Handler]:
        """One for every message that no other feature takes."""
        return [MessageHandler(LISTENED_TO, self.on_message)]

    async def on_message(self, update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
        """Answer one message, or the album whose first one it is."""
        message = update.message
        if message is None or _is_from_another_bot(message):
            return
        if message.media_group_id is not None:
            await self._on_album(Part(update.update_id, message))
            return
        request = read(message, self._me)
        if not (request.explicit or message.chat.type == ChatType.PRIVATE):
            return
        asked_about = self._message_asked_about(message, request)
        picture = None if asked_about is None else picture_of(asked_about)
        if asked_about is None or picture is None:
            await self._say_what_is_missing(message, asked_about, request)
            return
        wish = await self._wish(message, request)
        if wish is not None:
            event, spoiler = self._event(update.update_id), is_spoiler(asked_about)
            await self._asking.ask(event, message, picture, wish, spoiler=spoiler)

    async def _on_album(self, part: Part) -> None:
        share = await self._albums.add(part)
        if share is None or share.decision is None:
            return
        if not share.pictures:
            if picture_of(share.first) is None:
                await self._say_what_is_missing(share.first, share.first, share.decision)
            return
        wish = await self._wish(share.first, share.decision)
        if wish is None:
            return
        for each in share.pictures:
            picture = picture_of(each.message)
            if picture is not None:
                event, spoiler = self._event(each.update_id), is_spoiler(each.message)
                await self._asking.ask(event, each.message, picture, wish, spoiler=spoiler)

    async def _wish(self, message: Message, request: Request) -> Wish | None:
        """What `request` wishes for; where it cannot be had, the person is told."""
        try:
            return request.wish()
        except Problem as problem:
            await self._asking.answer(message, problem.sentence(language_of(message)))
            return None

    def _event(self, update_id: int) -> str:
        return f"telegram-{self._me.id}-{update_id}"

    def _request_of_album(self, messages: Sequence[Message]) -> Request | None:
        """The caption that asks, wherever it stands; in a private chat none is needed."""
        requests = [read(message, self._me) for message in messages]
        for request in requests:
            if request.explicit:
                return request
        return requests[0] if messages[0].chat.type == ChatType.PRIVATE else None

    @staticmethod
    def _message_asked_about(
        message: Message, request: Request
    ) -> Message | ExternalReplyInfo | None:
        """The message itself where it carries anything, else the one that it replies to."""
        if carries_anything(message):
            return message
        return replied_to(message) if request.explicit else None

    async def _say_what_is_missing(
        self,
        message: Message,
        asked_about: Message | ExternalReplyInfo | None,
        request: Request,
    ) -> None:
        language = language_of(message)
        if asked_about is not None and carries_anything(asked_about):
            sentence = say("picture_wrong_type", language, formats=", ".join(FORMATS))
        elif request.mentioned and request.words and replied_to(message) is None:
            # Named in passing ("thanks, @bot"): that asks for nothing.
            return
        else:
            sentence = say("telegram_no_picture", language, command=f"/{SIMILAR}")
        await self._asking.answer(message, sentence)


def _is_from_another_bot(message: Message) -> bool:
    """Anonymous admins and channels also write through a bot's account, and are people."""
    sender = message.from_user
    return sender is not None and sender.is_bot and message.sender_chat is None
