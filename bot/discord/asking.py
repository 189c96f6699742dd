"""What every way of asking on Discord shares: from a picture and its placeholder to the queue."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import discord

from bot.discord.pictures import Downloads
from bot.intake import Intake, TooManyRequests
from core.job import DiscordDestination
from core.look import DEFAULT_COUNT, Look
from core.problem import Problem
from core.texts import say

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


class Asking:
    """Hands pictures to the queue, and says in the placeholder what went wrong."""

    def __init__(self, intake: Intake, downloads: Downloads) -> None:
        self._intake = intake
        self._downloads = downloads

    async def first_sight(self, event: str, language: str, edit: Edit) -> bool:
        """Whether an event is to be answered: it is new, and the queue is there."""
        try:
            return await self._intake.first_sight(event)
        except Problem as problem:
            await self._tell(edit, problem.sentence(language))
            return False

    async def allowed(self, wish: Wish, tell: Edit, *, every_time: bool) -> bool:
        """Count a request; whether the person may have it. Asked before a placeholder is posted.

        Args:
            wish: Who asks.
            tell: Says to the person why not.
            every_time: At each refusal, for what must be answered; else once a minute, so that
                nobody can make the bot write more than Discord lets it.
        """
        try:
            await self._intake.allow(f"discord-{wish.person}")
        except TooManyRequests as refused:
            log.info("Not taken, for user %d: %s", wish.person, refused.key)
            if every_time or refused.first:
                await self._tell(tell, refused.sentence(wish.language))
            return False
        except Problem as problem:
            await self._tell(tell, problem.sentence(wish.language))
            return False
        return True

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
                await self._tell(edit, say("worker_away", wish.language, minutes=minutes))
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
            await self._tell(edit, problem.sentence(wish.language))
        except Exception:
            # Whatever it was, nobody is left waiting before a placeholder.
            log.exception("Not taken: %s", event)
            await self._tell(edit, say("command_failed", wish.language))

    @staticmethod
    async def _tell(edit: Edit, sentence: str) -> None:
        try:
            await edit(sentence)
        except discord.HTTPException as error:
            # The placeholder or the access is gone; there is nobody left to tell.
            log.warning("A placeholder could not be edited: %s", error)
