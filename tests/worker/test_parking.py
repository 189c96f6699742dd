"""Jobs that wait beside the queue, on a real Redis, and a worker that is not held up by them."""

from __future__ import annotations

import time

import pytest
from celery import Celery
from redis import Redis

from core.gallery import build_index
from core.job import FileDestination, ReindexJob, SimilarJob, TelegramDestination
from tests.core.fakes import FakeDetector, FakeExtractor
from tests.platforms.jobs import waiting_reindex_jobs, waiting_similar_jobs
from tests.platforms.processes import RealRedis, wait_for
from tests.platforms.telegram_server import TelegramServer
from tests.platforms.workplace import Workplace
from tests.worker.parked import parked
from worker import parking
from worker.app import create_app
from worker.parking import Parking


@pytest.fixture
def queue(server: RealRedis) -> Celery:
    return create_app(server.url)


def similar(name: str) -> SimilarJob:
    return SimilarJob(
        id=name, destination=FileDestination(), deadline=time.time() + 60, upload="0" * 64
    )


def test_a_job_goes_back_to_its_queue_at_its_time_and_as_it_was(
    redis: Redis, queue: Celery
) -> None:
    place = Parking(redis, queue)
    now = time.time()
    due, later = similar("due"), similar("later")
    reindex = ReindexJob(id="reindex", destination=FileDestination(), deadline=now + 600)
    place.park(due, now - 1)
    place.park(reindex, now - 1)
    place.park(later, now + 600)
    place.send_due()
    place.send_due()
    assert waiting_similar_jobs(redis) == [due]
    assert waiting_reindex_jobs(redis) == [reindex]
    assert set(parked(redis)) == {"later"}


def test_a_job_parked_twice_comes_once_at_the_later_time(redis: Redis, queue: Celery) -> None:
    place, asked, now = Parking(redis, queue), similar("job-1"), time.time()
    place.park(asked, now - 1)
    place.park(asked, now + 600)
    place.send_due()
    assert waiting_similar_jobs(redis) == []
    assert parked(redis) == {"job-1": pytest.approx(now + 600)}


@pytest.mark.parametrize(
    "member", ["nobody", "a task {", "a task []", 'a task {"no": "id"}', b"\xff"]
)
def test_what_is_no_job_is_dropped_and_the_others_go_back(
    redis: Redis, queue: Celery, member: str | bytes
) -> None:
    place, asked = Parking(redis, queue), similar("job-1")
    redis.zadd(parking.PARKED_KEY, {member: time.time() - 2})
    place.park(asked, time.time() - 1)
    place.send_due()
    assert waiting_similar_jobs(redis) == [asked]
    assert redis.zcard(parking.PARKED_KEY) == 0


def test_whatever_goes_wrong_it_looks_again(
    redis: Redis, queue: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place, asked = Parking(redis, queue), similar("job-1")
    monkeypatch.setattr(parking, "SENDING_SECONDS", 0.0)
    send, failures = queue.send_task, [RuntimeError("nobody thought of this")]

    def send_at_last(*args: object, **options: object) -> object:
        if failures:
            raise failures.pop()
        return send(*args, **options)

    monkeypatch.setattr(queue, "send_task", send_at_last)
    place.park(asked, time.time() - 1)
    place.start()
    try:
        wait_for(lambda: waiting_similar_jobs(redis) == [asked], "the job in its queue")
    finally:
        place.stop()
    assert "could not be put back" in caplog.text


def test_two_workers_send_a_job_once(redis: Redis, queue: Celery) -> None:
    first, second = Parking(redis, queue), Parking(redis, queue)
    first.park(similar("job-1"), time.time() - 1)

    class Meanwhile(Celery):
        """While the first worker sends, the second one looks."""

        def send_task(self, *args: object, **options: object) -> object:
            second.send_due()
            return queue.send_task(*args, **options)

    Parking(redis, Meanwhile(set_as_current=False)).send_due()
    assert len(waiting_similar_jobs(redis)) == 1
    assert parked(redis) == {}


def test_a_job_that_could_not_be_sent_is_sent_later(
    redis: Redis, queue: Celery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "SENDING_SECONDS", 0.0)

    class Broken(Celery):
        """Loses its connection, or its process."""

        def send_task(self, *args: object, **options: object) -> object:
            raise OSError("gone")

    broken = Parking(redis, Broken(set_as_current=False))
    broken.park(similar("job-1"), time.time() - 1)
    with pytest.raises(OSError, match="gone"):
        broken.send_due()
    Parking(redis, queue).send_due()
    assert len(waiting_similar_jobs(redis)) == 1


def test_a_job_that_is_parked_again_while_it_is_sent_stays_parked(
    redis: Redis, queue: Celery
) -> None:
    asked, again = similar("job-1"), time.time() + 600

    class Quick(Celery):
        """A hand takes the job, and its chat is still limited, before `send_task` returns."""

        def send_task(self, *args: object, **options: object) -> None:
            Parking(redis, queue).park(asked, again)

    place = Parking(redis, Quick(set_as_current=False))
    place.park(asked, time.time() - 1)
    place.send_due()
    assert parked(redis) == {"job-1": pytest.approx(again)}


def test_a_limited_chat_holds_up_nobody_else(workplace: Workplace) -> None:
    """More jobs of one Telegram group than a worker has hands, while the group is limited."""
    build_index(workplace.gallery, workplace.data, FakeDetector(), FakeExtractor())
    picture = (workplace.gallery / "blue" / "0.png").read_bytes()
    with TelegramServer() as telegram:
        telegram.limit("editMessageMedia", 40, times=1000)
        workplace.start_worker(
            fakes=True,
            FAMILIAR_TELEGRAM_TOKEN=telegram.token,
            FAMILIAR_TELEGRAM_API_URL=telegram.url,
        )
        group = [
            workplace.ask(picture, destination=TelegramDestination(chat_id=-1, message_id=number))
            for number in range(12)
        ]
        wait_for(lambda: telegram.calls_of("editMessageMedia"), "the limit is met")
        asked = time.monotonic()
        workplace.answer(workplace.ask(picture))
        assert time.monotonic() - asked < 2
        wait_for(lambda: len(parked(workplace.redis)) == len(group), "the group's jobs wait")
        wait_for(lambda: not workplace.in_hand(), "and no hand is held")
        assert len(telegram.calls_of("editMessageMedia")) <= 8, "those in hand at the time"
