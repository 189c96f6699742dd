"""The bot's process: what it asks of Discord, how it starts and how it stops."""

from __future__ import annotations

import asyncio
import http
import logging
import signal
from typing import Final

import aiohttp
import discord
import yarl
from discord import app_commands
from discord.ext import commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bot.discord.asking import Asking
from bot.discord.help import Help
from bot.discord.in_hand import InHand
from bot.discord.mention import Mention
from bot.discord.pictures import Downloads
from bot.discord.reindex import Reindex
from bot.discord.similar import Similar
from bot.discord.texts import CommandTexts
from bot.heartbeat import keep_beating
from bot.intake import Intake
from core.problem import Problem
from core.redaction import hide_secrets
from core.settings import DiscordSettings, Settings
from core.texts import say

log = logging.getLogger(__name__)

INTENTS: Final = discord.Intents(
    guilds=True,
    guild_messages=True,
    dm_messages=True,
    # Without it the picture of a message that is replied to stays hidden, even from a bot that
    # the reply mentions.
    message_content=True,
)

STOP_SECONDS: Final = 20.0
"""Requests in hand may take so long when the bot is to end."""

# Error and close codes of Discord's.
UNKNOWN_INTERACTION: Final = 10062
ALREADY_ACKNOWLEDGED: Final = 40060
NOT_OURS_ANY_MORE: Final = frozenset({UNKNOWN_INTERACTION, ALREADY_ACKNOWLEDGED})
AUTHENTICATION_FAILED: Final = 4004


class DiscordProblem(Problem):
    """The bot cannot run: the token, the intents, or the way to Discord."""


class DiscordAway(DiscordProblem):
    """Discord does not answer. Whom it refuses for good is told so by `DiscordProblem`: Discord
    counts how often a bot comes."""

    passing = True


class CommandTree(app_commands.CommandTree["FamiliarBot"]):
    """The commands; whatever one of them did not foresee ends in a log and a sentence."""

    async def interaction_check(self, interaction: discord.Interaction[FamiliarBot], /) -> bool:
        """Let every command through, and count it among those in hand."""
        interaction.client.in_hand.add()
        return True

    async def on_error(
        self,
        interaction: discord.Interaction[FamiliarBot],
        error: app_commands.AppCommandError,
        /,
    ) -> None:
        """Log the error, and tell the person as far as Discord still lets us."""
        cause = getattr(error, "original", error)
        if isinstance(cause, discord.HTTPException) and cause.code in NOT_OURS_ANY_MORE:
            # Slower than three seconds, or a second process of this bot was faster.
            log.warning("A command could not be acknowledged: %s", cause)
            return
        log.error("A command failed", exc_info=error)
        sentence = say("command_failed", str(interaction.locale))
        try:
            if interaction.response.is_done():
                # Not by an edit of the response: that may be a job's placeholder, or its answer, by
                # now. While it is "thinking" still, Discord takes this for the response.
                await interaction.followup.send(sentence, ephemeral=True)
            else:
                await interaction.response.send_message(sentence, ephemeral=True)
        except discord.HTTPException as refused:
            log.warning("The person could not be told: %s", refused)


class FamiliarBot(commands.Bot):
    """The connection to Discord, with one cog a feature.

    Attributes:
        in_hand: What the bot has begun to answer.
    """

    def __init__(self, settings: Settings, intake: Intake) -> None:
        super().__init__(
            # No text commands; the library wants to know how they would begin.
            command_prefix=commands.when_mentioned,
            help_command=None,
            intents=INTENTS,
            tree_cls=CommandTree,
            allowed_mentions=discord.AllowedMentions.none(),
            # Nothing is ever looked up in these caches, and they are most of a bot's memory.
            max_messages=None,
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
        )
        self.in_hand = InHand()
        self._settings = settings
        self._intake = intake

    async def setup_hook(self) -> None:
        """Once, after login and before the gateway: the features and the command list."""
        asking = Asking(self._intake, Downloads(self._settings))
        await self.tree.set_translator(CommandTexts())
        await self.add_cog(Similar(self, asking))
        await self.add_cog(Mention(self, asking))
        await self.add_cog(Reindex(self._intake, self._settings.discord.admins))
        await self.add_cog(Help(self, self._settings.limit))
        await self.tree.sync()
        self._asking_again = asyncio.create_task(self._intake.keep_asking("discord"))
        self._beating = asyncio.create_task(keep_beating(self._settings, "discord"))

    async def on_ready(self) -> None:
        """Say so in the log, again after each new session."""
        log.info("Discord bot ready as %s in %d servers", self.user, len(self.guilds))

    async def on_message(self, message: discord.Message, /) -> None:
        """There are no text commands to look for; `Mention` listens for itself."""


def run(settings: Settings) -> None:
    """Run the bot until SIGTERM or SIGINT.

    Raises:
        core.problem.Problem: It cannot start, or Discord ended it for good; says what to do.
    """
    token = settings.discord.token
    if token is None:
        raise DiscordProblem("discord_token_missing")
    hide_secrets(settings)
    speak_to(settings.discord)
    # Voice is nothing that this bot does; without this the library warns that it could not.
    discord.VoiceClient.warn_nacl = False
    discord.VoiceClient.warn_dave = False
    asyncio.run(_serve(FamiliarBot(settings, Intake.connect(settings)), token.get_secret_value()))


def speak_to(settings: DiscordSettings) -> None:
    """Where the settings name another server, make this process's Discord library use it."""
    if settings.api_url is not None:
        Route.BASE = settings.api_url
    if settings.gateway_url is not None:
        DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(settings.gateway_url)


async def _serve(bot: FamiliarBot, token: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with bot:
        serving = asyncio.create_task(bot.start(token))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((serving, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not serving.done():
            log.info("Discord bot stops")
            # This ends the events alone; what is in hand can still fetch, post and edit.
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            if not await bot.in_hand.finish(STOP_SECONDS):
                log.warning("Some requests were not taken before the bot stopped")
            await bot.close()
            return
        try:
            await serving
        except discord.LoginFailure:
            raise DiscordProblem("discord_token_refused") from None
        except discord.PrivilegedIntentsRequired:
            raise DiscordProblem("discord_intent_missing") from None
        except discord.ConnectionClosed as error:
            # The token was revoked while the bot ran.
            revoked = error.code == AUTHENTICATION_FAILED
            key = "discord_token_refused" if revoked else "discord_unreachable"
            raise DiscordProblem(key) from error
        except discord.HTTPException as error:
            # Cloudflare's 429 passes, though it may take an hour; the others of these are refusals.
            passing = (
                error.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR
                or error.status == http.HTTPStatus.TOO_MANY_REQUESTS
            )
            raise (DiscordAway if passing else DiscordProblem)("discord_unreachable") from error
        except (discord.GatewayNotFound, aiohttp.ClientError, OSError) as error:
            raise DiscordAway("discord_unreachable") from error
