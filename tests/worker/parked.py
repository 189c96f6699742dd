"""Jobs that are parked beside the queue."""

from __future__ import annotations

import json

from redis import Redis

from worker.parking import PARKED_KEY


def parked(redis: Redis) -> dict[str, float]:
    """By id, when each goes back to the queue, in seconds since the epoch."""
    entries = redis.zrange(PARKED_KEY, 0, -1, withscores=True)
    return {json.loads(text.partition(b" ")[2])["id"]: when for text, when in entries}
