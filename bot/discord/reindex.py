"""`/reindex`, for the admins that the settings name."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.discord.asking import original, tell
from bot.discord.texts import text
from bot.intake import Intake
from core.job import DiscordDestination
from core.problem import Problem
from core.texts import say

if TYPE_CHECKING:
    from bot.discord.bot import FamiliarBot

log = logging.getLogger(__name__)


class Reindex(commands.Cog):
    """Hidden from members who may not manage the server, and refused to all but the admins."""

    def __init__(self, intake: Intake, admins: frozenset[int]) -> None:
        self._intake = intake
        self._admins = admins

    @app_commands.command(name="reindex", description=text("discord_reindex"))
    @app_commands.default_permissions(manage_guild=True)
    @app_commands.guild_only()
    async def reindex(self, interaction: discord.Interaction[FamiliarBot]) -> None:
        """Bring the index in line with the gallery; the worker reports in the same message."""
        language = str(interaction.locale)
        if interaction.user.id not in self._admins:
            log.warning("/reindex refused to user %d", interaction.user.id)
            await interaction.response.send_message(say("not_admin", language), ephemeral=True)
            return
        await interaction.response.defer(thinking=True)
        if interaction.channel_id is None:
            raise ValueError("Discord sends a channel with every command")
        event, edit = f"discord-{interaction.id}", original(interaction)
        try:
            if not await self._intake.first_sight(event):
                return
            if not await self._intake.worker_alive():
                sentence = say("worker_away_reindex", language)
                await tell(edit, sentence)
            await self._intake.reindex(
                event=event,
                destination=DiscordDestination(
                    application_id=interaction.application_id,
                    interaction_token=interaction.token,
                    channel_id=interaction.channel_id,
                    file_bytes=interaction.filesize_limit,
                ),
                language=language,
            )
        except Problem as problem:
            await tell(edit, problem.sentence(language))
