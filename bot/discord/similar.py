"""`/similar` with an attached picture, and **Find similar** on a message with pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.app_commands import Choice
from discord.ext import commands

from bot.discord.asking import Asking, Edit, Wish, original
from bot.discord.pictures import pictures_of
from bot.discord.texts import text
from core.job import DiscordDestination
from core.look import DEFAULT_COUNT, MAX_COUNT, Look
from core.texts import say

if TYPE_CHECKING:
    from bot.discord.bot import FamiliarBot


class Similar(commands.Cog):
    """The two ways of asking that are commands."""

    def __init__(self, bot: FamiliarBot, asking: Asking) -> None:
        self._bot = bot
        self._asking = asking
        # The library knows no context menus in cogs, so this one comes and goes by hand.
        self._menu = app_commands.ContextMenu(name="Find similar", callback=self.find_similar)

    async def cog_load(self) -> None:
        """Add the context menu."""
        self._bot.tree.add_command(self._menu)

    async def cog_unload(self) -> None:
        """Remove the context menu."""
        self._bot.tree.remove_command(self._menu.name, type=self._menu.type)

    @app_commands.command(name="similar", description=text("discord_similar"))
    @app_commands.describe(
        picture=text("discord_similar_picture"),
        look=text("discord_similar_look"),
        count=text("discord_similar_count"),
        private=text("discord_similar_private"),
    )
    @app_commands.choices(
        look=[
            Choice(name=text("discord_look_both"), value=Look.BOTH.value),
            Choice(name=text("discord_look_character"), value=Look.CHARACTER.value),
            Choice(name=text("discord_look_feel"), value=Look.FEEL.value),
        ]
    )
    async def similar(
        self,
        interaction: discord.Interaction[FamiliarBot],
        picture: discord.Attachment,
        look: str = Look.BOTH.value,
        count: app_commands.Range[int, 1, MAX_COUNT] = DEFAULT_COUNT,
        private: bool = False,
    ) -> None:
        """Answer one attached picture."""
        wish = Wish(interaction.user.id, str(interaction.locale), Look(look), count)
        await interaction.response.defer(thinking=True, ephemeral=private)
        event, edit = f"discord-{interaction.id}", original(interaction)
        if not await self._asking.first_sight(event, wish, edit, every_time=True):
            return
        if await self._asking.allowed(wish, edit, every_time=True):
            destination = _destination(interaction, private=private)
            await self._asking.ask(event, wish, picture, destination, edit)

    async def find_similar(
        self, interaction: discord.Interaction[FamiliarBot], message: discord.Message
    ) -> None:
        """Answer the first pictures of a message, each in a message of its own."""
        wish = Wish(interaction.user.id, str(interaction.locale))
        pictures = pictures_of(message)
        if not pictures:
            sentence = say("discord_no_picture", wish.language)
            await interaction.response.send_message(sentence, ephemeral=True)
            return
        await interaction.response.defer(thinking=True)
        event, edit = f"discord-{interaction.id}", original(interaction)
        if not await self._asking.first_sight(event, wish, edit, every_time=True):
            return
        if not await self._asking.allowed(wish, edit, every_time=True):
            return
        if len(pictures) > 1:
            # Discord takes the first follow-up for the response itself while that is "thinking".
            await edit(say("looking", wish.language))
        destination = _destination(interaction, reply_to=message.id)
        await self._asking.ask(event, wish, pictures[0], destination, edit)
        for number, picture in enumerate(pictures[1:], start=2):
            if not await self._asking.allowed(wish, _whisper(interaction), every_time=True):
                return
            placeholder = await interaction.followup.send(say("looking", wish.language), wait=True)
            destination = _destination(interaction, reply_to=message.id, message_id=placeholder.id)
            await self._asking.ask(
                f"{event}-{number}", wish, picture, destination, _followup(placeholder)
            )


def _destination(
    interaction: discord.Interaction[FamiliarBot],
    *,
    private: bool = False,
    reply_to: int | None = None,
    message_id: int | None = None,
) -> DiscordDestination:
    if interaction.channel_id is None:
        raise ValueError("Discord sends a channel with every command")
    return DiscordDestination(
        application_id=interaction.application_id,
        interaction_token=interaction.token,
        channel_id=interaction.channel_id,
        message_id=message_id,
        reply_to=reply_to,
        private=private,
        file_bytes=interaction.filesize_limit,
    )


def _whisper(interaction: discord.Interaction[FamiliarBot]) -> Edit:
    return lambda sentence: interaction.followup.send(sentence, ephemeral=True)


def _followup(message: discord.WebhookMessage) -> Edit:
    return lambda sentence: message.edit(content=sentence)
