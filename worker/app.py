"""The queue: Celery and its settings. Bots import this module to enqueue; it loads no model."""

from __future__ import annotations

from typing import Final

from celery import Celery
from kombu.entity import Queue

LOOK_QUEUE: Final = "look"
INDEX_QUEUE: Final = "index"
SIMILAR_TASK: Final = "familiar.similar"
REINDEX_TASK: Final = "familiar.reindex"

WORKER_HEARTBEAT_KEY: Final = "familiar:worker"
"""Exists in Redis while any worker lives: each sets it again every few seconds."""

VISIBILITY_SECONDS: Final = 30
"""A job whose worker was killed is handed out again after this time. A job that merely takes
longer is handed out again too, which is why every task claims its job before it works."""


def broker_url(redis_url: str) -> str:
    """What Celery calls the Redis server that redis-py calls `redis_url`."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def create_app(redis_url: str) -> Celery:
    """The Celery application on a Redis server.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it.
    """
    app = Celery("familiar", broker=broker_url(redis_url))
    app.conf.update(
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            # Kombu looks for jobs to restore every `interval` polls, each ten seconds apart
            # under load; its defaults make a killed worker's job wait for over a minute.
            "unacked_restore_interval": 2,
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "max_retries": 1,
        },
        result_backend=None,
        task_acks_late=True,
        task_create_missing_queues=False,
        task_default_queue=LOOK_QUEUE,
        task_ignore_result=True,
        task_queues=[Queue(LOOK_QUEUE), Queue(INDEX_QUEUE)],
        task_reject_on_worker_lost=True,
        task_routes={SIMILAR_TASK: LOOK_QUEUE, REINDEX_TASK: INDEX_QUEUE},
        task_serializer="json",
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_soft_shutdown_timeout=10.0,
    )
    return app
