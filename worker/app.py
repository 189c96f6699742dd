"""The queue: Celery and its settings. Bots import this module to enqueue; it loads no model."""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from celery import Celery
from kombu.entity import Queue
from redis import Redis
from redis.connection import parse_url

from core.problem import Problem
from core.settings import QueueSettings

LOOK_QUEUE: Final = "look"
INDEX_QUEUE: Final = "index"
SIMILAR_TASK: Final = "familiar.similar"
REINDEX_TASK: Final = "familiar.reindex"

WORKER_HEARTBEAT_KEY: Final = "familiar:worker"
"""Exists in Redis while any worker lives: each sets it again every few seconds."""

UNACKED_INDEX_KEY: Final = "unacked_index"
"""Kombu's sorted set of the jobs that workers have taken, by the time they last showed it."""

VISIBILITY_SECONDS: Final = 15
"""A job is handed out again when its worker has not shown itself for so long. `worker.claim`
renews every running job far more often, so this bounds the wait after a killed worker and not
the length of a job."""


def address_of(settings: QueueSettings) -> str:
    """The address of the settings' Redis server, as `open_redis` and `create_app` take it.

    Raises:
        Problem: No server is set, or its address cannot be read.
    """
    if settings.redis_url is None:
        raise Problem("queue_address_missing")
    try:
        broker_url(settings.redis_url)
    except ValueError:
        # The address may hold a password, so neither it nor the reason is repeated.
        raise Problem("queue_address_invalid") from None
    return settings.redis_url


def open_redis(redis_url: str) -> Redis:
    """A client of the server on which Celery keeps the queue. Nothing is sent to it yet.

    Raises:
        ValueError: redis-py cannot read the address, or Celery has no word for one of its options.
    """
    broker_url(redis_url)
    return Redis.from_url(redis_url, socket_connect_timeout=2, socket_timeout=5)


def broker_url(redis_url: str) -> str:
    """What Celery calls the database that redis-py calls `redis_url`.

    Celery reads addresses in its own way, so this one has no option but the database. What an
    address says of TLS is in `broker_tls`.

    Raises:
        ValueError: As `open_redis`.
    """
    address, options = urlsplit(redis_url), _options(redis_url)
    encrypted = address.scheme == "rediss"
    for name in parse_qs(address.query):
        if name != "db" and not (encrypted and name.startswith("ssl_")):
            raise ValueError(f"Celery cannot be told {name}")
    database = options.get("db", 0)
    if address.scheme == "unix":
        return f"redis+socket://{address.netloc}{address.path}?virtual_host={database}"
    return f"{address.scheme}://{address.netloc}/{database}"


def broker_tls(redis_url: str) -> dict[str, Any] | None:
    """What Celery is to ask of a ``rediss://`` server: a certificate, and one for this host.

    redis-py does so by itself, and Celery does not. Where the address names options of its own
    (``?ssl_ca_certs=...``), they come first.
    """
    if not redis_url.startswith("rediss://"):
        return None
    named = {name: value for name, value in _options(redis_url).items() if name.startswith("ssl_")}
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **named}


def _options(redis_url: str) -> dict[str, Any]:
    """The address in redis-py's own words."""
    return dict(parse_url(redis_url))  # type: ignore[no-untyped-call]


def create_app(redis_url: str) -> Celery:
    """The Celery application on a Redis server.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``, as redis-py takes it.

    Raises:
        ValueError: As `open_redis`.
    """
    app = Celery("familiar", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        # Redis refuses writes while its disk is full, and takes them again.
        broker_channel_error_retry=True,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_use_ssl=broker_tls(redis_url),
        broker_transport_options={
            "visibility_timeout": VISIBILITY_SECONDS,
            # Kombu looks for jobs of dead workers every `interval * throttle` seconds. Its
            # defaults make that 100 s, whatever the visibility timeout is.
            "unacked_restore_interval": 2,
            "unacked_restore_throttle": 1,
            # Held while it looks. A worker killed just then would keep all others from looking
            # for the default of five minutes.
            "unacked_mutex_expire": 5,
            "unacked_index_key": UNACKED_INDEX_KEY,
            # People before building.
            "queue_order_strategy": "priority",
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            "max_retries": 1,
        },
        result_backend=None,
        task_acks_late=True,
        task_create_missing_queues=False,
        task_default_queue=LOOK_QUEUE,
        task_ignore_result=True,
        task_queues=[Queue(LOOK_QUEUE), Queue(INDEX_QUEUE)],  # type: ignore[no-untyped-call]
        task_reject_on_worker_lost=True,
        task_routes={SIMILAR_TASK: LOOK_QUEUE, REINDEX_TASK: INDEX_QUEUE},
        task_serializer="json",
        # A lowered count leaves a job that Redis has already handed over lying in the socket,
        # where a killed worker loses it.
        worker_enable_prefetch_count_reduction=False,
        worker_enable_remote_control=False,
        worker_hijack_root_logger=False,
        worker_prefetch_multiplier=1,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_soft_shutdown_timeout=10.0,
    )
    return app


def send(queue: Celery, task: str, job_id: str, job: dict[str, Any]) -> None:
    """Put a job into the queue.

    Args:
        queue: The application of `create_app`.
        task: `SIMILAR_TASK` or `REINDEX_TASK`.
        job_id: The job's, and the message's.
        job: A `core.job.SimilarJob` or `ReindexJob`, as JSON has it.

    Raises:
        RedisError, OperationalError, OSError: Redis cannot be reached.
    """
    # Celery writes a task's arguments into logs and events; a job's may hold an interaction's
    # token, so only its id is shown there.
    queue.send_task(
        task,
        kwargs={"job": job},
        task_id=job_id,
        argsrepr="()",
        kwargsrepr=f"{{'job': {job_id}}}",
    )
