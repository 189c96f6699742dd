"""The two tasks: a job comes from the queue, is claimed, worked on, delivered and written down.

A task returns, which takes its job off the queue, once the job needs no answer any more, or is
parked until its chat takes one. A job goes back to the queue's end with `Reject` where another
worker is to go on with it, or where Redis is away.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from celery import Celery, Task
from celery.exceptions import Reject
from pydantic import ValidationError
from redis.exceptions import RedisError

from core.caption import caption
from core.collage import draw
from core.job import FileDestination, ReindexJob, SimilarJob
from core.picture import Limits, PixelBudget, decode, pixels_in
from core.problem import Problem
from core.steps import Steps
from core.texts import say
from worker.app import REINDEX_TASK, SIMILAR_TASK
from worker.batcher import BatcherClosed
from worker.claim import Claims, Standing
from worker.delivery import Delivery, DeliveryFailed
from worker.delivery.routes import Routes, room_at
from worker.parking import Parking
from worker.patience import Patience
from worker.reindex import Reindexer
from worker.resident import Resident
from worker.store import UploadStore

log = logging.getLogger(__name__)

ATTEMPT_SECONDS: Final = 10.0
"""A delivery that the platform does not take within this time gives its hand to others, and is
tried again later."""

LAST_WORD_SECONDS: Final = 10.0
"""For saying what went wrong, also where the job's time is over."""

TELLING_SECONDS: Final = 300.0
"""For so long after a job's time is over it waits for its chat to take that sentence."""

BRIEF_SECONDS: Final = 2.0
"""For the same in a chat or on a platform that is known to take nothing at the moment."""

PAUSE_SECONDS: Final = 2.0
"""Before a job goes back to the queue where Redis is away, so that it does not spin."""

DEATHS: Final = 2
"""A job whose worker has died so often while it was at work on it is given up."""

DEATHS_OF_A_REINDEX: Final = 5
"""It takes long, so that it is at work when some other job is what the worker dies of."""

SUSPECT_PAUSE_SECONDS: Final = 1.0
"""Before a job whose worker has died tries again to be the only one of its kind."""

PIXELS_IN_HAND: Final = 100_000_000
"""In the pictures that are answered at the same time: 300 MB. Two of the largest, or eight of a
phone's."""

STANDING_EVERY: Final = 0.5
"""Seconds between looks at a job that somebody else has claimed."""

SIGN_AFTER: Final = 1.5
SIGN_EVERY: Final = 4.5
"""Seconds until a person is shown that the bot is at work, and between such signs. Platforms show
one for five seconds or more."""

_Job = TypeVar("_Job", SimilarJob, ReindexJob)


class Answering:
    """What the tasks need, and the way of a job from the queue to its answer."""

    def __init__(
        self,
        *,
        claims: Claims,
        uploads: UploadStore,
        routes: Routes,
        parking: Parking,
        resident: Resident | None,
        reindexer: Reindexer | None,
        gallery: Path,
        limits: Limits,
        stopping: threading.Event,
    ) -> None:
        """Put the parts together.

        Args:
            claims: Keep it to one answer a job.
            uploads: Where the bots left the pictures.
            routes: Where the answers go.
            parking: Where jobs wait whose answer is not taken yet.
            resident: Models and index; None where the models cannot be used.
            reindexer: Builds the index; None where the models cannot be used.
            gallery: The pictures that collages are drawn from.
            limits: What a picture that somebody sent may be.
            stopping: Set when the worker is to end.
        """
        self._claims = claims
        self._uploads = uploads
        self._routes = routes
        self._parking = parking
        self._resident = resident
        self._reindexer = reindexer
        self._gallery = gallery
        self._limits = limits
        self._stopping = stopping
        self._patience = Patience()
        self._one_suspect = threading.Lock()
        self._in_hand = PixelBudget(PIXELS_IN_HAND)

    def similar(self, job: SimilarJob, delivery: Delivery) -> None:
        """Fetch, search, draw, deliver.

        Raises:
            Problem: The person can be told why there is no answer.
            DeliveryFailed: The platform did not take it in time.
        """
        started = time.time()
        steps = Steps()
        if self._resident is None:
            raise Problem("models_unusable")
        _in_time(job)
        with steps.measure("fetch"):
            data = self._uploads.get(job.upload)
        if data is None:
            raise Problem("upload_expired")
        room = room_at(job.destination)
        with (
            self._in_hand.taking(pixels_in(data, self._limits)),
            self._resident.courtesy.answering(),
        ):
            _in_time(job)  # the wait for others' pictures may have been long
            with steps.measure("decode"):
                picture = decode(data, self._limits)
            searcher = self._resident.searcher()
            answer = searcher.search(picture, job.look, job.count, steps)
            _in_time(job)
            with steps.measure("draw"):
                gallery = searcher.index.gallery(self._gallery)
                collage = draw(answer, gallery, room.collage_bytes)
                below = caption(answer, job.language, room.caption, room.length)
        _in_time(job)
        self._still_ours(job)
        try:
            with steps.measure("deliver"):
                delivery.answer(
                    collage,
                    below,
                    deadline=min(job.deadline, time.time() + ATTEMPT_SECONDS),
                    spoiler=job.spoiler,
                )
        except DeliveryFailed as failure:
            if not failure.final:
                raise
            self._no_picture_here(job, delivery, failure)
            return
        spent = time.time() - started
        log.info(
            "%s answered in %.0f ms (%s), %.0f ms after it was asked",
            job.id,
            1000 * spent,
            ", ".join(f"{name} {1000 * took:.0f}" for name, took in steps.seconds.items()),
            1000 * (time.time() - job.asked_at),
            extra={"started": started, "spent": spent, "steps": steps.seconds},
        )

    def _no_picture_here(
        self, job: SimilarJob, delivery: Delivery, failure: DeliveryFailed
    ) -> None:
        """Tell so where a sentence is taken: a chat may let the bot write, but post no files.

        Raises:
            DeliveryFailed: The platform did not take the sentence in time.
        """
        log.error("%s could not be delivered: %s", job.id, failure)
        in_a_file = isinstance(job.destination, FileDestination)
        sentence = say("unexpected" if in_a_file else "picture_not_posted", job.language)
        try:
            delivery.say(sentence, deadline=time.time() + LAST_WORD_SECONDS)
        except DeliveryFailed as again:
            if not again.final:
                raise
            log.error("%s: nor could that be said: %s", job.id, again)

    def reindex(self, job: ReindexJob, delivery: Delivery) -> None:
        """Bring the index up to date, once, and tell what that did, until it is taken.

        Raises:
            Problem: The person can be told why that was not done.
            DeliveryFailed: The platform did not take the last sentence.
            Reject: The worker is ending; another one goes on.
        """
        sentence = self._claims.kept(job.id)
        if sentence is None:
            if self._reindexer is None:
                raise Problem("models_unusable")
            _in_time(job)
            sentence = self._reindexer.run(job, delivery, room_at(job.destination))
            self._claims.keep(job.id, sentence)
        self._still_ours(job)
        delivery.say(sentence, deadline=time.time() + ATTEMPT_SECONDS)

    def once(self, job: _Job, message: str, work: Callable[[_Job, Delivery], None]) -> None:
        """Do `work` for `job` unless it is done, and say what goes wrong. A job whose chat takes
        nothing at the moment is parked.

        Args:
            job: The job.
            message: The delivery tag of the queue's message.
            work: `similar` or `reindex`.

        Raises:
            Reject: The job is back in the queue.
        """
        with self._claims.attending(message):
            try:
                self._once(job, work)
            except RedisError as error:
                log.warning("%s: Redis cannot be reached: %s", job.id, error)
                self._stopping.wait(PAUSE_SECONDS)
                raise Reject(job.id, requeue=True) from error

    def _once(self, job: _Job, work: Callable[[_Job, Delivery], None]) -> None:
        wait = self._patience.left(job)
        if wait > 0 and time.time() < _last(job):
            self._park(job, wait)
            return
        if not self._take(job):
            log.info("%s was answered before", job.id)
            return
        try:
            again = self._survive(job, work, BRIEF_SECONDS if wait > 0 else LAST_WORD_SECONDS)
        except BaseException:
            self._claims.release(job.id)
            raise
        if again is None:
            self._claims.answered(job.id)
        else:
            self._claims.release(job.id)
            self._park(job, again)

    def _park(self, job: _Job, seconds: float) -> None:
        """Set the job aside for so long, or until what is to be told has to be told at last."""
        self._parking.park(job, min(time.time() + seconds, _last(job)))

    def _take(self, job: _Job) -> bool:
        """Claim the job, or wait for whoever has it; False where it was answered."""
        while True:
            standing = self._claims.take(job.id)
            if standing is not Standing.ELSEWHERE:
                return standing is Standing.OURS
            if self._stopping.wait(STANDING_EVERY):
                raise Reject("ending", requeue=True)

    def _survive(
        self, job: _Job, work: Callable[[_Job, Delivery], None], last_word: float
    ) -> float | None:
        """`_work`, so that a job of which the worker dies does not take it down for ever.

        Of the jobs that a worker had in hand when it died, any may be the one. They are gone on
        with one by one, so that a second death tells which.
        """
        deaths = self._claims.unended(job.id)
        if deaths >= (DEATHS_OF_A_REINDEX if isinstance(job, ReindexJob) else DEATHS):
            log.error("%s is given up: its worker has died %d times", job.id, deaths)
            return self._work(job, _give_up, last_word)
        alone = deaths > 0 and isinstance(job, SimilarJob)
        if alone and not self._one_suspect.acquire(blocking=False):
            return SUSPECT_PAUSE_SECONDS
        try:
            with self._claims.counting(job.id):
                return self._work(job, work, last_word)
        finally:
            if alone:
                self._one_suspect.release()

    def _work(
        self, job: _Job, work: Callable[[_Job, Delivery], None], last_word: float
    ) -> float | None:
        """Do the work and deliver, or say within `last_word` seconds why not; the seconds after
        which the job is to be tried again, None where it needs no answer any more."""
        try:
            delivery = self._routes.to(job.destination, job.id)
            sentence = self._sentence_instead(job, delivery, work)
            if sentence is not None:
                delivery.say(sentence, deadline=time.time() + last_word)
        except DeliveryFailed as failure:
            if failure.final:
                self._patience.taken(job)
            else:
                wait = self._patience.not_taken(job, failure.retry_after)
                if time.time() < _last(job):
                    log.warning("%s is not delivered yet: %s", job.id, failure)
                    return wait
            log.error("%s could not be delivered: %s", job.id, failure)
            return None
        self._patience.taken(job)
        return None

    def _sentence_instead(
        self, job: _Job, delivery: Delivery, work: Callable[[_Job, Delivery], None]
    ) -> str | None:
        """Do the work; what to tell the person where it cannot be done.

        Raises:
            DeliveryFailed: The platform did not take it.
            Reject: Another worker is to go on with it, as this one ends or has lost it.
        """
        try:
            with _showing_work(delivery):
                work(job, delivery)
        except Problem as problem:
            log.info("%s: %s", job.id, problem)
            return problem.sentence(job.language)
        except (DeliveryFailed, RedisError, Reject):
            raise
        except BatcherClosed as closed:
            raise Reject(job.id, requeue=True) from closed
        except Exception:
            log.exception("%s failed", job.id)
            failed = "reindex_failed" if isinstance(job, ReindexJob) else "unexpected"
            return say(failed, job.language)
        return None

    def _still_ours(self, job: _Job) -> None:
        """Another worker took over where this one was held up for long: it answers.

        Raises:
            Reject: It did. Whoever gets the job again finds it answered.
        """
        if not self._claims.holds(job.id):
            raise Reject("another worker has taken over", requeue=True)


def _give_up(job: SimilarJob | ReindexJob, delivery: Delivery) -> None:
    raise Problem("reindex_failed" if isinstance(job, ReindexJob) else "unexpected")


def _last(job: SimilarJob | ReindexJob) -> float:
    """When the person is told at last, or never, in seconds since the epoch."""
    return job.deadline + TELLING_SECONDS


def _in_time(job: _Job) -> None:
    if time.time() >= job.deadline:
        raise Problem("too_late")


@contextmanager
def _showing_work(delivery: Delivery) -> Iterator[None]:
    """Show the person a sign where the work inside the ``with`` takes long."""
    done = threading.Event()

    def show() -> None:
        wait = SIGN_AFTER
        while not done.wait(wait):
            delivery.working()
            wait = SIGN_EVERY

    thread = threading.Thread(target=show, name="sign", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def add_tasks(app: Celery, answering: Answering) -> None:
    """Give the Celery application its two tasks."""

    def similar(task: Task, job: Any = None) -> None:
        if (parsed := _parsed(SimilarJob, job)) is not None:
            answering.once(parsed, task.request.properties["delivery_tag"], answering.similar)

    def reindex(task: Task, job: Any = None) -> None:
        if (parsed := _parsed(ReindexJob, job)) is not None:
            answering.once(parsed, task.request.properties["delivery_tag"], answering.reindex)

    app.task(similar, bind=True, name=SIMILAR_TASK)
    app.task(reindex, bind=True, name=REINDEX_TASK)


def _parsed(kind: type[_Job], job: Any) -> _Job | None:
    """The job, or None where its form is unknown: nobody could be told, so it is dropped."""
    try:
        return kind.model_validate(job)
    except ValidationError as error:
        # Its values are left out: one may be an interaction's token.
        reasons = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['type']}"
            for each in error.errors(include_input=False, include_url=False)
        )
        log.error("dropped a job of an unknown form: %s", reasons)
        return None
