"""Albums. Telegram sends each picture of one as its own message, and says nowhere how many
there are; the caption stands on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from telegram import Message

from bot.telegram.pictures import picture_of

SILENCE_SECONDS: Final = 1.0
"""An album is complete when nothing more of it came for so long."""

MEMORY_SECONDS: Final = 120.0
"""A picture that comes later than that is not counted to its album any more."""

MOST_PICTURES: Final = 4
"""Of one album so many pictures are answered."""

Decision = TypeVar("Decision")


@dataclass(frozen=True, slots=True)
class Part:
    """One message of an album, and the number of the update that it came with."""

    update_id: int
    message: Message


@dataclass(frozen=True, slots=True)
class Share(Generic[Decision]):
    """What is to be done with some messages of an album.

    Attributes:
        decision: What the album asks for; None: nothing.
        first: The album's first message, whatever it shows.
        pictures: The messages with a picture that are to be answered, in order.
    """

    decision: Decision | None
    first: Message
    pictures: tuple[Part, ...]


@dataclass(slots=True)
class _Album(Generic[Decision]):
    parts: list[Part]
    last_at: float
    decided: bool = False
    decision: Decision | None = None
    left: int = MOST_PICTURES

    def share(self, parts: Sequence[Part]) -> Share[Decision]:
        """What is to be done with `parts`, as long as the album has pictures left."""
        pictures = tuple(part for part in parts if picture_of(part.message) is not None)
        taken = pictures[: self.left]
        self.left -= len(taken)
        return Share(self.decision, parts[0].message, taken)


class Albums(Generic[Decision]):
    """Gathers albums, decides once for each what is to be done with it, and holds latecomers to
    the same decision.

    Args:
        decide: From all messages of an album, in order, to what it asks for; None: nothing.
        silence: Seconds without a further message that make an album complete.
    """

    def __init__(
        self,
        decide: Callable[[Sequence[Message]], Decision | None],
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._decide = decide
        self._silence = silence
        self._albums: dict[tuple[int, str], _Album[Decision]] = {}

    async def add(self, part: Part) -> Share[Decision] | None:
        """Add a message, and wait until its album is complete.

        Returns:
            The whole album for whoever added its first message, None for the others, and itself
            for a latecomer; never more than `MOST_PICTURES` pictures of one album.
        """
        loop = asyncio.get_running_loop()
        self._forget(loop.time())
        key = (part.message.chat_id, part.message.media_group_id or "")
        album = self._albums.get(key)
        if album is not None and album.decided:
            return album.share([part])
        if album is not None:
            album.parts.append(part)
            album.last_at = loop.time()
            return None
        album = self._albums[key] = _Album([part], loop.time())
        try:
            while (left := album.last_at + self._silence - loop.time()) > 0:
                await asyncio.sleep(left)
            parts = sorted(album.parts, key=lambda each: each.message.message_id)
            album.decision = self._decide([each.message for each in parts])
            album.decided = True
        finally:
            if not album.decided:
                # Nobody waits for it any more: what still comes of it begins anew.
                del self._albums[key]
        album.parts = []
        return album.share(parts)

    def _forget(self, now: float) -> None:
        old = [
            key
            for key, album in self._albums.items()
            if album.decided and now - album.last_at > MEMORY_SECONDS
        ]
        for key in old:
            del self._albums[key]
