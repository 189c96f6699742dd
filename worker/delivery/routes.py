"""From a job's destination to the delivery of its platform, and what that platform takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import httpx

from core.caption import utf16_length
from core.collage import MAX_BYTES
from core.job import Destination, DiscordDestination, TelegramDestination
from core.settings import Settings
from worker.delivery import Delivery
from worker.delivery.discord import CONTENT_CHARACTERS, DiscordDelivery, escaped
from worker.delivery.file import FileDelivery
from worker.delivery.telegram import CAPTION_UNITS, PHOTO_BYTES, TEXT_UNITS, TelegramDelivery


@dataclass(frozen=True, slots=True)
class Room:
    """What one message takes.

    Attributes:
        caption: Characters below a picture.
        sentence: Characters of a message without a picture.
        collage_bytes: Size of the picture's file.
        length: How many characters a text has there.
    """

    caption: int
    sentence: int
    collage_bytes: int
    length: Callable[[str], int] = utf16_length


_TELEGRAM: Final = Room(caption=CAPTION_UNITS, sentence=TEXT_UNITS, collage_bytes=PHOTO_BYTES)
_FILE: Final = Room(caption=4096, sentence=4096, collage_bytes=MAX_BYTES)


def room_at(destination: Destination) -> Room:
    """What one message at `destination` takes."""
    if isinstance(destination, DiscordDestination):
        return Room(
            caption=CONTENT_CHARACTERS,
            sentence=CONTENT_CHARACTERS,
            collage_bytes=destination.file_bytes,
            length=lambda text: utf16_length(escaped(text)),
        )
    return _TELEGRAM if isinstance(destination, TelegramDestination) else _FILE


class Routes:
    """Opens deliveries. They share one pool of connections."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client = httpx.Client(
            follow_redirects=False, timeout=httpx.Timeout(10.0, read=30.0, write=60.0)
        )

    def to(self, destination: Destination, job_id: str) -> Delivery:
        """The delivery of one job.

        Raises:
            DeliveryFailed: There is no token for the platform.
        """
        if isinstance(destination, DiscordDestination):
            return DiscordDelivery(destination, self._settings.discord, job_id, self._client)
        if isinstance(destination, TelegramDestination):
            return TelegramDelivery(destination, self._settings.telegram, self._client)
        return FileDelivery(self._settings.gallery.data, job_id)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
