"""From a platform's event to a job in the queue; the same for every platform.

A bot asks in this order: `Intake.first_sight` of the event, then `Intake.allow`, then its
placeholder, then `Intake.worker_alive`, to say in the placeholder that nobody is at work, and last
`Intake.similar` or `Intake.reindex`. Who is over the limit gets no placeholder, so that nobody can
make a bot post more than its platform lets it; what it posts without a job, such as its help, goes
through `Intake.words` or `Intake.refusal`, and counts in the same limit, but for what a command of
Discord answers to its asker alone (`bot.discord.asking.Asking.answer`). Once a job is in the queue
its placeholder belongs to the worker alone, so a warning can never overwrite an answer. Redis is
spoken to on threads, so a slow or dead server never holds up the bot's event loop.

What a bot has in hand when it is killed is not lost in silence: its next process, or another one
that runs beside it, asks the people to send their pictures again (`Intake.keep_asking`).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias, TypeVar

from celery import Celery
from kombu.exceptions import OperationalError
from pydantic import ValidationError
from redis import Redis
from redis.exceptions import RedisError

from core.job import Destination, ReindexJob, SimilarJob
from core.look import Look
from core.picture import check
from core.problem import Problem
from core.settings import Settings
from core.texts import closest_language
from worker.app import (
    REINDEX_TASK,
    SIMILAR_TASK,
    WORKER_HEARTBEAT_KEY,
    address_of,
    create_app,
    open_redis,
    send,
)
from worker.store import UploadStore

log = logging.getLogger(__name__)

Fetch: TypeAlias = Callable[[], Awaitable[bytes]]
"""Downloads a picture from the platform's own host, or raises a problem such as
`PictureNotFetched`."""

_Result = TypeVar("_Result")

LIMIT_SECONDS: Final = 60
"""Requests are limited within so long."""

EVENT_MEMORY_SECONDS: Final = 24 * 3600
"""Telegram keeps updates for a day, so none is repeated later than that."""

BEGUN_SECONDS: Final = 120
"""An event that was seen is remembered for so long until its request is taken, or refused."""

_IN_HAND: Final = "familiar:in-hand:"
"""Before an event: its job, while a bot fetches the picture."""

_HELD: Final = "familiar:held:"
"""Before a platform: its events in hand, each with a number that the bot which has it counts up."""

_WRITABLE: Final = "familiar:writable"
"""Set at each look, for nothing but to learn that Redis takes what bots write."""

LOOK_SECONDS: Final = 5.0
"""As often a bot counts up, and looks what others have in hand."""

LEFT_SECONDS: Final = 20.0
"""Whoever has not counted up for so long was killed."""

_NO_PICTURE: Final = hashlib.sha256(b"").hexdigest()
"""Nothing is ever stored under it, because an empty file is no picture."""

REINDEX_SECONDS: Final = 6 * 3600
"""A reindex that has not ended after so long is given up."""


class PictureNotFetched(Problem):
    """The platform did not hand the picture out."""

    def __init__(self) -> None:
        super().__init__("picture_not_fetched")


class QueueUnreachable(Problem):
    """Redis cannot be reached, is full, or does not do as it is told."""


class TooManyRequests(Problem):
    """This person asked too often within a minute.

    Attributes:
        first: Nothing was refused to the person within that minute before.
    """

    def __init__(self, seconds: int, *, first: bool) -> None:
        super().__init__("too_many_requests", seconds=seconds)
        self.first = first


class Intake:
    """Checks, limits, remembers, stores and enqueues."""

    def __init__(self, settings: Settings, redis: Redis, queue: Celery) -> None:
        self._limit = settings.limit
        self._redis = redis
        self._queue = queue
        self._uploads = UploadStore(redis, settings.limit.upload_minutes * 60)
        self._fetching: set[str] = set()
        self._unsettled: set[str] = set()
        self._seen: dict[str, tuple[bytes, float]] = {}
        self._counted: Counter[str] = Counter()
        self._counted_until = 0.0

    @classmethod
    def connect(cls, settings: Settings) -> Intake:
        """An intake on the Redis server of the settings. Nothing is sent to it yet.

        Raises:
            core.problem.Problem: No server is set, or its address cannot be read.
        """
        address = address_of(settings.queue)
        return cls(settings, open_redis(address), create_app(address))

    @property
    def kept_minutes(self) -> int:
        """For so many minutes a request waits for a worker to come back."""
        return min(self._limit.upload_minutes, self._limit.answer_minutes)

    async def first_sight(self, event: str) -> bool:
        """Remember a platform's event; False where it was seen before and is to be ignored.

        Raises:
            QueueUnreachable: Redis is down.
        """
        fresh = await _ask(lambda: self._redis.set(_event(event), 1, nx=True, ex=BEGUN_SECONDS))
        return bool(fresh)

    async def keep_asking(self, platform: str) -> None:
        """`ask_again`, again and again until cancelled. A bot does so for as long as it has
        anything in hand: this also keeps others from taking it for killed."""
        while True:
            await self.ask_again(platform)
            await asyncio.sleep(LOOK_SECONDS)

    async def ask_again(self, platform: str) -> None:
        """Show that this bot lives, and have all those told to send their picture again whose
        request a bot of this platform had in hand when it was killed; never raises.

        Their jobs are enqueued without a picture, which the worker says in their placeholders.
        """
        for event in tuple(self._unsettled):
            await self._settle(event)
        ours = self._fetching | self._unsettled
        try:
            for event, job in await _ask(partial(self._left_behind, platform, ours)):
                await self._ask_for(event, job)
        except QueueUnreachable as problem:
            # Nor could the others show that they live, as little as where Redis takes no writes.
            self._seen.clear()
            log.debug("Nobody is asked to send a picture again: %s", problem.__cause__)

    def _left_behind(self, platform: str, ours: set[str]) -> list[tuple[str, bytes | str | None]]:
        """The events that nobody has counted up for `LEFT_SECONDS`, and their jobs; None where
        there is none any more."""
        with self._redis.pipeline(transaction=False) as steps:
            steps.set(_WRITABLE, 1, ex=EVENT_MEMORY_SECONDS)
            for event in ours:
                steps.hincrby(_held(event), event, 1)
            steps.hgetall(_held(platform))
            held: dict[bytes, bytes] = steps.execute()[-1]
        now = time.monotonic()
        seen, left = {}, []
        for event, count in ((event.decode(), count) for event, count in held.items()):
            before, since = self._seen.get(event, (None, now))
            if count != before:
                since = now
            elif now - since >= LEFT_SECONDS:
                left.append(event)
            seen[event] = count, since
        self._seen = seen
        return [(event, self._redis.get(_IN_HAND + event)) for event in left]

    async def _ask_for(self, event: str, job: bytes | str | None) -> None:
        if job is not None:
            log.warning("%s was in hand when the bot was killed", event)
            try:
                await self._enqueue(SIMILAR_TASK, SimilarJob.model_validate_json(job))
                return
            except ValidationError:
                log.warning("%s cannot be asked for again: its job has another form", event)
        await self._settle(event)

    async def allow(self, person: str) -> None:
        """Count a request of `person`, such as ``discord-17``, before anything is posted for it.

        Raises:
            TooManyRequests: More than the limit within a minute; says when to come back.
            QueueUnreachable: Redis is down.
        """
        key = f"familiar:rate:{person}"

        def count() -> tuple[int, int]:
            with self._redis.pipeline(transaction=True) as steps:
                steps.set(key, 0, nx=True, ex=LIMIT_SECONDS)
                steps.incr(key)
                steps.ttl(key)
                _, requests, seconds = steps.execute()
            return requests, seconds

        requests, seconds = await _ask(count)
        over = requests - self._limit.requests_per_minute
        if over > 0:
            raise TooManyRequests(max(1, seconds), first=over == 1)

    async def words(self, person: str, language: str, sentence: str) -> str | None:
        """Count an answer that no job stands behind, such as help, among a person's requests.

        Returns:
            What to post: `sentence`, or once a minute that it is too much; None: nothing. Where
            Redis is down, what this process has counted decides.
        """
        try:
            await self.allow(person)
        except TooManyRequests as refused:
            return self.refusal(person, language, refused)
        except QueueUnreachable:
            return sentence if self._within_own_count(person) else None
        return sentence

    def refusal(self, person: str, language: str, problem: Problem) -> str | None:
        """What to post where `first_sight` or `allow` has raised `problem`; None: nothing.

        A bot that need not answer keeps silent after its first word, so that nobody can make it
        post without end, also while Redis is down.
        """
        if isinstance(problem, TooManyRequests):
            return problem.sentence(language) if problem.first else None
        return problem.sentence(language) if self._within_own_count(person) else None

    def _within_own_count(self, person: str) -> bool:
        now = time.monotonic()
        if now >= self._counted_until:
            self._counted.clear()
            self._counted_until = now + LIMIT_SECONDS
        self._counted[person] += 1
        return self._counted[person] <= self._limit.requests_per_minute

    async def similar(
        self,
        *,
        event: str,
        data: bytes | Fetch,
        look: Look,
        count: int,
        destination: Destination,
        language: str,
        spoiler: bool = False,
    ) -> None:
        """Enqueue a picture's request, which `allow` has counted.

        Args:
            event: The platform's event, such as ``discord-123`` or ``telegram-99-1``; the job's
                id as well.
            data: The picture's bytes, or how to fetch them.
            look: What *similar* means.
            count: Matches for each face, 1..9.
            destination: The placeholder that the answer replaces.
            language: As the platform names it, such as ``pt-BR``.
            spoiler: The picture is covered where it was sent, and the answer is to be so, too.

        Raises:
            core.problem.Problem: Not a usable picture, or Redis is down.
        """
        now = time.time()
        seconds = self._limit.answer_minutes * 60
        job = SimilarJob(
            id=event,
            destination=destination,
            language=closest_language(language),
            asked_at=now,
            deadline=now + seconds,
            upload=_NO_PICTURE,
            look=look,
            count=count,
            spoiler=spoiler,
        )
        await _ask(lambda: self._begin(job, seconds))
        self._fetching.add(event)
        try:
            content = data if isinstance(data, bytes) else await data()
            await asyncio.to_thread(check, content, self._limit.picture)
            sha256 = await _ask(lambda: self._uploads.put(content, event))
            await self._enqueue(SIMILAR_TASK, job.model_copy(update={"upload": sha256}))
        except Exception:
            # The bot says why. Where it is stopped instead, `ask_again` has the last word.
            await self._settle(event)
            raise
        finally:
            self._fetching.discard(event)

    async def reindex(self, *, event: str, destination: Destination, language: str) -> None:
        """Enqueue an admin's request to bring the index up to date.

        Raises:
            QueueUnreachable: Redis is down.
        """
        now = time.time()
        await self._enqueue(
            REINDEX_TASK,
            ReindexJob(
                id=event,
                destination=destination,
                language=closest_language(language),
                asked_at=now,
                deadline=now + REINDEX_SECONDS,
            ),
        )

    async def worker_alive(self) -> bool:
        """Whether any worker has shown itself within the last seconds.

        Raises:
            QueueUnreachable: Redis is down.
        """
        return bool(await _ask(lambda: self._redis.exists(WORKER_HEARTBEAT_KEY)))

    async def _enqueue(self, task: str, job: SimilarJob | ReindexJob) -> None:
        await _ask(lambda: send(self._queue, task, job.id, job.model_dump(mode="json")))
        await self._settle(job.id)

    def _begin(self, job: SimilarJob, seconds: int) -> None:
        """Note that this bot has a request in hand, for so many seconds at most."""
        with self._redis.pipeline(transaction=True) as steps:
            steps.set(_IN_HAND + job.id, job.model_dump_json(), ex=seconds)
            steps.hset(_held(job.id), job.id, "0")
            steps.expire(_held(job.id), seconds)
            steps.execute()

    async def _settle(self, event: str) -> None:
        """Note that there is nothing left to do for an event here, however often it comes."""

        def note() -> None:
            with self._redis.pipeline(transaction=False) as steps:
                steps.delete(_IN_HAND + event)
                steps.hdel(_held(event), event)
                steps.set(_event(event), 1, ex=EVENT_MEMORY_SECONDS)
                steps.execute()

        try:
            await _ask(note)
        except QueueUnreachable as problem:
            # The request itself stands, or was refused, all the same. `ask_again` tries it anew.
            if event not in self._unsettled:
                log.warning("%s could not be written down as settled: %s", event, problem.__cause__)
            self._unsettled.add(event)
        else:
            self._unsettled.discard(event)


def _held(event: str) -> str:
    """Of an event's platform, or of a platform."""
    return _HELD + event.partition("-")[0]


def _event(event: str) -> str:
    return f"familiar:event:{event}"


async def _ask(call: Callable[[], _Result]) -> _Result:
    """Run a call to Redis on a thread; whatever Redis does wrong is one problem."""
    try:
        return await asyncio.to_thread(call)
    except (RedisError, OperationalError, OSError) as error:
        raise QueueUnreachable("queue_unreachable") from error
