"""The way of one job through the worker, with deliveries that fail in every way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Hand:
    """A hand of a worker, and whom and what it meets at work."""

    answering: Answering
    redis: Redis
    claims: Claims
    uploads: UploadStore
    person: Person
    indexed: Path

    def job(self, seconds: float = 60, **changes: Any) -> SimilarJob:
        """The request "job-1", to be answered within `seconds`, or one with other values."""
        picture = (self.indexed / "gallery" / "blue" / "1.png").read_bytes()
        return SimilarJob(
            id="job-1",
            destination=FileDestination(),
            deadline=time.time() + seconds,
            upload=self.uploads.put(picture),
        ).model_copy(update=changes)

    def answer(self, job: SimilarJob | None = None) -> None:
        """What the task of this request does, or that of "job-1"."""
        job = job or self.job()
        self.answering.once(job, f"tag of {job.id}", self.answering.similar)

    def reindex(self, seconds: float = 60, job_id: str = "r-1") -> None:
        """What the task of a reindex does that is to be done within `seconds`."""
        deadline = time.time() + seconds
        job = ReindexJob(id=job_id, destination=FileDestination(), deadline=deadline)
        self.answering.once(job, f"tag of {job.id}", self.answering.reindex)

    def is_answered(self, job_id: str = "job-1") -> bool:
        return self.claims.take(job_id) is Standing.ANSWERED

    def parked(self) -> dict[str, float]:
        return parked(self.redis)


def hand_of(
    redis: Redis,
    indexed: Path,
    resident: Resident | None = None,
    *,
    reindexer: Any = None,
    routes: Routes | None = None,
) -> Hand:
    """One of a worker that is about to stop, so that putting back does not wait."""
    stopping = threading.Event()
    stopping.set()
    claims, uploads, person = Claims(redis), UploadStore(redis, 60), Person()
    to_person: Any = person
    answering = Answering(
        claims=claims,
        uploads=uploads,
        routes=to_person if routes is None else routes,
        parking=Parking(redis, create_app("unix:///nowhere")),
        resident=resident,
        reindexer=reindexer,
        gallery=indexed / "gallery",
        limits=DEFAULT_LIMITS,
        stopping=stopping,
    )
    return Hand(answering, redis, claims, uploads, person, indexed)


@pytest.fixture
def resident(indexed: Path) -> Iterator[Resident]:
    resident = Resident(FakeDetector(), FakeExtractor(), indexed / "data")
    yield resident
    resident.close()


@pytest.fixture
def hand(redis: Redis, indexed: Path, resident: Resident) -> Hand:
    return hand_of(redis, indexed, resident)


CHAT = TelegramDestination(chat_id=1, message_id=2)


def refused(reason: str) -> DeliveryFailed:
    return DeliveryFailed(reason, final=True)


def limited(seconds: float) -> DeliveryFailed:
    return DeliveryFailed("429", final=False, retry_after=seconds)


@pytest.mark.parametrize("spoiler", [False, True])
def test_the_answer_to_a_covered_picture_is_covered(hand: Hand, spoiler: bool) -> None:
    hand.answer(hand.job(spoiler=spoiler))
    assert len(hand.person.shown) == 1
    assert hand.person.covered is spoiler


def test_an_answer_is_delivered_and_written_down(hand: Hand) -> None:
    hand.answer()
    (collage,) = hand.person.shown
    assert isinstance(collage, bytes)
    assert hand.is_answered()
    hand.answer()
    assert len(hand.person.shown) == 1


def test_a_platform_that_is_down_gets_the_answer_later(hand: Hand, clock: Clock) -> None:
    hand.person.failure = DeliveryFailed("502", final=False)
    asked = hand.job()
    hand.answer(asked)
    assert hand.parked() == {"job-1": clock.now + patience.AWAY_SECONDS}
    assert not hand.redis.exists(claim_key("job-1")), "any worker may have it now"
    hand.person.failure = None
    clock.now += patience.AWAY_SECONDS
    hand.answer(asked)
    assert len(hand.person.shown) == 1


def test_an_attempt_keeps_its_hand_for_seconds_however_late_the_deadline_is(hand: Hand) -> None:
    hand.answer(hand.job(600))
    assert time.time() < hand.person.answer_until <= time.time() + tasks.ATTEMPT_SECONDS
    assert tasks.ATTEMPT_SECONDS <= 10


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    ("destination", "failure", "deaf", "told", "logged"),
    [
        pytest.param(
            CHAT,
            refused("400 not enough rights to send photos"),
            None,
            ["picture_not_posted"],
            ["job-1 could not be delivered: 400 not enough rights to send photos"],
            id="no picture may be posted in the chat",
        ),
        pytest.param(
            CHAT,
            refused("the chat is gone"),
            refused("and stays gone"),
            [],
            ["job-1 could not be delivered: the chat is gone", "and stays gone"],
            id="nothing at all may be posted in the chat",
        ),
        pytest.param(
            FileDestination(),
            refused("No space left on device"),
            None,
            ["unexpected"],
            ["job-1 could not be delivered: No space left on device"],
            id="a file cannot be written, which is no matter of a chat's rights",
        ),
        pytest.param(
            FileDestination(),
            refused("the folder is gone"),
            refused("the folder is gone"),
            [],
            ["job-1 could not be delivered: the folder is gone"],
            id="nor can a sentence be written",
        ),
    ],
)
def test_an_answer_that_is_refused_for_good_is_logged_and_told_where_that_is_taken(
    hand: Hand,
    caplog: pytest.LogCaptureFixture,
    destination: Destination,
    failure: DeliveryFailed,
    deaf: DeliveryFailed | None,
    told: list[str],
    logged: list[str],
    language: str,
) -> None:
    hand.person.failure, hand.person.deaf = failure, deaf
    hand.answer(hand.job(destination=destination, language=language))
    assert hand.person.shown == [say(key, language) for key in told]
    for words in logged:
        assert words in caplog.text
    assert hand.parked() == {}, "it is tried once"
    assert hand.is_answered()


def test_a_delivery_is_given_up_and_logged_once_the_time_for_telling_it_is_over(
    hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    hand.person.failure = hand.person.deaf = DeliveryFailed("502", final=False)
    hand.answer(hand.job(-tasks.TELLING_SECONDS))
    assert hand.parked() == {}
    assert hand.is_answered()
    assert "could not be delivered" in caplog.text


def test_that_no_picture_may_be_posted_is_told_later_where_the_chat_is_limited(hand: Hand) -> None:
    hand.person.failure = refused("400 not enough rights to send photos")
    hand.person.deaf = limited(0)
    asked = hand.job(destination=CHAT)
    hand.answer(asked)
    assert hand.person.shown == []
    assert set(hand.parked()) == {"job-1"}
    hand.person.deaf = None
    hand.answer(asked)
    assert hand.person.shown == [say("picture_not_posted")]
    assert hand.is_answered()


@pytest.mark.parametrize(
    "destination",
    [CHAT, DiscordDestination(application_id=1, channel_id=2, message_id=3)],
    ids=["telegram", "discord"],
)
def test_a_job_whose_bot_has_no_token_here_is_given_up_and_its_picture_forgotten(
    redis: Redis,
    indexed: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    destination: Destination,
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout may have its `.env`
    for variable in ("FAMILIAR_TELEGRAM_TOKEN", "FAMILIAR_DISCORD_TOKEN"):
        monkeypatch.delenv(variable, raising=False)
    routes = Routes(load_settings())
    hand = hand_of(redis, indexed, routes=routes)
    asked = hand.job(destination=destination, upload=hand.uploads.put(b"a picture", "job-1"))
    hand.answer(asked)
    routes.close()
    assert "job-1 could not be delivered: There is no token for the" in caplog.text
    assert hand.is_answered()
    assert hand.uploads.get(asked.upload) is None


class TestARateLimitLongerThanAnAttempt:
    """The platform has said for how long it wants to hear nothing of a chat."""

    def test_nothing_is_worked_on_until_then(self, hand: Hand, clock: Clock) -> None:
        attempts: list[float] = []
        hand.person.on_answer = lambda: attempts.append(clock.now)
        hand.person.failure = limited(1.5)
        asked = hand.job()
        until = clock.now + 1.5
        for _ in range(3):
            hand.answer(asked)
            assert not hand.redis.exists(claim_key("job-1")), "no worker holds on to it"
            assert hand.parked()["job-1"] - until == pytest.approx(0, abs=0.001)
            clock.now += 0.4
        assert len(attempts) == 1
        hand.person.failure = None
        clock.now = until + 0.001
        hand.answer(asked)
        assert len(attempts) == 2
        assert len(hand.person.shown) == 1

    def test_the_other_jobs_of_that_chat_are_not_even_searched_for(self, hand: Hand) -> None:
        hand.person.failure = limited(30)
        hand.answer(hand.job(destination=CHAT))
        hand.person.failure = None
        hand.person.on_answer = lambda: pytest.fail("worked on")
        hand.answer(hand.job(destination=CHAT, id="job-2"))
        assert hand.person.shown == []
        assert set(hand.parked()) == {"job-1", "job-2"}

    def test_other_jobs_are_answered_meanwhile(self, hand: Hand) -> None:
        hand.person.failure = limited(30)
        hand.answer()
        hand.person.failure = None
        hand.answer(hand.job(id="job-2"))
        assert len(hand.person.shown) == 1

    def test_a_job_that_is_late_by_then_is_told_so_once_the_chat_takes_it(
        self, hand: Hand, clock: Clock
    ) -> None:
        hand.person.failure = limited(120)
        hand.person.deaf = limited(0)
        asked = hand.job(60)
        hand.answer(asked)
        again = hand.parked()["job-1"]
        assert again > asked.deadline
        for when, sentences in ((asked.deadline, 0), (again, 1)):
            clock.now = when + 0.05
            hand.answer(asked)
            assert len(hand.person.say_until) == sentences, "while limited it is not even tried"
            assert hand.claims.take("job-1") is Standing.OURS, "nobody was told anything"
            hand.claims.release("job-1")
        hand.person.deaf = None
        hand.answer(asked)
        assert hand.person.shown == [say("too_late")]
        assert hand.is_answered()

    @pytest.mark.parametrize("taken", ["an answer", "a refusal for good"])
    def test_once_the_chat_has_taken_or_refused_one_nobody_waits_behind_it(
        self, hand: Hand, taken: str
    ) -> None:
        hand.person.failure = limited(0)
        first = hand.job(destination=CHAT)
        hand.answer(first)
        assert set(hand.parked()) == {"job-1"}
        hand.person.failure = None
        if taken == "a refusal for good":
            first = hand.job(destination=CHAT, upload="0" * 64)  # it has expired
            hand.person.deaf = refused("403")
        hand.answer(first)
        hand.answer(hand.job(destination=CHAT, id="job-2"))
        assert sum(isinstance(shown, bytes) for shown in hand.person.shown) == (
            2 if taken == "an answer" else 1
        )
        assert set(hand.parked()) == {"job-1"}

    def test_the_last_try_in_a_chat_that_is_still_limited_is_brief(self, hand: Hand) -> None:
        hand.person.failure = limited(600)
        hand.answer(hand.job(destination=CHAT))
        hand.person.say_until.clear()
        hand.answer(hand.job(-TELLING_SECONDS - 1, destination=CHAT, id="job-2"))
        (until,) = hand.person.say_until
        assert until <= time.time() + BRIEF_SECONDS

    def test_where_it_is_taken_by_nobody_until_long_after_it_is_tried_once_more(
        self, hand: Hand, clock: Clock
    ) -> None:
        hand.person.failure = limited(3600)
        asked = hand.job(60, destination=CHAT)
        hand.answer(asked)
        assert hand.parked() == {"job-1": asked.deadline + tasks.TELLING_SECONDS}
        clock.now = asked.deadline + tasks.TELLING_SECONDS
        hand.answer(asked)
        assert hand.person.shown == [say("too_late")]
        assert hand.is_answered()


def test_pictures_that_are_answered_at_once_are_bounded_in_their_pixels(
    redis: Redis, indexed: Path, resident: Resident, monkeypatch: pytest.MonkeyPatch
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
    hand = hand_of(redis, indexed, resident)
    with ThreadPoolExecutor(8) as threads:
        for number in range(8):
            threads.submit(hand.answer, hand.job(id=f"job-{number}"))
    assert len(hand.person.shown) == 8
    assert most == 2


def test_an_unexpected_error_is_one_sentence_and_a_traceback_in_the_log(
    hand: Hand, caplog: pytest.LogCaptureFixture
) -> None:
    hand.person.failure = RuntimeError("nobody foresaw this")
    hand.answer()
    assert hand.person.shown == [say("unexpected")]
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.exc_info
    assert hand.is_answered(), "it would fail again"


def test_a_worker_that_ends_leaves_its_job_to_another(hand: Hand, resident: Resident) -> None:
    """It is ended while its hands are at work."""
    resident.close()
    back: list[Reject] = []

    def answer() -> None:
        with pytest.raises(Reject) as rejected:
            hand.answer()
        back.append(rejected.value)

    at_work = threading.Thread(target=answer, daemon=True)
    at_work.start()
    at_work.join(10)
    assert [reject.requeue for reject in back] == [True]
    assert hand.person.shown == []
    assert hand.claims.take("job-1") is Standing.OURS


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


def test_a_reindex_whose_last_sentence_is_not_taken_says_later_what_it_did(
    redis: Redis, tmp_path: Path
) -> None:
    drawn_gallery(tmp_path / "gallery")
    resident = Resident(FakeDetector(), FakeExtractor(), tmp_path / "data")
    reindexer = Reindexer(resident, tmp_path / "gallery", tmp_path / "data", threading.Event())
    hand = hand_of(redis, tmp_path, resident, reindexer=reindexer)
    hand.person.deaf = limited(0)
    hand.reindex()
    hand.person.deaf = None
    hand.reindex()
    resident.close()
    (told,) = hand.person.shown
    assert isinstance(told, str)
    assert "Added: amber/0.png" in told
    assert hand.is_answered("r-1")
    assert hand.claims.kept("r-1") is None


def test_what_a_reindex_did_is_told_by_the_next_worker_also_when_its_time_is_over(
    redis: Redis, indexed: Path
) -> None:
    Claims(redis).keep("r-1", "Added: one.")
    hand = hand_of(redis, indexed)
    hand.reindex(-1)
    assert hand.person.shown == ["Added: one."]


def test_a_worker_that_lost_its_claim_says_nothing_of_its_reindex(
    redis: Redis, indexed: Path
) -> None:
    def run_while_another_takes_over() -> str:
        redis.set(claim_key("r-1"), "another worker")
        return "done"

    hand = hand_of(redis, indexed, reindexer=ReadyReindexer(run_while_another_takes_over))
    with pytest.raises(Reject) as rejected:
        hand.reindex()
    assert rejected.value.requeue
    assert hand.person.shown == []
    assert redis.get(claim_key("r-1")) == b"another worker"


def test_an_unexpected_error_of_a_reindex_speaks_of_the_index(redis: Redis, indexed: Path) -> None:
    hand = hand_of(redis, indexed, reindexer=FailingReindexer())
    hand.reindex()
    assert hand.person.shown == [say("reindex_failed")]
    assert hand.is_answered("r-1")


def test_a_worker_that_lost_its_claim_delivers_nothing(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw_while_another_takes_over(*_: object) -> bytes:
        hand.redis.set(claim_key("job-1"), "another worker")
        return b"a collage"

    monkeypatch.setattr(tasks, "draw", draw_while_another_takes_over)
    with pytest.raises(Reject) as rejected:
        hand.answer()
    assert rejected.value.requeue
    assert hand.person.shown == []
    assert hand.redis.get(claim_key("job-1")) == b"another worker"


class TestAJobThatItsWorkerDiesOf:
    """What is known of it: it was begun and never ended."""

    @staticmethod
    def died_of(redis: Redis, job_id: str, times: int) -> None:
        redis.set(begun_key(job_id), times)

    def test_it_is_given_up_in_a_sentence(
        self, hand: Hand, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.died_of(hand.redis, "job-1", tasks.DEATHS)
        hand.answer()
        assert hand.person.shown == [say("unexpected")]
        assert hand.is_answered()
        assert "job-1 is given up" in caplog.text

    def test_one_that_died_once_is_tried_again(self, hand: Hand) -> None:
        self.died_of(hand.redis, "job-1", 1)
        for name in ("job-1", "job-2"):
            hand.answer(hand.job(id=name))
        assert [type(shown) for shown in hand.person.shown] == [bytes, bytes]

    def test_however_work_ends_it_has_ended(self, hand: Hand) -> None:
        redis, person = hand.redis, hand.person
        open_at_the_time: list[bytes | None] = []
        person.on_answer = lambda: open_at_the_time.append(redis.get(begun_key("job-1")))
        person.failure = limited(0)
        for _ in range(4):
            hand.answer()
        person.failure = RuntimeError("nobody foresaw this")
        hand.answer()
        assert open_at_the_time == [b"1"] * 5
        assert redis.get(begun_key("job-1")) == b"0"
        assert 0 < redis.ttl(begun_key("job-1")) <= 3600

    def test_of_several_one_is_worked_on_and_the_others_wait(self, hand: Hand) -> None:
        first, second, fresh = (hand.job(id=name) for name in ("job-1", "job-2", "job-3"))
        self.died_of(hand.redis, "job-1", 1)
        self.died_of(hand.redis, "job-2", 1)

        def meanwhile() -> None:
            hand.person.on_answer = lambda: None
            hand.answer(second)
            hand.answer(fresh)

        hand.person.on_answer = meanwhile
        hand.answer(first)
        assert len(hand.person.shown) == 2
        assert set(hand.parked()) == {"job-2"}
        assert hand.redis.get(begun_key("job-2")) == b"1", "it was not begun again"
        hand.answer(second)
        assert len(hand.person.shown) == 3

    def test_a_reindex_is_given_more_tries(self, redis: Redis, indexed: Path) -> None:
        hand = hand_of(redis, indexed, reindexer=ReadyReindexer(lambda: "done"))
        for name, deaths in (("r-1", tasks.DEATHS), ("r-2", tasks.DEATHS_OF_A_REINDEX)):
            self.died_of(redis, name, deaths)
            hand.reindex(job_id=name)
        assert hand.person.shown == ["done", say("reindex_failed")]


def test_a_slow_answer_shows_that_the_bot_is_at_work(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "SIGN_AFTER", 0.05)
    monkeypatch.setattr(tasks, "SIGN_EVERY", 0.05)
    hand.person.on_answer = lambda: wait_for(lambda: hand.person.signs >= 2, "two signs", 5)
    hand.answer()
    signs = hand.person.signs
    assert signs >= 2
    time.sleep(0.15)
    assert hand.person.signs == signs, "and not after it"


def test_a_dead_redis_puts_the_job_back(indexed: Path, resident: Resident) -> None:
    with real_redis() as server, server.client() as client:
        hand = hand_of(client, indexed, resident)
        asked = hand.job()
        server.stop()
        with pytest.raises(Reject) as rejected:
            hand.answer(asked)
        assert rejected.value.requeue
        assert hand.person.shown == []
