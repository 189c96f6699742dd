"""The intake, on a real Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from bot import intake as intake_module
from bot.intake import BEGUN_SECONDS, Fetch, Intake, QueueUnreachable, TooManyRequests
from core.job import DiscordDestination, FileDestination
from core.look import Look
from core.picture import UnreadablePicture
from core.problem import Problem
from core.settings import LimitSettings, QueueSettings, Settings, load_settings
from tests.bot.pictures import picture
from tests.platforms.jobs import waiting_reindex_jobs, waiting_similar_jobs
from tests.platforms.processes import RealRedis
from worker.app import INDEX_QUEUE, LOOK_QUEUE, WORKER_HEARTBEAT_KEY
from worker.claim import Claims
from worker.store import UploadStore

HERE = FileDestination()


@pytest.fixture
def redis(redis: RealRedis) -> RealRedis:
    """The module's, empty for each test."""
    with redis.client() as client:
        client.flushall()
    return redis


def settings(redis_url: str | None) -> Settings:
    return load_settings().model_copy(
        update={
            "queue": QueueSettings.model_construct(redis_url=redis_url),
            "limit": LimitSettings(
                requests_per_minute=3, upload_mib=1, upload_minutes=7, answer_minutes=5
            ),
        }
    )


@pytest.fixture
def intake(redis: RealRedis) -> Intake:
    return Intake.connect(settings(redis.url))


@pytest.fixture
def unreachable(redis: RealRedis) -> Iterator[Intake]:
    """An intake whose Redis has gone away."""
    intake = Intake.connect(settings(redis.url))
    redis.stop()
    yield intake
    redis.start()


async def ask(intake: Intake, event: str = "test-1", data: bytes | Fetch | None = None) -> None:
    await intake.similar(
        event=event,
        data=picture() if data is None else data,
        look=Look.BOTH,
        count=4,
        destination=HERE,
        language="en",
    )


class TestSimilar:
    async def test_the_job_says_everything_and_names_the_bytes(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        destination = DiscordDestination(
            application_id=1, interaction_token="secret", channel_id=2, private=True
        )
        before = time.time()
        await intake.similar(
            event="discord-123",
            data=picture(),
            look=Look.FEEL,
            count=9,
            destination=destination,
            language="en-GB",
        )
        with redis.client() as client:
            (job,) = waiting_similar_jobs(client)
            assert client.get(f"familiar:upload:{job.upload}") == picture()
            assert 6 * 60 < client.ttl(f"familiar:upload:{job.upload}") <= 7 * 60
        assert job.id == "discord-123"
        assert (job.look, job.count, job.language) == (Look.FEEL, 9, "en")
        assert job.destination == destination
        assert before <= job.asked_at <= time.time()
        assert job.deadline - job.asked_at == pytest.approx(5 * 60)

    async def test_what_celery_shows_of_a_job_holds_no_token(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        destination = DiscordDestination(
            application_id=1, interaction_token="secret-token", channel_id=2
        )
        await intake.reindex(event="discord-9", destination=destination, language="en")
        with redis.client() as client:
            message = json.loads(client.lindex(INDEX_QUEUE, 0))
        message.pop("body")
        assert "secret-token" not in json.dumps(message)
        assert "discord-9" in message["headers"]["kwargsrepr"]

    async def test_bytes_may_be_fetched_on_demand(self, intake: Intake, redis: RealRedis) -> None:
        async def fetch() -> bytes:
            return picture("red")

        await ask(intake, data=fetch)
        with redis.client() as client:
            (job,) = waiting_similar_jobs(client)
            assert client.get(f"familiar:upload:{job.upload}") == picture("red")

    @pytest.mark.parametrize(
        ("data", "key"),
        [
            (b"", "picture_empty"),
            (b"words", "picture_wrong_type"),
            (picture() + b"\0" * 2**20, "picture_too_many_bytes"),
        ],
    )
    async def test_bad_input_is_not_stored(
        self, intake: Intake, redis: RealRedis, data: bytes, key: str
    ) -> None:
        with pytest.raises(UnreadablePicture) as problem:
            await ask(intake, data=data)
        assert problem.value.key == key
        with redis.client() as client:
            assert client.llen(LOOK_QUEUE) == 0
            assert client.keys("familiar:upload:*") == []

    async def test_its_picture_is_forgotten_once_it_is_answered(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        await ask(intake)
        with redis.client() as client:
            Claims(client).answered("test-1")
            assert client.keys("familiar:upload:*") == []

    async def test_many_at_once(self, intake: Intake, redis: RealRedis) -> None:
        await asyncio.gather(*(ask(intake, f"test-{n}") for n in range(20)))
        with redis.client() as client:
            jobs = waiting_similar_jobs(client)
        assert {job.id for job in jobs} == {f"test-{n}" for n in range(20)}


class TestRateLimit:
    async def test_the_next_request_within_the_minute_is_refused(self, intake: Intake) -> None:
        for _ in range(3):
            await intake.allow("test-7")
        with pytest.raises(TooManyRequests) as refused:
            await intake.allow("test-7")
        seconds = refused.value.values["seconds"]
        assert isinstance(seconds, int)
        assert 50 <= seconds <= 60
        assert f"{seconds} seconds" in str(refused.value)

    async def test_the_first_refusal_of_a_minute_is_known(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        for minute in range(2):
            for _ in range(3):
                await intake.allow("test-7")
            firsts = []
            for _ in range(3):
                with pytest.raises(TooManyRequests) as refused:
                    await intake.allow("test-7")
                firsts.append(refused.value.first)
            assert firsts == [True, False, False], minute
            with redis.client() as client:
                client.delete("familiar:rate:test-7")

    async def test_others_are_counted_by_themselves(self, intake: Intake) -> None:
        for _ in range(3):
            await intake.allow("test-7")
        await intake.allow("test-8")

    async def test_the_count_ends_with_its_minute(self, intake: Intake, redis: RealRedis) -> None:
        for _ in range(3):
            await intake.allow("test-7")
        with redis.client() as client:
            assert client.pexpire("familiar:rate:test-7", 50)
        await asyncio.sleep(0.1)
        await intake.allow("test-7")

    async def test_asking_on_does_not_make_the_wait_longer(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        await intake.allow("test-7")
        with redis.client() as client:
            client.expire("familiar:rate:test-7", 20)
        for _ in range(2):
            await intake.allow("test-7")
        with pytest.raises(TooManyRequests) as refused:
            await intake.allow("test-7")
        assert refused.value.values["seconds"] <= 20  # type: ignore[operator]


class TestAnswersWithoutAJob:
    """What a bot posts for no picture, such as its help."""

    async def test_they_count_with_the_pictures(self, intake: Intake) -> None:
        await intake.allow("test-7")
        for _ in range(2):
            assert await intake.words("test-7", "en", "help") == "help"
        with pytest.raises(TooManyRequests):
            await intake.allow("test-7")
        assert await intake.words("test-8", "en", "help") == "help"

    async def test_too_many_are_told_once_and_then_nothing(self, intake: Intake) -> None:
        said = [await intake.words("test-7", "en", "help") for _ in range(6)]
        assert said[:3] == ["help"] * 3
        assert "ask again in" in (said[3] or "")
        assert said[4:] == [None, None]

    async def test_without_redis_the_bot_counts_by_itself(
        self, unreachable: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said = [await unreachable.words("test-7", "en", "help") for _ in range(4)]
        assert said == ["help"] * 3 + [None]
        away = QueueUnreachable("queue_unreachable")
        assert unreachable.refusal("test-7", "en", away) is None
        assert unreachable.refusal("test-8", "en", away) == str(away)
        later = time.monotonic() + 61
        monkeypatch.setattr(intake_module.time, "monotonic", lambda: later)
        assert unreachable.refusal("test-7", "en", away) == str(away)


class TestEvents:
    """Each is taken once; one whose process died is not ignored for ever."""

    @staticmethod
    async def expires(redis: RealRedis, event: str) -> None:
        with redis.client() as client:
            client.pexpire(f"familiar:event:{event}", 1)
            while client.exists(f"familiar:event:{event}"):
                await asyncio.sleep(0.01)

    async def test_an_event_is_seen_once(self, intake: Intake) -> None:
        assert await intake.first_sight("test-1")
        assert not await intake.first_sight("test-1")
        assert await intake.first_sight("test-2")

    async def test_one_that_came_to_nothing_is_remembered_for_minutes(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        assert await intake.first_sight("test-1")
        with redis.client() as client:
            assert 0 < client.ttl("familiar:event:test-1") <= BEGUN_SECONDS
        await self.expires(redis, "test-1")
        assert await intake.first_sight("test-1")

    async def test_one_that_became_a_job_is_remembered_for_a_day(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        assert await intake.first_sight("test-1")
        await ask(intake)
        assert await intake.first_sight("test-2")
        await intake.reindex(event="test-2", destination=HERE, language="en")
        with redis.client() as client:
            for event in ("test-1", "test-2"):
                assert not await intake.first_sight(event)
                assert 23 * 3600 < client.ttl(f"familiar:event:{event}") <= 24 * 3600

    async def test_so_is_one_that_was_refused(self, intake: Intake, redis: RealRedis) -> None:
        async def fetch() -> bytes:
            raise UnreadablePicture("picture_empty")

        assert await intake.first_sight("test-1")
        with pytest.raises(UnreadablePicture):
            await ask(intake, data=fetch)
        with redis.client() as client:
            assert client.ttl("familiar:event:test-1") > 23 * 3600

    @pytest.fixture
    def looking(self, monkeypatch: pytest.MonkeyPatch, redis: RealRedis) -> Intake:
        """Another process of the bot, which waits for one look only until it takes a request."""
        monkeypatch.setattr(intake_module, "LEFT_SECONDS", 0)
        return Intake.connect(settings(redis.url))

    async def test_a_request_in_hand_when_its_bot_was_killed_is_asked_for_again(
        self, intake: Intake, redis: RealRedis, looking: Intake
    ) -> None:
        await ask(intake, "test-1")
        await self.killed(intake, "test-2")
        with redis.client() as client:
            client.delete(LOOK_QUEUE)
            await looking.ask_again("other")
            await looking.ask_again("other")
            await looking.ask_again("test")
            assert waiting_similar_jobs(client) == []
            await looking.ask_again("test")
            await looking.ask_again("test")
            (job,) = waiting_similar_jobs(client)
            assert (job.id, job.destination) == ("test-2", HERE)
            assert UploadStore(client, 60).get(job.upload) is None
            assert not client.exists("familiar:held:test")

    async def test_a_request_in_hand_of_a_bot_that_lives_is_left_to_it(
        self, intake: Intake, redis: RealRedis, looking: Intake
    ) -> None:
        asked, fetched = await self.fetching(intake, "test-1")
        for _ in range(4):
            await looking.ask_again("test")
            await intake.ask_again("test")
        with redis.client() as client:
            assert waiting_similar_jobs(client) == []
            fetched.set()
            await asked
            (job,) = waiting_similar_jobs(client)
            assert UploadStore(client, 60).get(job.upload) == picture()

    async def test_nobody_counts_as_killed_who_could_not_show_that_it_lives(
        self, intake: Intake, redis: RealRedis, looking: Intake
    ) -> None:
        asked, fetched = await self.fetching(intake, "test-1")
        await looking.ask_again("test")
        with redis.client() as client:
            client.rename("familiar:held:test", "aside")
            client.set("familiar:held:test", "Redis answers with an error")
            await looking.ask_again("test")
            client.rename("aside", "familiar:held:test")
            await looking.ask_again("test")
            assert waiting_similar_jobs(client) == []
        fetched.set()
        await asked

    async def test_one_request_that_cannot_be_read_hinders_no_other(
        self, intake: Intake, redis: RealRedis, looking: Intake
    ) -> None:
        await self.killed(intake, "test-1")
        await self.killed(intake, "test-2")
        with redis.client() as client:
            client.set("familiar:in-hand:test-1", "of another version")
            for _ in range(2):
                await looking.ask_again("test")
            assert [job.id for job in waiting_similar_jobs(client)] == ["test-2"]
            assert not client.exists("familiar:in-hand:test-1", "familiar:held:test")

    async def test_it_is_looked_for_as_long_as_the_bot_runs(
        self, intake: Intake, redis: RealRedis, looking: Intake, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(intake_module, "LOOK_SECONDS", 0.01)
        keeping = asyncio.create_task(looking.keep_asking("test"))
        await self.killed(intake, "test-1")
        with redis.client() as client:
            async with asyncio.timeout(30):
                while not waiting_similar_jobs(client):
                    await asyncio.sleep(0.01)
        keeping.cancel()

    @staticmethod
    async def fetching(intake: Intake, event: str) -> tuple[asyncio.Task[None], asyncio.Event]:
        """A request whose picture is being fetched, and what ends that."""
        begun, fetched = asyncio.Event(), asyncio.Event()

        async def fetch() -> bytes:
            begun.set()
            await fetched.wait()
            return picture()

        asked = asyncio.create_task(ask(intake, event, fetch))
        await begun.wait()
        return asked, fetched

    async def killed(self, intake: Intake, event: str) -> None:
        """Stop a request in the middle, as a bot does that is killed."""
        asked, _ = await self.fetching(intake, event)
        asked.cancel()
        await asyncio.wait([asked])

    async def test_what_was_answered_by_a_sentence_is_not_asked_for_again(
        self, intake: Intake, redis: RealRedis, looking: Intake
    ) -> None:
        with pytest.raises(UnreadablePicture):
            await ask(intake, data=b"words")
        for _ in range(2):
            await looking.ask_again("test")
        with redis.client() as client:
            assert waiting_similar_jobs(client) == []

    async def test_one_that_was_refused_while_redis_took_no_writes_is_not_asked_for_again(
        self,
        intake: Intake,
        redis: RealRedis,
        looking: Intake,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        asked, fetched = await self.fetching(intake, "test-1")
        with redis.client() as client:
            client.config_set("min-replicas-to-write", 1)
            try:
                fetched.set()
                with pytest.raises(QueueUnreachable):
                    await asked
                assert client.hlen("familiar:held:test") == 1
                for _ in range(3):
                    await intake.ask_again("test")
                    await looking.ask_again("test")
            finally:
                client.config_set("min-replicas-to-write", 0)
            await intake.ask_again("test")
            for _ in range(2):
                await looking.ask_again("test")
            assert waiting_similar_jobs(client) == []
            assert not client.exists("familiar:in-hand:test-1", "familiar:held:test")
        assert caplog.text.count("could not be written down as settled") == 1
        assert "killed" not in caplog.text

    async def test_a_redis_that_is_away_keeps_no_bot_from_starting(
        self, unreachable: Intake
    ) -> None:
        await unreachable.ask_again("test")


async def test_a_reindex_has_its_own_queue_and_hours_of_time(
    intake: Intake, redis: RealRedis
) -> None:
    await intake.reindex(event="test-1", destination=HERE, language="xx")
    with redis.client() as client:
        (job,) = waiting_reindex_jobs(client)
        assert client.llen(LOOK_QUEUE) == 0
    assert job.language == "en"
    assert job.deadline - job.asked_at == pytest.approx(6 * 3600)


async def test_a_worker_is_alive_as_long_as_its_heartbeat_is_there(
    intake: Intake, redis: RealRedis
) -> None:
    assert not await intake.worker_alive()
    with redis.client() as client:
        client.set(WORKER_HEARTBEAT_KEY, 1)
    assert await intake.worker_alive()


class TestFullRedis:
    """More pictures than Redis may keep."""

    @pytest.fixture
    def full(self, redis: RealRedis) -> Iterator[None]:
        with redis.client() as client:
            used = client.info("memory")["used_memory"]
            # A picture of a MiB takes more than its share; jobs and counts still fit.
            client.config_set("maxmemory", used + 2**20)
            yield
            client.config_set("maxmemory", 0)

    @staticmethod
    def large() -> bytes:
        return picture() + b"\0" * (2**20 - 1000)

    @pytest.mark.usefixtures("full")
    async def test_the_person_reads_the_sentence_and_the_queue_works_on(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        with pytest.raises(QueueUnreachable) as problem:
            await ask(intake, data=self.large())
        assert problem.value.key == "queue_unreachable"
        with redis.client() as client:
            assert waiting_similar_jobs(client) == []
        await intake.reindex(event="test-2", destination=HERE, language="en")

    async def test_also_where_redis_itself_refuses_everything(
        self, intake: Intake, redis: RealRedis
    ) -> None:
        with redis.client() as client:
            client.config_set("maxmemory", 1)
            try:
                for question in (
                    intake.first_sight("test-1"),
                    intake.allow("test-7"),
                    ask(intake),
                    intake.reindex(event="test-1", destination=HERE, language="en"),
                ):
                    with pytest.raises(QueueUnreachable, match="queue cannot be reached"):
                        await question
            finally:
                client.config_set("maxmemory", 0)
            assert await intake.first_sight("test-1")


class TestNoRedis:
    async def test_every_question_ends_soon_with_a_sentence(self, unreachable: Intake) -> None:
        begun = time.monotonic()
        for question in (
            unreachable.first_sight("test-1"),
            unreachable.allow("test-7"),
            ask(unreachable),
            unreachable.reindex(event="test-1", destination=HERE, language="en"),
            unreachable.worker_alive(),
        ):
            with pytest.raises(QueueUnreachable, match="queue cannot be reached"):
                await question
        assert time.monotonic() - begun < 20

    async def test_the_event_loop_is_not_held_up_meanwhile(self, unreachable: Intake) -> None:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0.01)

        turning = asyncio.create_task(turn())
        with pytest.raises(QueueUnreachable):
            await unreachable.reindex(event="test-1", destination=HERE, language="en")
        turning.cancel()
        assert turns > 5

    async def test_it_works_again_once_redis_is_back(
        self, unreachable: Intake, redis: RealRedis
    ) -> None:
        with pytest.raises(QueueUnreachable):
            await ask(unreachable)
        redis.start()
        await ask(unreachable, "test-2")
        with redis.client() as client:
            assert [job.id for job in waiting_similar_jobs(client)] == ["test-2"]
        redis.stop()

    def test_no_address(self) -> None:
        with pytest.raises(Problem, match="REDIS_URL"):
            Intake.connect(settings(None))

    @pytest.mark.parametrize(
        "address", ["http://:hunter2@localhost", "redis://:hunter2@localhost?socket_timeout=3"]
    )
    def test_an_address_that_cannot_be_used_is_not_repeated(self, address: str) -> None:
        with pytest.raises(Problem, match="REDIS_URL") as problem:
            Intake.connect(settings(address))
        assert "hunter2" not in str(problem.value)


def test_a_bot_may_be_late_for_some_of_its_looks_before_it_is_taken_for_killed() -> None:
    assert intake_module.LEFT_SECONDS >= 3 * intake_module.LOOK_SECONDS
