"""The picture of a Telegram message, fetched by the Bot API and from nowhere else."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import Final, TypeAlias

from telegram import Animation, Document, ExternalReplyInfo, Message, PhotoSize, Sticker
from telegram.constants import MessageAttachmentType
from telegram.error import BadRequest, TelegramError

from bot.intake import PictureNotFetched
from bot.telegram.patience import patiently
from core.picture import SUFFIXES, UnreadablePicture, too_many_bytes
from core.settings import Settings

DOWNLOAD_BYTES: Final = 20 * 2**20
"""The Bot API hands no larger file to a bot."""

FETCHES_AT_ONCE: Final = 4

Sent: TypeAlias = PhotoSize | Document | Sticker
"""A picture as Telegram describes it: a photo's largest size, a file, a sticker."""


def picture_of(message: Message | ExternalReplyInfo) -> Sent | None:
    """The picture that a message shows or carries as a file, if any.

    Only by what Telegram says of it; whether it is a picture is for `core.picture` to say.
    """
    if message.photo:
        return max(message.photo, key=lambda size: size.width * size.height)
    moving = message.animation or message.sticker
    if moving is not None and _is_moving(moving):
        # Telegram makes a video of an animation; its first frame comes along as a picture.
        return moving.thumbnail
    if message.sticker is not None:
        return message.sticker
    document = message.document
    if document is None:
        return None
    named = PurePath(document.file_name or "").suffix.lower() in SUFFIXES
    return document if named or _is_image(document.mime_type) else None


def is_spoiler(message: Message | ExternalReplyInfo) -> bool:
    """Whether what a message shows is covered until somebody wants to see it."""
    return bool(message.has_media_spoiler)


def carries_anything(message: Message | ExternalReplyInfo) -> bool:
    """Whether a message has more than text, be it a picture or not."""
    return any(getattr(message, kind, None) for kind in MessageAttachmentType)


def _is_moving(sent: Animation | Sticker) -> bool:
    if isinstance(sent, Sticker):
        return sent.is_animated or sent.is_video
    return not _is_image(sent.mime_type)


def _is_image(mime_type: str | None) -> bool:
    return (mime_type or "").startswith("image/")


def most_bytes(settings: Settings) -> int:
    """The largest file that is accepted."""
    return min(settings.limit.picture.file_bytes, DOWNLOAD_BYTES)


class Downloads:
    """Fetches pictures, a few at a time, so that a bot's memory stays small."""

    def __init__(self, settings: Settings) -> None:
        self._limit = most_bytes(settings)
        self._at_once = asyncio.Semaphore(FETCHES_AT_ONCE)

    async def fetch(self, sent: Sent) -> bytes:
        """The bytes of a picture.

        Raises:
            UnreadablePicture: Larger than the limit, by Telegram's own word; nothing is fetched.
            PictureNotFetched: Telegram does not hand it out.
        """
        if (sent.file_size or 0) > self._limit:
            raise self._too_large(sent)
        try:
            async with self._at_once:
                file = await patiently(sent.get_file)
                return bytes(await patiently(file.download_as_bytearray))
        except BadRequest as error:
            if "file is too big" in error.message.lower():
                raise self._too_large(sent) from error
            raise PictureNotFetched from error
        except TelegramError as error:
            raise PictureNotFetched from error

    def _too_large(self, sent: Sent) -> UnreadablePicture:
        return too_many_bytes(sent.file_size or self._limit, self._limit)
