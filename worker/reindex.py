"""Bringing the index in line with the gallery while people are being answered."""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from celery.exceptions import Reject

from core.caption import utf16_length
from core.gallery import BuildReport, build_index
from core.job import ReindexJob
from core.models import ModelError
from core.problem import Problem
from core.texts import say
from worker.delivery import Delivery, DeliveryFailed
from worker.delivery.routes import Room
from worker.resident import Resident

log = logging.getLogger(__name__)

PROGRESS_EVERY: Final = 3.0
"""Seconds between the first two edits of the message: both platforms slow down whoever edits
faster."""

SLOWEST_PROGRESS: Final = 12.0
"""Seconds that it comes to, by doubling: Telegram lets a bot speak 20 times a minute in a group,
and the people there are to be answered, too."""


WORK_SECONDS: Final = 0.1
"""Of publishing, before it looks whether somebody is being answered."""


class _Ending(Exception):
    """The worker is to end."""


class Reindexer:
    """Builds the index with the resident models. `build_index` keeps it to one build at a time."""

    def __init__(
        self,
        resident: Resident,
        gallery: Path,
        data: Path,
        stopping: threading.Event,
    ) -> None:
        self._resident = resident
        self._gallery = gallery
        self._data = data
        self._stopping = stopping

    def run(self, job: ReindexJob, delivery: Delivery, room: Room) -> str:
        """Build and publish, and tell how far it is meanwhile.

        Args:
            job: Who asked.
            delivery: Where the progress is told.
            room: What a message takes there.

        Returns:
            What was added, removed and unreadable.

        Raises:
            Problem: Another build is running, or the gallery cannot be indexed.
            Reject: The worker is ending. What was embedded is kept, and the next worker goes on.
        """
        started = time.monotonic()
        progress = _Progress()
        at_work_since = started

        def note(done: int, total: int) -> None:
            nonlocal at_work_since
            if self._stopping.is_set():
                raise _Ending
            progress.done, progress.total = done, total
            if time.monotonic() - at_work_since >= WORK_SECONDS:
                self._resident.courtesy.step_aside()
                at_work_since = time.monotonic()

        try:
            with _telling(progress, job.language, delivery):
                report = build_index(
                    self._gallery,
                    self._data,
                    *self._resident.building,
                    note,
                    language=job.language,
                )
        except _Ending:
            log.info("%s: the index build stops here and goes on later", job.id)
            raise Reject("ending", requeue=True) from None
        except ModelError as error:
            log.error("%s: %s", job.id, error)
            raise Problem("models_unusable") from error
        log.info(
            "%s: published version %s in %.0f s: %d pictures, %d faces, %d unreadable",
            job.id,
            report.version,
            time.monotonic() - started,
            report.pictures,
            report.faces,
            len(report.unreadable),
        )
        return summary(report, job.language, room.sentence, room.length)


class _Progress:
    """Pictures done, of how many."""

    def __init__(self) -> None:
        self.done = 0
        self.total = 0


@contextmanager
def _telling(progress: _Progress, language: str, delivery: Delivery) -> Iterator[None]:
    """Tell the progress again and again while the context lasts, and nothing after it."""
    over = threading.Event()

    def tell() -> None:
        told, pause = "", PROGRESS_EVERY
        while True:
            sentence = say("reindex_started", language)
            done, total = progress.done, progress.total
            if total:
                key = "reindex_progress" if done < total else "reindex_publishing"
                sentence = say(key, language, done=done, total=total)
            if sentence != told:
                try:
                    delivery.say(sentence, deadline=time.time() + PROGRESS_EVERY)
                except DeliveryFailed as failure:
                    log.warning("the progress could not be told: %s", failure)
                    pause = max(pause, failure.retry_after or 0.0)
                told = sentence
            if over.wait(pause):
                return
            pause = min(2 * pause, SLOWEST_PROGRESS)

    thread = threading.Thread(target=tell, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def summary(
    report: BuildReport, language: str, room: int, length: Callable[[str], int] = utf16_length
) -> str:
    """What a build did; long lists are cut and counted.

    Args:
        report: Of the build.
        language: An ISO 639-1 code.
        room: The most that it may be long.
        length: How long a text is, on its way to where it is shown.
    """
    lists = (
        ("reindex_added", list(report.added)),
        ("reindex_removed", list(report.removed)),
        ("reindex_unreadable", [f"{path} ({why})" for path, why in report.unreadable]),
    )
    said = [(key, names) for key, names in lists if names]
    lines = [
        say("reindex_done", language, pictures=report.pictures, faces=report.faces),
    ]
    if not said:
        lines.append(say("reindex_nothing", language))
    # What could not be read asks for something to be done, so it is served first.
    room -= sum(length(line) + 1 for line in lines)
    cut: dict[str, str] = {}
    for number, (key, names) in enumerate(reversed(said)):
        share = room // (len(said) - number)
        cut[key] = _list(key, names, language, share, length)
        room -= length(cut[key]) + 1
    return "\n".join([*lines, *(cut[key] for key, _ in said)])


def _list(
    key: str, names: Sequence[str], language: str, room: int, length: Callable[[str], int]
) -> str:
    """As many of `names` as fit into `room`, at least their number."""

    def line(shown: int) -> str:
        joined = ", ".join(names[:shown])
        if shown < len(names):
            joined = say("and_more", language, names=joined, count=len(names) - shown)
        return say(key, language, names=joined)

    if len(names) <= room and length(line(len(names))) <= room:
        return line(len(names))
    # Each name takes a character and a separator at least, so there is no need to try them all.
    most = min(len(names), max(0, room) // 3 + 1)
    shown = bisect_right(range(1, most + 1), room, key=lambda count: length(line(count)))
    return line(shown)
