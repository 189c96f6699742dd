"""The worker process: loads the models once and answers from the queue until it is stopped."""

from __future__ import annotations

import logging
import sys
import threading
from functools import partial
from typing import Any, Final

from celery import signals
from redis.exceptions import RedisError

from core.models import ModelError
from core.models.chosen import load_models
from core.problem import Problem
from core.redaction import hide_secrets
from core.settings import Settings
from worker.app import INDEX_QUEUE, LOOK_QUEUE, address_of, create_app, open_redis
from worker.claim import Claims, own_heartbeat_key
from worker.consumer import Consumer
from worker.delivery.routes import Routes
from worker.parking import Parking
from worker.reindex import Reindexer
from worker.resident import Resident
from worker.store import UploadStore
from worker.tasks import Answering, add_tasks

log = logging.getLogger(__name__)

JOBS_AT_ONCE: Final = 8
"""Jobs that one worker has in hand. Most of their time passes with the platforms' servers; what
they compute goes through one batcher, and a reindex takes one place at most."""

_QUIET: Final = {
    # A line for each request to a platform, and for each job beside ours.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "celery.worker.strategy": logging.WARNING,
    # A traceback for each job that is put back, which we say in one line.
    "celery.app.trace": logging.ERROR,
}
"""Loggers of libraries, and from which level on they are heard."""


class FirstLine(logging.Filter):
    """Cuts what Celery says of messages that are none of our tasks: the further lines repeat the
    message, which may hold an interaction's token."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, shortened."""
        record.msg, record.args = record.getMessage().partition("\n")[0], None
        record.exc_info = record.exc_text = None
        return True


class InOneLine(logging.Filter):
    """Cuts the traceback of what Redis refuses or leaves unanswered, which is no fault of ours."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record, shortened."""
        if record.exc_info and isinstance(record.exc_info[1], RedisError):
            record.exc_info = record.exc_text = None
        return True


def check(settings: Settings) -> bool:
    """Whether a worker is alive on this machine, also one that is busy. For health checks.

    Raises:
        Problem: No Redis server is set, or its address cannot be read.
    """
    try:
        with open_redis(address_of(settings.queue)) as redis:
            return bool(redis.exists(own_heartbeat_key()))
    except RedisError:
        return False


def run(settings: Settings) -> None:
    """Answer jobs until SIGTERM; then finish those in hand and leave the rest in the queue.

    A worker whose models cannot be used runs all the same, and tells everyone who asks.

    Raises:
        Problem: No Redis server is set, its address cannot be read, or it refuses the worker for
            good, as with a wrong password.
        KeyboardInterrupt: It was Ctrl+C that ended it, in the same orderly way.
    """
    hide_secrets(settings)
    for name, level in _QUIET.items():
        logging.getLogger(name).setLevel(level)
    logging.getLogger("celery.worker.consumer.consumer").addFilter(FirstLine())
    # Where Kombu looks for jobs of dead workers.
    logging.getLogger("kombu.asynchronous.hub").addFilter(InOneLine())
    address = address_of(settings.queue)
    redis = open_redis(address)
    stopping = threading.Event()
    resident = _resident(settings)
    gallery = settings.gallery
    claims = Claims(redis)
    routes = Routes(settings)
    app = create_app(address)
    parking = Parking(redis, app)
    add_tasks(
        app,
        Answering(
            claims=claims,
            uploads=UploadStore(redis, settings.limit.upload_minutes * 60),
            routes=routes,
            parking=parking,
            resident=resident,
            reindexer=None
            if resident is None
            else Reindexer(resident, gallery.gallery, gallery.data, stopping),
            gallery=gallery.gallery,
            limits=settings.limit.picture,
            stopping=stopping,
        ),
    )

    # Celery keeps weak references to what it calls.
    def begin(**_: Any) -> None:
        claims.start()
        parking.start()
        log.info("at work")

    ended_by: list[str] = []
    refusals: list[Exception] = []

    def end(sig: str = "", **_: Any) -> None:
        ended_by.append(sig)
        stopping.set()

    def give_up(refusal: Exception) -> None:
        refusals.append(refusal)
        stopping.set()

    signals.worker_ready.connect(begin)
    signals.worker_shutting_down.connect(end)
    worker = app.Worker(
        pool="threads",
        concurrency=JOBS_AT_ONCE,
        consumer_cls=partial(Consumer, on_refusal=give_up),
        queues=[LOOK_QUEUE, INDEX_QUEUE],
        without_gossip=True,
        without_heartbeat=True,
        without_mingle=True,
        quiet=True,
        loglevel=settings.log.level,
    )
    try:
        worker.start()
    finally:
        parking.stop()
        claims.stop()
        routes.close()
        if resident is not None:
            resident.close()
        redis.close()
    if "SIGINT" in ended_by:
        raise KeyboardInterrupt
    if refusals:
        raise Problem("queue_refuses", reason=str(refusals[0]).rstrip("."))
    if worker.exitcode:
        sys.exit(worker.exitcode)


def _resident(settings: Settings) -> Resident | None:
    resident = None
    try:
        detector, extractor = load_models(settings.model, look=False)
        log.info("loaded detector %s and extractor %s", detector.name, extractor.name)
        resident = Resident(detector, extractor, settings.gallery.data)
        resident.warm_up()
    except ModelError as error:
        log.error("the models cannot be used, and everyone who asks is told so: %s", error)
        if resident is not None:
            resident.close()
        return None
    try:
        resident.searcher()
    except Problem as problem:
        log.warning("there is no index to answer from yet: %s", problem)
    return resident
