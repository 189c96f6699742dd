"""What every way of asking on Discord shares: from a picture and its placeholder to the queue."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import aiohttp
import discord

from bot.discord.pictures import Downloads
from bot.intake import Intake
from core.job import DiscordDestination
from core.look import DEFAULT_COUNT, Look
from core.problem import Problem
from core.texts import say

if TYPE_CHECKING:
    from bot.discord.bot import FamiliarBot

log = logging.getLogger(__name__)

Edit: TypeAlias = Callable[[str], Awaitable[object]]
"""Replaces a placeholder's text."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to know about a picture.

    Attributes:
        person: The asker's user id.
        language: The asker's, as Discord names it.
        look: What *similar* means.
        count: Matches for each face, 1..9.
    """

    person: int
    language: str
    look: Look = Look.BOTH
    count: int = DEFAULT_COUNT


def original(interaction: discord.Interaction[FamiliarBot]) -> Edit:
    """Edits the response to a command."""
    return lambda sentence: interaction.edit_original_response(content=sentence)


async def tell(edit: Edit, sentence: str) -> None:
    """Replace a placeholder's text, as far as Discord and the way to it let us: a request is not
    lost for want of a word about it."""
    try:
        await edit(sentence)
    except (discord.HTTPException, aiohttp.ClientError, OSError) as error:
        log.warning("A placeholder could not be edited: %s", error)


def _counted(person: int) -> str:
    """Whom the rate limit counts."""
    return f"discord-{person}"


class Asking:
    """Hands pictures to the queue, and says in the placeholder what went wrong; answers what has
    no picture."""

    def __init__(self, intake: Intake, downloads: Downloads) -> None:
        self._intake = intake
        self._downloads = downloads

    async def first_sight(self, event: str, wish: Wish, say_why: Edit, *, every_time: bool) -> bool:
        """Whether an event is to be answered: it is new, and the queue is there.

        Args:
            event: Discord's event.
            wish: Who asks.
            say_why: Says to the person why not.
            every_time: As `allowed`.
        """
        try:
            return await self._intake.first_sight(event)
        except Problem as problem:
            await self._refuse(wish, problem, say_why, every_time=every_time)
            return False

    async def allowed(self, wish: Wish, say_why: Edit, *, every_time: bool) -> bool:
        """Count a request; whether the person may have it. Asked before a placeholder is posted.

        Args:
            wish: Who asks.
            say_why: Says to the person why not.
            every_time: At each refusal, for what must be answered; else once a minute, so that
                nobody can make the bot write more than Discord lets it.
        """
        try:
            await self._intake.allow(_counted(wish.person))
        except Problem as problem:
            await self._refuse(wish, problem, say_why, every_time=every_time)
            return False
        return True

    async def _refuse(
        self, wish: Wish, problem: Problem, say_why: Edit, *, every_time: bool
    ) -> None:
        log.info("Not taken, for user %d: %s", wish.person, problem.key)
        sentence = self._intake.refusal(_counted(wish.person), wish.language, problem)
        if every_time:
            sentence = problem.sentence(wish.language)
        if sentence is not None:
            await tell(say_why, sentence)

    async def answer(self, person: int, language: str, sentence: str, reply: Edit) -> None:
        """Answer a message that asks for no picture; it counts in the same limit.

        A command's answer that its asker alone sees needs none: Discord wants one to every command,
        and counts none of them against the bot.
        """
        words = await self._intake.words(_counted(person), language, sentence)
        if words is None:
            log.info("No answer for user %d: over the limit", person)
        else:
            await reply(words)

    async def ask(
        self,
        event: str,
        wish: Wish,
        picture: discord.Attachment,
        destination: DiscordDestination,
        edit: Edit,
    ) -> None:
        """Enqueue one picture, which must be `allowed`.

        Args:
            event: Unique to this picture of this event; the job's id.
            wish: Who asks for what.
            picture: As Discord sent it.
            destination: The placeholder, for the worker.
            edit: The same placeholder, for what goes wrong here.
        """
        try:
            if not await self._intake.worker_alive():
                minutes = self._intake.kept_minutes
                await tell(edit, say("worker_away", wish.language, minutes=minutes))
            await self._intake.similar(
                event=event,
                data=partial(self._downloads.fetch, picture),
                look=wish.look,
                count=wish.count,
                destination=destination,
                language=wish.language,
                spoiler=picture.is_spoiler(),
            )
        except Problem as problem:
            log.info("Not taken: %s, %s", event, problem.key)
            await tell(edit, problem.sentence(wish.language))
        except Exception:
            # Whatever it was, nobody is left waiting before a placeholder.
            log.exception("Not taken: %s", event)
            await tell(edit, say("command_failed", wish.language))
