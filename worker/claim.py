"""Exactly one answer to a job, however often the queue hands it out.

A worker claims a job before it works on it, keeps showing that it lives while it works, and
writes down that the job is answered. A worker that dies stops showing it: its claims end first
(`CLAIM_SECONDS`), and then the queue hands its jobs out again (`worker.app.VISIBILITY_SECONDS`),
so whoever gets them finds them free. A job handed out again although its worker lives, because
that worker was held up, is either found answered or found claimed.

Each beginning and each end is counted, so that a job of which workers die is known.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum, auto
from typing import Final, cast

from redis import Redis
from redis.exceptions import RedisError

from worker.app import UNACKED_INDEX_KEY, VISIBILITY_SECONDS, WORKER_HEARTBEAT_KEY
from worker.store import erase_traces, forget

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 3.0
CLAIM_SECONDS: Final = 12
HEARTBEAT_SECONDS: Final = 15
ANSWERED_SECONDS: Final = 24 * 3600
BEGUN_SECONDS: Final = 3600
REMEMBERED: Final = 10_000

assert 3 * BEAT_SECONDS < CLAIM_SECONDS < VISIBILITY_SECONDS  # noqa: S101 - two beats may fail

# KEYS: a claim, its answered key, its begun key; ARGV: the claim's owner, seconds of the claim, and
# of the begun key. A claim that ran out while its owner was held up is taken again where nobody
# else has taken it since.
_RENEW: Final = """
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[3])
return 1
"""

# KEYS: a begun key; ARGV: what comes to it, seconds. Never less than nothing: an end whose
# beginning ran out, or one that is written twice, would hide the next death.
_COUNT: Final = """
local begun = math.max(0, tonumber(redis.call('GET', KEYS[1]) or 0) + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], begun, 'EX', ARGV[2])
"""

_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0
"""


class Standing(Enum):
    """How a job stands when a worker asks for it."""

    OURS = auto()
    ANSWERED = auto()
    ELSEWHERE = auto()
    """Somebody else is at work on it, or was until a few seconds ago."""


def own_heartbeat_key() -> str:
    """Exists while a worker lives on this machine, or in this container."""
    return f"{WORKER_HEARTBEAT_KEY}:{socket.gethostname()}"


def claim_key(job_id: str) -> str:
    """Names the worker that is at work on a job."""
    return f"familiar:claim:{job_id}"


def answered_key(job_id: str) -> str:
    """Exists for a day after a job was answered."""
    return f"familiar:answered:{job_id}"


def begun_key(job_id: str) -> str:
    """Counts the beginnings of a job that have not ended."""
    return f"familiar:begun:{job_id}"


def said_key(job_id: str) -> str:
    """What is to be said of a job that is done, until it is answered."""
    return f"familiar:said:{job_id}"


class Claims:
    """The jobs that this worker has claimed, kept alive by a thread of its own.

    The thread also writes the worker's heartbeat, and sees to it that forgotten pictures do not
    stay in Redis' append-only file. It shares nothing with the work but the interpreter, so it
    beats while every other thread computes.
    """

    def __init__(self, redis: Redis, *, beat_seconds: float = BEAT_SECONDS) -> None:
        self._redis = redis
        self._beat_seconds = beat_seconds
        self._owner = f"{os.getpid()}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._beating = threading.Lock()
        self._held: set[str] = set()
        self._messages: dict[str, int] = {}
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._renew = redis.register_script(_RENEW)
        self._release = redis.register_script(_RELEASE)
        self._add = redis.register_script(_COUNT)
        self._unwritten: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
        self._redis_was_there = True

    def start(self) -> None:
        """Beat once, and go on from a thread."""
        self.beat()
        self._thread.start()

    def stop(self) -> None:
        """Beat no more, and take back the heartbeat so that bots know at once."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            for key in (WORKER_HEARTBEAT_KEY, own_heartbeat_key()):
                self._release(keys=[key], args=[self._owner])
        except RedisError as error:
            log.warning("the heartbeat could not be taken back: %s", error)

    @contextmanager
    def attending(self, message: str) -> Iterator[None]:
        """Keep the queue from handing out again the message with this delivery tag."""
        with self._lock:
            self._messages[message] = self._messages.get(message, 0) + 1
        try:
            yield
        finally:
            with self._lock:
                self._messages[message] -= 1
                if not self._messages[message]:
                    del self._messages[message]

    def take(self, job_id: str) -> Standing:
        """Claim a job.

        Raises:
            RedisError: Redis cannot be reached.
        """
        with self._lock:
            if job_id in self._answered:
                return Standing.ANSWERED
        claimed = self._redis.set(claim_key(job_id), self._owner, nx=True, ex=CLAIM_SECONDS)
        # Asked after claiming: an answer given before the claim is never overlooked.
        if self._redis.exists(answered_key(job_id)):
            if claimed:
                self.release(job_id)
            return Standing.ANSWERED
        if not claimed:
            return Standing.ELSEWHERE
        with self._lock:
            self._held.add(job_id)
        return Standing.OURS

    def holds(self, job_id: str) -> bool:
        """Whether the claim is still this worker's: asked before anything is delivered.

        Where Redis cannot be reached, as far as the last beat could tell.
        """
        with self._beating:
            with self._lock:
                held = job_id in self._held
            try:
                lost = self._show([job_id], []) if held else []
            except RedisError as error:
                log.warning("%s: its claim could not be looked at: %s", job_id, error)
                return held
        self._lose(lost)
        return held and not lost

    def answered(self, job_id: str) -> None:
        """Write down that the job needs no answer any more, and let go of it and of its picture.

        Where Redis cannot be reached, this worker remembers it for itself.
        """
        with self._lock:
            self._answered[job_id] = None
            while len(self._answered) > REMEMBERED:
                self._answered.popitem(last=False)
        try:
            self._redis.set(answered_key(job_id), 1, ex=ANSWERED_SECONDS)
            self._redis.delete(said_key(job_id))
            # Only now: whoever gets the job again must find either its picture or this.
            forget(self._redis, job_id)
        except RedisError as error:
            log.warning("%s: could not be written down as answered: %s", job_id, error)
        self.release(job_id)

    def release(self, job_id: str) -> None:
        """Let go of a job, answered or not."""
        with self._lock:
            self._held.discard(job_id)
        try:
            # A beat on its way would renew the claim just after it was let go.
            with self._beating:
                self._release(keys=[claim_key(job_id)], args=[self._owner])
        except RedisError as error:
            log.warning("%s: its claim runs out by itself: %s", job_id, error)

    def keep(self, job_id: str, sentence: str) -> None:
        """Keep what is to be said of a job that is done: doing it again would say something else.

        Raises:
            RedisError: Redis cannot be reached.
        """
        self._redis.set(said_key(job_id), sentence, ex=ANSWERED_SECONDS)

    def kept(self, job_id: str) -> str | None:
        """What was kept of the job.

        Raises:
            RedisError: Redis cannot be reached.
        """
        sentence = cast("bytes | None", self._redis.get(said_key(job_id)))
        return None if sentence is None else sentence.decode()

    def unended(self, job_id: str) -> int:
        """How often work on a job was begun and not ended, as where the worker died of it. An hour
        after the last sign of such work it is forgotten.

        Raises:
            RedisError: Redis cannot be reached.
        """
        begun = int(cast("bytes | None", self._redis.get(begun_key(job_id))) or 0)
        with self._lock:
            return max(0, begun - self._unwritten[job_id])

    @contextmanager
    def counting(self, job_id: str) -> Iterator[None]:
        """Work on a job ends, well or not, where the context is left. Where that cannot be written,
        this worker remembers it, and writes it with a later beat.

        Raises:
            RedisError: Redis cannot be reached.
        """
        try:
            # Inside: Redis may have counted it although its reply was lost.
            self._count(job_id, 1)
            yield
        finally:
            try:
                self._count(job_id, -1)
            except RedisError as error:
                log.warning("%s: that work on it ended is written later: %s", job_id, error)
                with self._lock:
                    self._unwritten[job_id] += 1

    def _count(self, job_id: str, change: int) -> None:
        self._add(keys=[begun_key(job_id)], args=[change, BEGUN_SECONDS])

    def _write_ends(self) -> None:
        """Write the ends that could not be written when they came."""
        with self._lock:
            unwritten = +self._unwritten
        for job_id, ends in unwritten.items():
            self._count(job_id, -ends)
            with self._lock:
                self._unwritten[job_id] -= ends
        with self._lock:
            self._unwritten = +self._unwritten

    def _run(self) -> None:
        while not self._stopping.wait(self._beat_seconds):
            self.beat()
            if self._redis_was_there:
                self._erase()

    def _erase(self) -> None:
        try:
            erase_traces(self._redis)
        except RedisError as error:
            log.debug("forgotten pictures may still stand in Redis' file: %s", error)

    def beat(self) -> None:
        """Show once that this worker lives and what it is at work on. Never raises."""
        with self._beating:
            with self._lock:
                held = sorted(self._held)
                messages = sorted(self._messages)
            try:
                lost = self._show(held, messages)
                self._write_ends()
            except RedisError as error:
                if self._redis_was_there:
                    log.warning("Redis cannot be reached: %s", error)
                self._redis_was_there = False
                return
        if not self._redis_was_there:
            log.info("Redis is back")
        self._redis_was_there = True
        self._lose(lost)

    def _lose(self, jobs: list[str]) -> None:
        with self._lock:
            self._held.difference_update(jobs)
        for job_id in jobs:
            log.warning("%s: another worker has taken over", job_id)

    def _show(self, held: list[str], messages: list[str]) -> list[str]:
        """Send one beat; the jobs among `held` that are not this worker's any more."""
        with self._redis.pipeline(transaction=False) as steps:
            for key in (WORKER_HEARTBEAT_KEY, own_heartbeat_key()):
                steps.set(key, self._owner, ex=HEARTBEAT_SECONDS)
            if messages:
                # Only those still there: a message that was acknowledged stays gone.
                steps.zadd(UNACKED_INDEX_KEY, dict.fromkeys(messages, time.time()), xx=True)
            for job_id in held:
                self._renew(
                    keys=[claim_key(job_id), answered_key(job_id), begun_key(job_id)],
                    args=[self._owner, CLAIM_SECONDS, BEGUN_SECONDS],
                    client=steps,
                )
            kept = steps.execute()[2 + bool(messages) :]
        return [job_id for job_id, still in zip(held, kept, strict=True) if not still]
