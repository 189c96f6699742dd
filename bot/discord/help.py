"""`/help`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.discord.pictures import MOST_PICTURES
from bot.discord.texts import text
from core.look import MAX_COUNT
from core.settings import LimitSettings
from core.texts import say

if TYPE_CHECKING:
    from bot.discord.bot import FamiliarBot


class Help(commands.Cog):
    """How to ask, for the asker's eyes only."""

    def __init__(self, bot: FamiliarBot, limit: LimitSettings) -> None:
        self._bot = bot
        self._limit = limit

    @app_commands.command(name="help", description=text("discord_help"))
    async def help(self, interaction: discord.Interaction[FamiliarBot]) -> None:
        """Explain every way of asking."""
        await interaction.response.send_message(
            say(
                "discord_help_text",
                str(interaction.locale),
                count=MAX_COUNT,
                pictures=MOST_PICTURES,
                size=self._limit.upload_mib,
                minutes=self._limit.upload_minutes,
                mention="" if self._bot.user is None else self._bot.user.mention,
            ),
            ephemeral=True,
        )
