"""Asking by mentioning the bot: in reply to somebody's picture, or beside one's own."""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.discord.asking import Asking, Edit, Wish
from bot.discord.pictures import pictures_of
from core.job import DiscordDestination
from core.look import asked_for
from core.texts import FALLBACK, say

if TYPE_CHECKING:
    from bot.discord.bot import FamiliarBot

log = logging.getLogger(__name__)


class Mention(commands.Cog):
    """Listens for mentions, and for pictures in direct messages, which need none."""

    def __init__(self, bot: FamiliarBot, asking: Asking) -> None:
        self._bot = bot
        self._asking = asking

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        """Answer the message's own pictures, else those of the message that it replies to."""
        if message.author.bot:
            return
        mentioned = self._mentioned(message)
        direct = message.guild is None
        if not mentioned and not (direct and pictures_of(message)):
            return
        self._bot.in_hand.add()
        pictures = pictures_of(message) or await self._pictures_replied_to(message)
        try:
            if pictures:
                await self._answer(message, pictures)
            elif message.reference is not None or not _words(message):
                # A mention in passing ("thanks, @bot") asks for nothing and gets no answer.
                language = _language(message)
                sentence = say("discord_no_picture", language)
                await self._asking.answer(message.author.id, language, sentence, _replying(message))
        except (discord.Forbidden, discord.NotFound) as error:
            log.info("No answer possible in channel %d: %s", message.channel.id, error)

    def _mentioned(self, message: discord.Message) -> bool:
        """Mentioned by its name, or by its role's, which is the same and offered beside it: a plain
        reply to one of its messages pings it as well, and whoever writes "nice!" under an answer
        does not ask anything."""
        if message.guild is not None and message.guild.self_role in message.role_mentions:
            return True
        return self._bot.user is not None and self._bot.user.id in message.raw_mentions

    @staticmethod
    async def _pictures_replied_to(message: discord.Message) -> Sequence[discord.Attachment]:
        reference = message.reference
        if reference is None or reference.message_id is None:
            return ()
        if isinstance(reference.resolved, discord.Message):
            return pictures_of(reference.resolved)
        if reference.channel_id != message.channel.id:
            return ()
        try:
            return pictures_of(await message.channel.fetch_message(reference.message_id))
        except discord.HTTPException:
            # Deleted since, or the bot may not read the channel's history.
            return ()

    async def _answer(
        self, message: discord.Message, pictures: Sequence[discord.Attachment]
    ) -> None:
        look, count, _ = asked_for(_words(message))
        wish = Wish(message.author.id, _language(message), look, count)
        event, reply = f"discord-{message.id}", _replying(message)
        if not await self._asking.first_sight(event, wish, reply, every_time=False):
            return
        for number, picture in enumerate(pictures, start=1):
            if not await self._asking.allowed(wish, reply, every_time=False):
                return
            placeholder = await reply(say("looking", wish.language))
            await self._asking.ask(
                event if number == 1 else f"{event}-{number}",
                wish,
                picture,
                self._destination(message, placeholder),
                _editing(placeholder),
            )

    def _destination(
        self, message: discord.Message, placeholder: discord.Message
    ) -> DiscordDestination:
        if self._bot.application_id is None:
            raise ValueError("a bot that receives messages has logged in")
        guild = message.guild
        limit = discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES
        return DiscordDestination(
            application_id=self._bot.application_id,
            channel_id=message.channel.id,
            message_id=placeholder.id,
            reply_to=message.id,
            file_bytes=limit if guild is None else guild.filesize_limit,
        )


def _replying(message: discord.Message) -> Callable[[str], Awaitable[discord.Message]]:
    """Answers a message below it, or at the channel's end where it was deleted meanwhile."""
    reference = message.to_reference(fail_if_not_exists=False)
    return lambda sentence: message.channel.send(sentence, reference=reference)


def _editing(placeholder: discord.Message) -> Edit:
    return lambda sentence: placeholder.edit(content=sentence)


def _language(message: discord.Message) -> str:
    """Messages do not say what language their author reads; a community server says its own."""
    return FALLBACK if message.guild is None else str(message.guild.preferred_locale)


def _words(message: discord.Message) -> list[str]:
    return re.sub(r"<@[!&]?\d+>", " ", message.content).lower().split()
