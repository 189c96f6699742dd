"""The way of one job through the worker, with deliveries that fail in every way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Reject
from redis import Redis

from core.gallery import build_index
from core.job import (
    Destination,
    DiscordDestination,
    FileDestination,
    ReindexJob,
    SimilarJob,
    TelegramDestination,
)
from core.picture import DEFAULT_LIMITS
from core.settings import load_settings
from core.texts import say
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery
from tests.platforms.processes import real_redis, wait_for
from tests.worker.parked import parked
from worker import patience, tasks
from worker.app import create_app
from worker.claim import Claims, Standing, begun_key, claim_key
from worker.delivery import DeliveryFailed
from worker.delivery.routes import Routes
from worker.parking import Parking
from worker.reindex import Reindexer
from worker.resident import Resident
from worker.store import UploadStore
from worker.tasks import BRIEF_SECONDS, TELLING_SECONDS, Answering


class Person:
    """A delivery, and the routes that lead to it: keeps what was shown, fails on demand."""

    def __init__(self) -> None:
        self.shown: list[str | bytes] = []
        self.covered = False
        self.signs = 0
        self.failure: Exception | None = None
        self.deaf: DeliveryFailed | None = None
        self.on_answer: Callable[[], object] = lambda: None
        self.answer_until = 0.0
        self.say_until: list[float] = []

    def to(self, destination: object, job_id: str) -> Person:
        return self

    def working(self) -> None:
        self.signs += 1

    def say(self, sentence: str, *, deadline: float) -> None:
        assert deadline > time.time()
        self.say_until.append(deadline)
        if self.deaf is not None:
            raise self.deaf
        self.shown.append(sentence)

    def answer(
        self, collage: bytes, caption: str, *, deadline: float, spoiler: bool = False
    ) -> None:
        self.answer_until = deadline
        self.covered = spoiler
        self.on_answer()
        if self.failure is not None:
            raise self.failure
        self.shown.append(collage)


class Clock:
    """The time of day: it stands still, and tests move it."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)
    return clock


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexed")
    drawn_gallery(folder / "gallery")
    build_index(folder / "gallery", folder / "data", FakeDetector(), FakeExtractor())
    return folder


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def claims(redis: Redis) -> Claims:
    return Claims(redis)


def answering_of(
    claims: Claims,
    redis: Redis,
    person: Person,
    indexed: Path,
    resident: Resident | None,
    *,
    reindexer: Any = None,
) -> Answering:
    """The work of a worker that is about to stop, so that putting back does not wait."""
    stopping = threading.Event()
    stopping.set()
    routes: Any = person
    queue = create_app("unix:///nowhere")
    return Answering(
        claims=claims,
        uploads=UploadStore(redis, 60),
        routes=routes,
        parking=Parking(redis, queue),
        resident=resident,
        reindexer=reindexer,
        gallery=indexed / "gallery",
        limits=DEFAULT_LIMITS,
        stopping=stopping,
    )


@pytest.fixture
def answering(redis: Redis, indexed: Path, person: Person, claims: Claims) -> Iterator[Answering]:
    resident = Resident(FakeDetector(), FakeExtractor(), indexed / "data")
    yield answering_of(claims, redis, person, indexed, resident)
    resident.close()


def job(redis: Redis, indexed: Path, seconds: float = 60) -> SimilarJob:
    picture = (indexed / "gallery" / "blue" / "1.png").read_bytes()
    return SimilarJob(
        id="job-1",
        destination=FileDestination(),
        deadline=time.time() + seconds,
        upload=UploadStore(redis, 60).put(picture),
    )


@pytest.mark.parametrize("spoiler", [False, True])
def test_the_answer_to_a_covered_picture_is_covered(
    answering: Answering, redis: Redis, indexed: Path, person: Person, spoiler: bool
) -> None:
    asked = job(redis, indexed).model_copy(update={"spoiler": spoiler})
    answering.once(asked, "tag", answering.similar)
    assert len(person.shown) == 1
    assert person.covered is spoiler


def test_an_answer_is_delivered_and_written_down(
    answering: Answering, redis: Redis, indexed: Path, person: Person, claims: Claims
) -> None:
    answering.once(job(redis, indexed), "tag", answering.similar)
    (collage,) = person.shown
    assert isinstance(collage, bytes)
    assert claims.take("job-1") is Standing.ANSWERED
    answering.once(job(redis, indexed), "tag", answering.similar)
    assert len(person.shown) == 1


def test_a_platform_that_is_down_gets_the_answer_later(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    clock: Clock,
) -> None:
    person.failure = DeliveryFailed("502", final=False)
    asked = job(redis, indexed)
    answering.once(asked, "tag", answering.similar)
    assert parked(redis) == {"job-1": clock.now + patience.AWAY_SECONDS}
    assert not redis.exists(claim_key("job-1")), "any worker may have it now"
    person.failure = None
    clock.now += patience.AWAY_SECONDS
    answering.once(asked, "tag", answering.similar)
    assert len(person.shown) == 1


def test_an_attempt_keeps_its_hand_for_seconds_however_late_the_deadline_is(
    answering: Answering, redis: Redis, indexed: Path, person: Person
) -> None:
    answering.once(job(redis, indexed, 600), "tag", answering.similar)
    assert time.time() < person.answer_until <= time.time() + tasks.ATTEMPT_SECONDS
    assert tasks.ATTEMPT_SECONDS <= 10


@pytest.mark.parametrize(
    ("failure", "seconds"),
    [
        (DeliveryFailed("the chat is gone", final=True), 60.0),
        (DeliveryFailed("502", final=False), -tasks.TELLING_SECONDS),
    ],
    ids=["final", "the time for telling it is over"],
)
def test_a_delivery_that_is_no_use_is_given_up_and_logged(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    caplog: pytest.LogCaptureFixture,
    failure: DeliveryFailed,
    seconds: float,
) -> None:
    person.failure = person.deaf = failure
    answering.once(job(redis, indexed, seconds), "tag", answering.similar)
    assert parked(redis) == {}
    assert claims.take("job-1") is Standing.ANSWERED
    assert "could not be delivered" in caplog.text


def in_a_chat(job: SimilarJob, language: str = "en") -> SimilarJob:
    there = TelegramDestination(chat_id=1, message_id=2)
    return job.model_copy(update={"destination": there, "language": language})


@pytest.mark.parametrize("language", ["en", "ja"])
def test_where_no_picture_may_be_posted_the_placeholder_says_so(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    caplog: pytest.LogCaptureFixture,
    language: str,
) -> None:
    person.failure = DeliveryFailed("400 not enough rights to send photos", final=True)
    answering.once(in_a_chat(job(redis, indexed), language), "tag", answering.similar)
    assert person.shown == [say("picture_not_posted", language)]
    assert "job-1 could not be delivered: 400 not enough rights to send photos" in caplog.text
    assert claims.take("job-1") is Standing.ANSWERED


def test_that_no_picture_may_be_posted_is_told_later_where_the_chat_is_limited(
    answering: Answering, redis: Redis, indexed: Path, person: Person, claims: Claims
) -> None:
    person.failure = DeliveryFailed("400 not enough rights to send photos", final=True)
    person.deaf = DeliveryFailed("429", final=False, retry_after=0.0)
    asked = in_a_chat(job(redis, indexed))
    answering.once(asked, "tag", answering.similar)
    assert person.shown == []
    assert set(parked(redis)) == {"job-1"}
    person.deaf = None
    answering.once(asked, "tag", answering.similar)
    assert person.shown == [say("picture_not_posted")]
    assert claims.take("job-1") is Standing.ANSWERED


def test_a_file_that_cannot_be_written_is_no_matter_of_a_chats_rights(
    answering: Answering, redis: Redis, indexed: Path, person: Person
) -> None:
    person.failure = DeliveryFailed("No space left on device", final=True)
    answering.once(job(redis, indexed), "tag", answering.similar)
    assert person.shown == [say("unexpected")]


def test_where_nothing_at_all_may_be_posted_it_is_tried_once_and_logged(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    caplog: pytest.LogCaptureFixture,
) -> None:
    person.failure = DeliveryFailed("the chat is gone", final=True)
    person.deaf = DeliveryFailed("and stays gone", final=True)
    answering.once(in_a_chat(job(redis, indexed)), "tag", answering.similar)
    assert person.shown == []
    assert "job-1 could not be delivered: the chat is gone" in caplog.text
    assert "and stays gone" in caplog.text
    assert claims.take("job-1") is Standing.ANSWERED


@pytest.mark.parametrize(
    "destination",
    [
        TelegramDestination(chat_id=1, message_id=2),
        DiscordDestination(application_id=1, channel_id=2, message_id=3),
    ],
    ids=["telegram", "discord"],
)
def test_a_job_whose_bot_has_no_token_here_is_given_up_and_its_picture_forgotten(
    redis: Redis,
    indexed: Path,
    claims: Claims,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    destination: Destination,
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout may have its `.env`
    for variable in ("FAMILIAR_TELEGRAM_TOKEN", "FAMILIAR_DISCORD_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    routes: Any = Routes(load_settings())
    answering = answering_of(claims, redis, routes, indexed, None)
    uploads = UploadStore(redis, 60)
    asked = job(redis, indexed).model_copy(
        update={"destination": destination, "upload": uploads.put(b"a picture", "job-1")}
    )
    answering.once(asked, "tag", answering.similar)
    routes.close()
    assert "job-1 could not be delivered: There is no token for the" in caplog.text
    assert claims.take("job-1") is Standing.ANSWERED
    assert uploads.get(asked.upload) is None


class TestARateLimitLongerThanAnAttempt:
    """The platform has said for how long it wants to hear nothing of a chat."""

    def test_nothing_is_worked_on_until_then(
        self,
        answering: Answering,
        redis: Redis,
        indexed: Path,
        person: Person,
        clock: Clock,
    ) -> None:
        attempts: list[float] = []
        person.on_answer = lambda: attempts.append(clock.now)
        person.failure = DeliveryFailed("429", final=False, retry_after=1.5)
        asked = job(redis, indexed)
        until = clock.now + 1.5
        for _ in range(3):
            answering.once(asked, "tag", answering.similar)
            assert not redis.exists(claim_key("job-1")), "no worker holds on to it"
            assert parked(redis)["job-1"] - until == pytest.approx(0, abs=0.001)
            clock.now += 0.4
        assert len(attempts) == 1
        person.failure = None
        clock.now = until + 0.001
        answering.once(asked, "tag", answering.similar)
        assert len(attempts) == 2
        assert len(person.shown) == 1

    def test_the_other_jobs_of_that_chat_are_not_even_searched_for(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=30)
        answering.once(in_a_chat(job(redis, indexed)), "tag", answering.similar)
        person.failure = None
        person.on_answer = lambda: pytest.fail("worked on")
        other = in_a_chat(job(redis, indexed)).model_copy(update={"id": "job-2"})
        answering.once(other, "tag-2", answering.similar)
        assert person.shown == []
        assert set(parked(redis)) == {"job-1", "job-2"}

    def test_other_jobs_are_answered_meanwhile(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=30)
        answering.once(job(redis, indexed), "tag", answering.similar)
        person.failure = None
        other = job(redis, indexed).model_copy(update={"id": "job-2"})
        answering.once(other, "tag-2", answering.similar)
        assert len(person.shown) == 1

    def test_a_job_that_is_late_by_then_is_told_so_once_the_chat_takes_it(
        self,
        answering: Answering,
        redis: Redis,
        indexed: Path,
        person: Person,
        claims: Claims,
        clock: Clock,
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=120)
        person.deaf = DeliveryFailed("429", final=False, retry_after=0.0)
        asked = job(redis, indexed, 60)
        answering.once(asked, "tag", answering.similar)
        again = parked(redis)["job-1"]
        assert again > asked.deadline
        for when, sentences in ((asked.deadline, 0), (again, 1)):
            clock.now = when + 0.05
            answering.once(asked, "tag", answering.similar)
            assert len(person.say_until) == sentences, "while limited it is not even tried"
            assert claims.take("job-1") is Standing.OURS, "nobody was told anything"
            claims.release("job-1")
        person.deaf = None
        answering.once(asked, "tag", answering.similar)
        assert person.shown == [say("too_late")]
        assert claims.take("job-1") is Standing.ANSWERED

    @pytest.mark.parametrize("taken", ["an answer", "a refusal for good"])
    def test_once_the_chat_has_taken_or_refused_one_nobody_waits_behind_it(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person, taken: str
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=0.0)
        first = in_a_chat(job(redis, indexed))
        answering.once(first, "tag", answering.similar)
        assert set(parked(redis)) == {"job-1"}
        person.failure = None
        if taken == "a refusal for good":
            first = first.model_copy(update={"upload": "0" * 64})  # it has expired
            person.deaf = DeliveryFailed("403", final=True)
        answering.once(first, "tag", answering.similar)
        other = in_a_chat(job(redis, indexed)).model_copy(update={"id": "job-2"})
        answering.once(other, "tag-2", answering.similar)
        assert sum(isinstance(shown, bytes) for shown in person.shown) == (
            2 if taken == "an answer" else 1
        )
        assert set(parked(redis)) == {"job-1"}

    def test_the_last_try_in_a_chat_that_is_still_limited_is_brief(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=600)
        answering.once(in_a_chat(job(redis, indexed)), "tag", answering.similar)
        late = in_a_chat(job(redis, indexed, -TELLING_SECONDS - 1))
        person.say_until.clear()
        answering.once(late.model_copy(update={"id": "job-2"}), "tag-2", answering.similar)
        (until,) = person.say_until
        assert until <= time.time() + BRIEF_SECONDS

    def test_where_it_is_taken_by_nobody_until_long_after_it_is_tried_once_more(
        self,
        answering: Answering,
        redis: Redis,
        indexed: Path,
        person: Person,
        claims: Claims,
        clock: Clock,
    ) -> None:
        person.failure = DeliveryFailed("429", final=False, retry_after=3600)
        asked = in_a_chat(job(redis, indexed, 60))
        answering.once(asked, "tag", answering.similar)
        assert parked(redis) == {"job-1": asked.deadline + tasks.TELLING_SECONDS}
        clock.now = asked.deadline + tasks.TELLING_SECONDS
        answering.once(asked, "tag", answering.similar)
        assert person.shown == [say("too_late")]
        assert claims.take("job-1") is Standing.ANSWERED


def test_pictures_that_are_answered_at_once_are_bounded_in_their_pixels(
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is drawn; of more than the budget has room for, the last ones wait for the first."""
    monkeypatch.setattr(tasks, "PIXELS_IN_HAND", 2 * 320 * 240)
    now, most, lock, slow_draw = 0, 0, threading.Lock(), tasks.draw

    def draw(*arguments: Any) -> bytes:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.05)
        with lock:
            now -= 1
        return slow_draw(*arguments)

    monkeypatch.setattr(tasks, "draw", draw)
    resident = Resident(FakeDetector(), FakeExtractor(), indexed / "data")
    answering = answering_of(claims, redis, person, indexed, resident)
    asked = job(redis, indexed)
    with ThreadPoolExecutor(8) as hands:
        for number in range(8):
            each = asked.model_copy(update={"id": f"job-{number}"})
            hands.submit(answering.once, each, f"tag-{number}", answering.similar)
    resident.close()
    assert len(person.shown) == 8
    assert most == 2


def test_an_unexpected_error_is_one_sentence_and_a_traceback_in_the_log(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    caplog: pytest.LogCaptureFixture,
) -> None:
    person.failure = RuntimeError("nobody foresaw this")
    answering.once(job(redis, indexed), "tag", answering.similar)
    assert person.shown == [say("unexpected")]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    assert claims.take("job-1") is Standing.ANSWERED, "it would fail again"


def test_a_worker_that_ends_leaves_its_job_to_another(
    claims: Claims, redis: Redis, indexed: Path, person: Person
) -> None:
    """It is ended while its hands are at work."""
    resident = Resident(FakeDetector(), FakeExtractor(), indexed / "data")
    resident.close()
    answering = answering_of(claims, redis, person, indexed, resident)
    it = job(redis, indexed)
    back: list[Reject] = []

    def answer() -> None:
        with pytest.raises(Reject) as rejected:
            answering.once(it, "tag", answering.similar)
        back.append(rejected.value)

    at_work = threading.Thread(target=answer, daemon=True)
    at_work.start()
    at_work.join(10)
    assert [reject.requeue for reject in back] == [True]
    assert person.shown == []
    assert claims.take(it.id) is Standing.OURS


class FailingReindexer:
    """Fails in a way that nobody foresaw."""

    def run(self, job: ReindexJob, delivery: object, room: object) -> str:
        raise RuntimeError("nobody foresaw this")


class ReadyReindexer:
    """Has done its work already."""

    def __init__(self, run: Callable[[], str]) -> None:
        self._run = run

    def run(self, job: ReindexJob, delivery: object, room: object) -> str:
        return self._run()


def to_reindex(seconds: float = 60) -> ReindexJob:
    return ReindexJob(id="r-1", destination=FileDestination(), deadline=time.time() + seconds)


def test_a_reindex_whose_last_sentence_is_not_taken_says_later_what_it_did(
    redis: Redis, tmp_path: Path, person: Person, claims: Claims
) -> None:
    drawn_gallery(tmp_path / "gallery")
    resident = Resident(FakeDetector(), FakeExtractor(), tmp_path / "data")
    reindexer = Reindexer(resident, tmp_path / "gallery", tmp_path / "data", threading.Event())
    answering = answering_of(claims, redis, person, tmp_path, resident, reindexer=reindexer)
    person.deaf = DeliveryFailed("429", final=False, retry_after=0.0)
    answering.once(to_reindex(), "tag", answering.reindex)
    person.deaf = None
    answering.once(to_reindex(), "tag", answering.reindex)
    resident.close()
    (told,) = person.shown
    assert isinstance(told, str)
    assert "Added: amber/0.png" in told
    assert claims.take("r-1") is Standing.ANSWERED
    assert claims.kept("r-1") is None


def test_what_a_reindex_did_is_told_by_the_next_worker_also_when_its_time_is_over(
    redis: Redis, indexed: Path, person: Person, claims: Claims
) -> None:
    Claims(redis).keep("r-1", "Added: one.")
    answering = answering_of(claims, redis, person, indexed, None)
    answering.once(to_reindex(-1), "tag", answering.reindex)
    assert person.shown == ["Added: one."]


def test_a_worker_that_lost_its_claim_says_nothing_of_its_reindex(
    redis: Redis, indexed: Path, person: Person, claims: Claims
) -> None:
    def run_while_another_takes_over() -> str:
        redis.set(claim_key("r-1"), "another worker")
        return "done"

    reindexer = ReadyReindexer(run_while_another_takes_over)
    answering = answering_of(claims, redis, person, indexed, None, reindexer=reindexer)
    with pytest.raises(Reject) as rejected:
        answering.once(to_reindex(), "tag", answering.reindex)
    assert rejected.value.requeue
    assert person.shown == []
    assert redis.get(claim_key("r-1")) == b"another worker"


def test_an_unexpected_error_of_a_reindex_speaks_of_the_index(
    redis: Redis, indexed: Path, person: Person, claims: Claims
) -> None:
    answering = answering_of(claims, redis, person, indexed, None, reindexer=FailingReindexer())
    asked = ReindexJob(id="job-2", destination=FileDestination(), deadline=time.time() + 60)
    answering.once(asked, "tag", answering.reindex)
    assert person.shown == [say("reindex_failed")]
    assert claims.take("job-2") is Standing.ANSWERED


def test_a_worker_that_lost_its_claim_delivers_nothing(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    claims: Claims,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def draw_while_another_takes_over(*_: object) -> bytes:
        redis.set(claim_key("job-1"), "another worker")
        return b"a collage"

    monkeypatch.setattr(tasks, "draw", draw_while_another_takes_over)
    with pytest.raises(Reject) as rejected:
        answering.once(job(redis, indexed), "tag", answering.similar)
    assert rejected.value.requeue
    assert person.shown == []
    assert redis.get(claim_key("job-1")) == b"another worker"


class TestAJobThatItsWorkerDiesOf:
    """What is known of it: it was begun and never ended."""

    @staticmethod
    def died_of(redis: Redis, job_id: str, times: int) -> None:
        redis.set(begun_key(job_id), times)

    def test_it_is_given_up_in_a_sentence(
        self,
        answering: Answering,
        redis: Redis,
        indexed: Path,
        person: Person,
        claims: Claims,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        self.died_of(redis, "job-1", tasks.DEATHS)
        answering.once(job(redis, indexed), "tag", answering.similar)
        assert person.shown == [say("unexpected")]
        assert claims.take("job-1") is Standing.ANSWERED
        assert "job-1 is given up" in caplog.text

    def test_one_that_died_once_is_tried_again(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        self.died_of(redis, "job-1", 1)
        for name in ("job-1", "job-2"):
            asked = job(redis, indexed).model_copy(update={"id": name})
            answering.once(asked, "tag", answering.similar)
        assert [type(shown) for shown in person.shown] == [bytes, bytes]

    def test_however_work_ends_it_has_ended(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        open_at_the_time: list[bytes | None] = []
        person.on_answer = lambda: open_at_the_time.append(redis.get(begun_key("job-1")))
        person.failure = DeliveryFailed("429", final=False, retry_after=0.0)
        for _ in range(4):
            answering.once(job(redis, indexed), "tag", answering.similar)
        person.failure = RuntimeError("nobody foresaw this")
        answering.once(job(redis, indexed), "tag", answering.similar)
        assert open_at_the_time == [b"1"] * 5
        assert redis.get(begun_key("job-1")) == b"0"
        assert 0 < redis.ttl(begun_key("job-1")) <= 3600

    def test_of_several_one_is_worked_on_and_the_others_wait(
        self, answering: Answering, redis: Redis, indexed: Path, person: Person
    ) -> None:
        first, second, fresh = (
            job(redis, indexed).model_copy(update={"id": name})
            for name in ("job-1", "job-2", "job-3")
        )
        self.died_of(redis, "job-1", 1)
        self.died_of(redis, "job-2", 1)

        def meanwhile() -> None:
            person.on_answer = lambda: None
            answering.once(second, "tag-2", answering.similar)
            answering.once(fresh, "tag-3", answering.similar)

        person.on_answer = meanwhile
        answering.once(first, "tag", answering.similar)
        assert len(person.shown) == 2
        assert set(parked(redis)) == {"job-2"}
        assert redis.get(begun_key("job-2")) == b"1", "it was not begun again"
        answering.once(second, "tag-2", answering.similar)
        assert len(person.shown) == 3

    def test_a_reindex_is_given_more_tries(
        self, redis: Redis, indexed: Path, person: Person, claims: Claims
    ) -> None:
        answering = answering_of(
            claims, redis, person, indexed, None, reindexer=ReadyReindexer(lambda: "done")
        )
        for name, deaths in (("r-1", tasks.DEATHS), ("r-2", tasks.DEATHS_OF_A_REINDEX)):
            self.died_of(redis, name, deaths)
            asked = ReindexJob(id=name, destination=FileDestination(), deadline=time.time() + 60)
            answering.once(asked, "tag", answering.reindex)
        assert person.shown == ["done", say("reindex_failed")]


def test_a_slow_answer_shows_that_the_bot_is_at_work(
    answering: Answering,
    redis: Redis,
    indexed: Path,
    person: Person,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tasks, "SIGN_AFTER", 0.05)
    monkeypatch.setattr(tasks, "SIGN_EVERY", 0.05)
    person.on_answer = lambda: wait_for(lambda: person.signs >= 2, "two signs", 5)
    answering.once(job(redis, indexed), "tag", answering.similar)
    assert person.signs >= 2
    signs = person.signs
    time.sleep(0.15)
    assert person.signs == signs, "and not after it"


def test_a_dead_redis_puts_the_job_back(indexed: Path, person: Person) -> None:
    with real_redis() as server, server.client() as client:
        asked = job(client, indexed)
        resident = Resident(FakeDetector(), FakeExtractor(), indexed / "data")
        answering = answering_of(Claims(client), client, person, indexed, resident)
        server.stop()
        with pytest.raises(Reject) as rejected:
            answering.once(asked, "tag", answering.similar)
        assert rejected.value.requeue
        assert person.shown == []
        resident.close()
