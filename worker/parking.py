"""Jobs that wait for their time in Redis, beside the queue, where they take nobody's place."""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Final, cast

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError

from core.job import ReindexJob, SimilarJob
from worker.app import REINDEX_TASK, SIMILAR_TASK, send

log = logging.getLogger(__name__)

PARKED_KEY: Final = "familiar:parked"
"""A sorted set: each job after its task's name, by the time when it goes back to the queue."""

LOOK_EVERY: Final = 0.5
"""Seconds between looks at whose time has come."""

SENDING_SECONDS: Final = 15.0
"""A job that a worker was about to put back into the queue, and did not, is tried again after so
long, by whichever worker looks first."""

# KEYS: `PARKED_KEY`; ARGV: now, when to try again. In one step, so that each job is one worker's.
_TAKE_DUE: Final = """
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 100)
for _, each in ipairs(due) do redis.call('ZADD', KEYS[1], ARGV[2], each) end
return due
"""

# KEYS: `PARKED_KEY`; ARGV: a job, its time. A job parked again meanwhile has another time, and
# stays.
_DROP: Final = """
if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) == tonumber(ARGV[2]) then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
"""


class Parking:
    """Keeps jobs until their time, and puts them back into the queue from a thread of its own.

    A job is in the queue again before it leaves here, so a worker that is killed loses none; one
    that comes twice by that is answered once, by its claim.
    """

    def __init__(self, redis: Redis, queue: Celery) -> None:
        self._redis = redis
        self._queue = queue
        self._take_due = redis.register_script(_TAKE_DUE)
        self._drop = redis.register_script(_DROP)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="parking", daemon=True)

    def start(self) -> None:
        """Look whose time has come, again and again."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more. What is parked stays for another worker."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def park(self, job: SimilarJob | ReindexJob, when: float) -> None:
        """Keep a job until `when`, in seconds since the epoch.

        Raises:
            RedisError: Redis cannot be reached.
        """
        task = REINDEX_TASK if isinstance(job, ReindexJob) else SIMILAR_TASK
        self._redis.zadd(PARKED_KEY, {f"{task} {job.model_dump_json()}": when})

    def send_due(self) -> None:
        """Put the jobs whose time has come back into the queue.

        Raises:
            RedisError, OperationalError, OSError: Redis cannot be reached.
        """
        now = time.time()
        again = now + SENDING_SECONDS
        for parked in cast("list[bytes]", self._take_due(keys=[PARKED_KEY], args=[now, again])):
            task, _, text = parked.decode(errors="replace").partition(" ")
            try:
                job = json.loads(text)
                job_id = str(job["id"])
            except (ValueError, KeyError, TypeError) as error:
                log.error("what was parked is no job and is dropped: %s", type(error).__name__)
                self._drop(keys=[PARKED_KEY], args=[parked, again])
                continue
            send(self._queue, task, job_id, job)
            self._drop(keys=[PARKED_KEY], args=[parked, again])

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY):
            try:
                self.send_due()
            except (RedisError, OperationalError, OSError) as error:
                log.debug("parked jobs stay where they are: %s", error)
            except Exception:  # else nobody would look again, and all of them would wait for ever
                log.exception("parked jobs could not be put back, and stay where they are")
