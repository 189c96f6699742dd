"""The pictures of a Discord message, fetched from Discord's own hosts and from nowhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import PurePath
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import discord

from bot.intake import PictureNotFetched
from core.picture import SUFFIXES, too_many_bytes
from core.settings import Settings

DISCORD_HOSTS: Final = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
FETCH_SECONDS: Final = 30
FETCHES_AT_ONCE: Final = 4
MOST_PICTURES: Final = 4
"""Of one message so many pictures are answered."""


def pictures_of(message: discord.Message) -> Sequence[discord.Attachment]:
    """The first pictures attached to a message or to what it forwards.

    Only by what Discord says of them; whether they are pictures is for `core.picture` to say.
    """
    attachments = [
        *message.attachments,
        *(file for snapshot in message.message_snapshots for file in snapshot.attachments),
    ]
    return [file for file in attachments if _looks_like_a_picture(file)][:MOST_PICTURES]


def _looks_like_a_picture(file: discord.Attachment) -> bool:
    if (file.content_type or "").startswith("image/"):
        return True
    return PurePath(file.filename).suffix.lower() in SUFFIXES


class Downloads:
    """Fetches attachments, a few at a time, so that a bot's memory stays small."""

    def __init__(self, settings: Settings) -> None:
        self._most_bytes = settings.limit.picture.file_bytes
        self._at_once = asyncio.Semaphore(FETCHES_AT_ONCE)
        own = urlsplit(settings.discord.api_url or "").hostname
        self._hosts = DISCORD_HOSTS if own is None else DISCORD_HOSTS | {own}

    async def fetch(self, file: discord.Attachment) -> bytes:
        """The bytes of an attachment.

        Raises:
            UnreadablePicture: Larger than the limit, by Discord's own word; nothing is fetched.
            PictureNotFetched: Discord does not hand it out, or not in time.
        """
        if file.size > self._most_bytes:
            raise too_many_bytes(file.size, self._most_bytes)
        if urlsplit(file.url).hostname not in self._hosts:
            raise PictureNotFetched
        try:
            async with self._at_once, asyncio.timeout(FETCH_SECONDS):
                return await file.read()
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            raise PictureNotFetched from error
