"""Uploaded pictures on their way from a bot to a worker, in Redis, for a limited time.

A picture is forgotten once every job that names it is answered, and in any case after its
lifetime. Where Redis keeps an append-only file, the picture's bytes stand there until that file is
written anew, so workers and bots ask for that (`erase_traces`) when something was forgotten, and so
does whoever stops the server (`erase_traces_now`).
"""

from __future__ import annotations

import hashlib
import logging
import time
from typing import Final, cast

from redis import Redis
from redis.exceptions import OutOfMemoryError, ResponseError

log = logging.getLogger(__name__)

UPLOADS_SHARE: Final = 0.75
"""Of the memory that Redis may use. The rest is kept for jobs, claims and heartbeats, which go on
where pictures come faster than they are answered."""

_UPLOAD: Final = "familiar:upload:"
"""Before a SHA-256: the picture's bytes."""

_WANTED: Final = "familiar:wanted:"
"""Before a SHA-256: the ids of the jobs that name the picture."""

_WANTS: Final = "familiar:wants:"
"""Before a job's id: the SHA-256 of its picture."""

_TRACES: Final = "familiar:traces"
"""The SHA-256 of all that may stand in the append-only file, each with its lifetime in seconds."""

_ERASED: Final = "familiar:erased"
"""Exists for a lifetime after a rewrite was asked for, so that none is asked for meanwhile."""

_LOOK_AGAIN_SECONDS: Final = 0.05

# KEYS: what the job wants; ARGV: the job's id, `_WANTED`, `_UPLOAD`. In one step, so that a picture
# that somebody sends once more just now is not taken from the new job.
_FORGET: Final = """
local sha256 = redis.call('GET', KEYS[1])
if not sha256 then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SREM', ARGV[2] .. sha256, ARGV[1])
if redis.call('SCARD', ARGV[2] .. sha256) > 0 then return 0 end
return redis.call('DEL', ARGV[3] .. sha256)
"""

# KEYS: `_TRACES`; ARGV: `_UPLOAD`, then hashes. One that was uploaded again meanwhile stays.
_DROP_TRACES: Final = """
for number = 2, #ARGV do
    if redis.call('EXISTS', ARGV[1] .. ARGV[number]) == 0 then
        redis.call('ZREM', KEYS[1], ARGV[number])
    end
end
"""


class UploadStore:
    """Bytes under their SHA-256, forgotten by themselves."""

    def __init__(self, redis: Redis, lifetime_seconds: int) -> None:
        self._redis = redis
        self._lifetime = lifetime_seconds

    def put(self, data: bytes, job: str = "") -> str:
        """Keep `data` for the store's lifetime, counted anew.

        Args:
            data: A picture's bytes.
            job: The id of the job that will name it; `forget` takes the bytes away once all jobs
                that name them are answered. Empty: they stay for their lifetime.

        Returns:
            Its SHA-256, 64 hexadecimal digits.

        Raises:
            OutOfMemoryError: Pictures take all of Redis' memory that they may.
            RedisError: Redis cannot be reached.
        """
        self._make_sure_of_room(len(data))
        sha256 = hashlib.sha256(data).hexdigest()
        with self._redis.pipeline(transaction=True) as steps:
            steps.set(_UPLOAD + sha256, data, ex=self._lifetime)
            steps.sadd(_WANTED + sha256, job)
            steps.expire(_WANTED + sha256, self._lifetime)
            if job:
                steps.set(_WANTS + job, sha256, ex=self._lifetime)
            steps.zadd(_TRACES, {sha256: self._lifetime})
            steps.execute()
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """The bytes, or None where they have been forgotten."""
        return cast("bytes | None", self._redis.get(_UPLOAD + sha256))

    def _make_sure_of_room(self, size: int) -> None:
        try:
            memory = self._redis.info("memory")
        except ResponseError as error:
            # Not every user of a shared server may ask; Redis itself refuses what is too much.
            log.debug("Redis does not say how much memory it uses: %s", error)
            return
        most = memory.get("maxmemory", 0)
        if most and memory["used_memory"] + size > UPLOADS_SHARE * most:
            raise OutOfMemoryError("pictures take all the memory of Redis that they may")


def forget(redis: Redis, job: str) -> None:
    """Take away the picture of an answered job, unless another job waits with the same one.

    Raises:
        RedisError: Redis cannot be reached; the picture goes after its lifetime.
    """
    redis.eval(_FORGET, 1, _WANTS + job, job, _WANTED, _UPLOAD)


def erase_traces(redis: Redis) -> bool:
    """Have Redis write its append-only file anew where it may hold forgotten pictures.

    Everybody may ask as often as they like: Redis is told at most once in a lifetime of the
    pictures. So the bytes of one are out of the file within about two lifetimes of its upload.

    Returns:
        Whether Redis began to write it anew.

    Raises:
        RedisError: Redis cannot be reached.
    """
    if redis.exists(_ERASED):
        return False
    traces = cast("list[tuple[bytes, float]]", redis.zrange(_TRACES, 0, -1, withscores=True))
    with redis.pipeline(transaction=False) as steps:
        # Asking also takes away what has expired, which would be written into the new file.
        for sha256, _ in traces:
            steps.exists(_UPLOAD + sha256.decode())
        there = steps.execute()
    gone = [trace for trace, found in zip(traces, there, strict=True) if not found]
    if not gone:
        return False
    lifetime = max(int(seconds) for _, seconds in gone)
    if not redis.set(_ERASED, 1, nx=True, ex=lifetime):
        return False
    begun = False
    try:
        # The command would make such a file also where none is kept.
        if redis.info("persistence").get("aof_enabled"):
            redis.bgrewriteaof()
            begun = True
            log.info("Redis writes its append-only file anew, without forgotten pictures")
    except ResponseError as error:
        if "in progress" in str(error):
            # It may have begun before the pictures were forgotten, so it does not count.
            redis.delete(_ERASED)
            return False
        log.warning(
            "Redis does not let its append-only file be rewritten, so forgotten pictures stay"
            " there until it does so by itself: %s",
            error,
        )
    redis.eval(_DROP_TRACES, 1, _TRACES, _UPLOAD, *(sha256 for sha256, _ in gone))
    return begun


def erase_traces_now(redis: Redis, seconds: float) -> bool:
    """As `erase_traces`, at once and to the end: for a server that is about to stop.

    Args:
        redis: Of the server.
        seconds: Within so many the file must be written.

    Returns:
        Whether no forgotten picture is left in the file, as far as Redis lets that be done.

    Raises:
        RedisError: Redis cannot be reached.
    """
    until = time.monotonic() + seconds
    # One that runs already may have begun before the last picture was forgotten.
    if not _rewritten(redis, until):
        return False
    redis.delete(_ERASED)
    return not erase_traces(redis) or _rewritten(redis, until)


def _rewritten(redis: Redis, until: float) -> bool:
    """Wait for what Redis is writing anew; False where that takes longer."""
    while time.monotonic() < until:
        state = redis.info("persistence")
        if not (state.get("aof_rewrite_in_progress") or state.get("aof_rewrite_scheduled")):
            return True
        time.sleep(_LOOK_AGAIN_SECONDS)
    return False
