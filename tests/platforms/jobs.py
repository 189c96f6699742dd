"""Jobs that wait in the queue, as a worker would read them, and their deadlines."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from redis import Redis

from core.job import ReindexJob, SimilarJob
from worker.app import INDEX_QUEUE, LOOK_QUEUE


def soon(seconds: float = 10) -> float:
    """A deadline."""
    return time.time() + seconds


def waiting_similar_jobs(redis: Redis) -> list[SimilarJob]:
    """Requests of people, the oldest first."""
    return [SimilarJob.model_validate(job) for job in _jobs(redis, LOOK_QUEUE)]


def waiting_reindex_jobs(redis: Redis) -> list[ReindexJob]:
    """Requests of admins, the oldest first."""
    return [ReindexJob.model_validate(job) for job in _jobs(redis, INDEX_QUEUE)]


def _jobs(redis: Redis, queue: str) -> list[Any]:
    # Kombu pushes at the left and takes from the right.
    messages = [json.loads(raw) for raw in reversed(redis.lrange(queue, 0, -1))]
    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    return [keyword_arguments["job"] for _, keyword_arguments, _ in bodies]
