"""Which chats and platforms take nothing for a while, so that nobody waits behind them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Final

from core.job import DiscordDestination, FileDestination, ReindexJob, SimilarJob

AWAY_SECONDS: Final = 5.0
"""For so long nothing is sent where nothing was taken. Then one job tries, and for as long again
the others wait for what comes of it."""

FAILURES: Final = 3
"""Deliveries in a row after which it is the platform that is away, and not one chat alone."""


REMEMBERED_SECONDS: Final = 60.0
"""So long after its time a chat that nobody has tried since counts as any other."""


class Patience:
    """When to begin again with jobs whose chat or platform takes nothing: working on them before
    would only lead to the same refusal, and take a hand from others.

    Another worker does not know of it, and learns it from its own attempts. Safe to use from
    several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[str, float] = {}
        self._failures: Counter[str] = Counter()

    def left(self, job: SimilarJob | ReindexJob) -> float:
        """Seconds until this job may be worked on; 0: now."""
        now = time.time()
        with self._lock:
            self._times = {
                place: at for place, at in self._times.items() if at > now - REMEMBERED_SECONDS
            }
            known = [place for place in _places(job) if place in self._times]
            wait = max((self._times[place] - now for place in known), default=0.0)
            if wait <= 0:
                self._times.update(dict.fromkeys(known, now + AWAY_SECONDS))
        return max(0.0, wait)

    def taken(self, job: SimilarJob | ReindexJob) -> None:
        """The job's platform has answered."""
        with self._lock:
            for place in _places(job):
                self._times.pop(place, None)
                self._failures.pop(place, None)

    def not_taken(self, job: SimilarJob | ReindexJob, asked: float | None) -> float:
        """The job's platform took nothing.

        Args:
            job: What was to be delivered.
            asked: Seconds for which the platform wants to hear nothing of this chat; None: it did
                not say, or does not answer.

        Returns:
            Seconds until the job may be worked on again.
        """
        now = time.time()
        wait = AWAY_SECONDS if asked is None else asked
        chat, *platform = _places(job)
        with self._lock:
            self._times[chat] = now + wait
            if asked is None:
                for place in platform:
                    self._failures[place] += 1
                    if self._failures[place] >= FAILURES:
                        self._times[place] = now + wait
        return wait


def _places(job: SimilarJob | ReindexJob) -> list[str]:
    """The chat that the job's answer goes to, and the platform that the chat is on."""
    destination = job.destination
    if isinstance(destination, FileDestination):
        return [f"file {job.id}"]
    if isinstance(destination, DiscordDestination):
        return [f"discord {destination.channel_id}", "discord"]
    return [f"telegram {destination.chat_id}", "telegram"]
