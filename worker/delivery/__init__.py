"""How a worker reaches the person who asked: one protocol, one module a platform."""

from __future__ import annotations

from typing import Any, Final, Protocol

import httpx

LONGEST_PATIENCE: Final = 2.0
"""Seconds that a delivery waits where the platform asks for it. Where it asks for more, the job
is to wait outside, and not to keep a hand from others."""


class DeliveryFailed(Exception):
    """The platform did not take the message. Never holds a token or an address with one.

    Attributes:
        final: Trying again is useless: the chat or the placeholder is gone, or access was lost.
        retry_after: Seconds for which the platform wants to hear nothing; None: it did not say.
    """

    def __init__(self, reason: str, *, final: bool, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.final = final
        self.retry_after = retry_after


class Delivery(Protocol):
    """The one message of one job. Every call replaces what the message said before, so a job
    that runs twice still answers once.

    `deadline` is in seconds since the epoch; no call waits beyond it, nor where the platform asks
    for more than `LONGEST_PATIENCE`. All may raise `DeliveryFailed`.
    """

    def working(self) -> None:
        """Show that the bot is at work: typing, uploading. Best effort, never fails a job."""
        ...

    def say(self, sentence: str, *, deadline: float) -> None:
        """Replace the message by a sentence: progress, or what went wrong."""
        ...

    def answer(
        self, collage: bytes, caption: str, *, deadline: float, spoiler: bool = False
    ) -> None:
        """Replace the message by the collage (PNG or JPEG bytes) and the caption below it. With
        `spoiler` the collage is covered until somebody wants to see it."""
        ...


def object_of(response: httpx.Response) -> dict[str, Any]:
    """The body's JSON object; empty where it is none, and something between us and the platform
    answered instead, such as a proxy's page."""
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
