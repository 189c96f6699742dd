"""The Telegram bot as a real process, between the tests' own Bot API server and a real Redis."""

from __future__ import annotations

import itertools
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from redis import Redis

from bot.telegram.albums import SILENCE_SECONDS
from core.job import SimilarJob
from core.look import Look
from core.texts import say
from tests.bot.pictures import picture as picture_file
from tests.platforms.jobs import waiting_reindex_jobs, waiting_similar_jobs
from tests.platforms.processes import RealProcess, real_redis, running, wait_for
from tests.platforms.telegram_server import (
    TOKEN,
    ApiError,
    Chat,
    Message,
    TelegramServer,
    User,
)
from worker.app import INDEX_QUEUE, LOOK_QUEUE, WORKER_HEARTBEAT_KEY
from worker.store import UploadStore

ADMIN = User(9001, "Ada", "en")
LIMITS = {"FAMILIAR_LIMIT_UPLOAD_MIB": "1", "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "5"}
LOOKING = say("looking")
NO_PICTURE = say("telegram_no_picture", command="/similar")
PAPER = {"file_name": "a.pdf", "mime_type": "application/pdf"}
COLOURS = ["red", "green", "blue", "white", "black", "gold"]

picture = partial(picture_file, kind="JPEG")


class TopicOpened(Message):
    """The service message at the beginning of a topic, which Telegram names as the one replied to
    by whatever is written there and replies to nothing."""

    def payload(self, *, with_reply: bool = True) -> dict[str, Any]:
        topic = {"name": "Drawings", "icon_color": 0x6FB9F0}
        return Message.payload(self, with_reply=with_reply) | {"forum_topic_created": topic}


@dataclass
class Community:
    """A Telegram with the bot in it, its queue, and a heartbeat as if a worker were there."""

    telegram: TelegramServer
    redis: Redis
    bot: RealProcess
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))
    mika: User = field(init=False)
    noor: User = field(init=False)
    chat: Chat = field(init=False)
    group: Chat = field(init=False)

    def renew(self) -> None:
        """New people in a new chat and a new group, an empty queue and a worker at work."""
        self.redis.delete(LOOK_QUEUE, INDEX_QUEUE)
        self.redis.set(WORKER_HEARTBEAT_KEY, 1)
        self.mika = User(next(self.numbers), "Mika", "en-GB")
        self.noor = User(next(self.numbers), "Noor", "en")
        self.chat = self.telegram.private_chat(self.mika)
        self.group = self.telegram.group(-next(self.numbers), "Fans", [self.mika, self.noor])

    def jobs(self, count: int = 1) -> list[SimilarJob]:
        """So many jobs, and no more."""
        wait_for(
            lambda: len(waiting_similar_jobs(self.redis)) >= count, f"{count} jobs in the queue"
        )
        self.wait_until_idle()
        jobs = waiting_similar_jobs(self.redis)
        assert len(jobs) == count
        return jobs

    def wait_until_idle(self, seconds: float = 0.3) -> None:
        """The bot has seen everything before this once it answers this, and then has had time
        for what it would do about it."""
        person = User(next(self.numbers), "Ines", "en")
        asked = self.telegram.send_text(person, self.telegram.private_chat(person), "/help")
        self.telegram.wait_for_reply(asked)
        time.sleep(seconds)

    def stored(self, job: SimilarJob) -> bytes | None:
        return UploadStore(self.redis, 60).get(job.upload)

    def is_answered_in(self, job: SimilarJob, asked: Message) -> None:
        """The job goes to the one placeholder below the message that asked."""
        (placeholder,) = self.telegram.replies(asked)
        destination = job.destination
        assert destination.platform == "telegram"
        assert destination.chat_id == asked.chat.id
        assert destination.message_id == placeholder.id
        assert destination.reply_to == asked.id
        assert placeholder.text == LOOKING

    def is_refused(self, asked: Message, sentence: str) -> None:
        """The person reads one sentence, and no job was made."""
        self.telegram.wait_for_sentence(asked, sentence)
        assert len(self.telegram.replies(asked)) == 1
        assert waiting_similar_jobs(self.redis) == []


@pytest.fixture(scope="module")
def running_community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    with TelegramServer() as telegram, real_redis() as redis:
        environment = {
            "REDIS_URL": redis.url,
            "FAMILIAR_TELEGRAM_TOKEN": TOKEN,
            "FAMILIAR_TELEGRAM_API_URL": telegram.url,
            "FAMILIAR_TELEGRAM_ADMINS": str(ADMIN.id),
            **LIMITS,
        }
        telegram.private_chat(ADMIN)
        folder = tmp_path_factory.mktemp("bot")
        with running("telegram", environment, folder) as bot, redis.client() as client:
            telegram.wait_until_polled()
            yield Community(telegram, client, bot)
            assert "Traceback" not in bot.output()


@pytest.fixture
def community(running_community: Community) -> Community:
    running_community.renew()
    return running_community


class TestInAPrivateChat:
    def test_a_photo_alone_becomes_a_job_that_names_its_bytes(self, community: Community) -> None:
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        (job,) = community.jobs()
        assert community.stored(job) == picture()
        assert (job.look, job.count, job.language) == (Look.BOTH, 4, "en")
        assert job.id.startswith(f"telegram-{community.telegram.bot.id}-")
        assert 0 < job.deadline - job.asked_at <= 600
        community.is_answered_in(job, asked)

    def test_the_bot_shows_that_it_is_at_work(self, community: Community) -> None:
        community.telegram.send_photo(community.mika, community.chat, picture())
        community.jobs()
        actions = community.telegram.calls_of("sendChatAction")
        assert actions[-1].parameters["chat_id"] == str(community.chat.id)

    def test_a_file(self, community: Community) -> None:
        data = picture(kind="PNG")
        asked = community.telegram.send_document(community.mika, community.chat, data)
        (job,) = community.jobs()
        assert community.stored(job) == data
        community.is_answered_in(job, asked)

    def test_an_animation_by_its_first_frame(self, community: Community) -> None:
        asked = community.telegram.send_animation(community.mika, community.chat, picture("gold"))
        (job,) = community.jobs()
        assert community.stored(job) == picture("gold")
        community.is_answered_in(job, asked)

    def test_a_picture_that_was_deleted_at_once_is_answered_all_the_same(
        self, community: Community
    ) -> None:
        telegram = community.telegram
        telegram.limit("sendMessage", 1)
        asked = telegram.send_photo(community.mika, community.chat, picture())
        telegram.wait_for(lambda: not telegram.pending_faults("sendMessage"))
        telegram.delete(asked)
        (job,) = community.jobs()
        (placeholder,) = telegram.from_bot(community.chat)
        assert placeholder.reply_to is None
        assert job.destination.platform == "telegram"
        assert job.destination.message_id == placeholder.id

    def test_words_below_a_picture_that_are_no_command(self, community: Community) -> None:
        asked = community.telegram.send_photo(
            community.mika, community.chat, picture(), "who is she?"
        )
        (job,) = community.jobs()
        community.is_answered_in(job, asked)

    def test_a_command_below_a_picture_chooses_look_and_count(self, community: Community) -> None:
        telegram, mika, chat = community.telegram, community.mika, community.chat
        telegram.send_photo(mika, chat, picture(), "/similar 6 character")
        telegram.wait_for(lambda: community.redis.llen(LOOK_QUEUE) == 1)
        telegram.send_document(mika, chat, picture(), "/similar feel")
        first, second = community.jobs(2)
        assert (first.look, first.count) == (Look.CHARACTER, 6)
        assert (second.look, second.count) == (Look.FEEL, 4)

    def test_a_command_in_reply_to_a_picture(self, community: Community) -> None:
        shown = community.telegram.send_photo(community.mika, community.chat, picture("gold"))
        (own,) = community.jobs()
        asked = community.telegram.send_text(
            community.mika, community.chat, "/similar feel 2", reply_to=shown
        )
        job = community.jobs(2)[1]
        assert job.upload == own.upload
        assert (job.look, job.count) == (Look.FEEL, 2)
        community.is_answered_in(job, asked)

    def test_words_in_reply_to_a_picture_are_no_request(self, community: Community) -> None:
        telegram, mika, chat = community.telegram, community.mika, community.chat
        shown = telegram.send_photo(mika, chat, picture())
        community.jobs()
        asked = telegram.send_text(mika, chat, "my favourite!", reply_to=shown)
        telegram.wait_for_sentence(asked, NO_PICTURE)
        community.jobs(1)

    def test_text_alone_is_told_what_to_do(self, community: Community) -> None:
        for text in ("hello", "/similar", "/dance"):
            asked = community.telegram.send_text(community.mika, community.chat, text)
            community.is_refused(asked, NO_PICTURE)


class TestInAGroup:
    def test_a_caption_with_the_command(self, community: Community) -> None:
        asked = community.telegram.send_photo(
            community.mika, community.group, picture(), "/similar@familiar_test_bot character"
        )
        (job,) = community.jobs()
        assert job.look is Look.CHARACTER
        community.is_answered_in(job, asked)

    def test_the_command_in_reply_to_somebody_elses_file(self, community: Community) -> None:
        data = picture("blue", kind="PNG")
        shown = community.telegram.send_document(community.noor, community.group, data)
        asked = community.telegram.send_text(
            community.mika, community.group, "/similar", reply_to=shown
        )
        (job,) = community.jobs()
        assert community.stored(job) == data
        community.is_answered_in(job, asked)

    def test_a_mention_in_reply_to_a_picture(self, community: Community) -> None:
        shown = community.telegram.send_photo(community.noor, community.group, picture())
        asked = community.telegram.send_text(
            community.mika, community.group, "🦊 @familiar_test_bot feel please", reply_to=shown
        )
        (job,) = community.jobs()
        assert job.look is Look.FEEL
        assert community.stored(job) == picture()
        community.is_answered_in(job, asked)

    @pytest.mark.parametrize("text", ["/similar feel", "@familiar_test_bot feel"])
    @pytest.mark.parametrize("kind", ["photo", "file", "animation"])
    def test_in_reply_to_a_picture_of_another_chat(
        self, community: Community, text: str, kind: str
    ) -> None:
        telegram, noor = community.telegram, community.noor
        elsewhere = telegram.group(-next(community.numbers), "Drawings", [noor])
        send = {
            "photo": telegram.send_photo,
            "file": telegram.send_document,
            "animation": telegram.send_animation,
        }[kind]
        shown = send(noor, elsewhere, picture())
        asked = telegram.send_text(community.mika, community.group, text, reply_to=shown)
        (job,) = community.jobs()
        assert community.stored(job) == picture()
        assert job.look is Look.FEEL
        assert not job.spoiler
        community.is_answered_in(job, asked)

    def test_in_reply_to_something_else_of_another_chat(self, community: Community) -> None:
        telegram, mika, noor = community.telegram, community.mika, community.noor
        elsewhere = telegram.group(-next(community.numbers), "Drawings", [noor])
        words = telegram.send_text(noor, elsewhere, "good morning")
        asked = telegram.send_text(mika, community.group, "/similar", reply_to=words)
        community.is_refused(asked, NO_PICTURE)
        paper = telegram.send_document(noor, elsewhere, b"%PDF", None, **PAPER)
        asked = telegram.send_text(mika, community.group, "/similar", reply_to=paper)
        community.is_refused(asked, "not a picture I can read")

    def test_what_is_not_meant_for_the_bot_is_left_alone(self, community: Community) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        shown = telegram.send_photo(mika, group, picture(), "my new drawing")
        telegram.send_text(mika, group, "nice", reply_to=shown)
        telegram.send_text(mika, group, "/similar@other_test_bot", reply_to=shown)
        telegram.send_text(mika, group, "thanks @familiar_test_bot")
        telegram.send_text(mika, group, "@other_test_bot", reply_to=shown)
        telegram.send_album(mika, group, [picture(), picture("red")], "my album")
        community.wait_until_idle(SILENCE_SECONDS + 0.5)
        assert telegram.from_bot(group) == []
        assert waiting_similar_jobs(community.redis) == []

    def test_a_command_or_mention_without_a_picture(self, community: Community) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        words = telegram.send_text(community.noor, group, "good morning")
        for text, reply_to in (
            ("/similar", None),
            ("/similar", words),
            ("@familiar_test_bot", None),
            ("@familiar_test_bot who?", words),
        ):
            asked = telegram.send_text(mika, group, text, reply_to=reply_to)
            community.is_refused(asked, NO_PICTURE)

    def test_in_a_topic_the_bot_shows_there_that_it_is_at_work(self, community: Community) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        asked = telegram.send_photo(mika, group, picture(), "/similar", topic_id=77)
        (job,) = community.jobs()
        community.is_answered_in(job, asked)
        assert job.destination.platform == "telegram"
        assert job.destination.topic_id == 77, "so that the worker can show it too"
        action = telegram.calls_of("sendChatAction")[-1].parameters
        assert action["chat_id"] == str(group.id)
        assert action["message_thread_id"] == "77"

    def test_a_mention_in_passing_within_a_topic_is_left_alone(self, community: Community) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        opened = TopicOpened(next(community.numbers), group, community.noor, int(time.time()))
        telegram.send_text(mika, group, "thanks @familiar_test_bot", reply_to=opened)
        community.wait_until_idle()
        assert telegram.from_bot(group) == []
        asked = telegram.send_text(mika, group, "@familiar_test_bot", reply_to=opened)
        community.is_refused(asked, NO_PICTURE)

    def test_where_the_bot_may_not_write_nothing_is_enqueued(self, community: Community) -> None:
        refusal = ApiError(400, "Bad Request: not enough rights to send text messages to the chat")
        community.telegram.refuse("sendMessage", refusal)
        community.telegram.send_photo(community.mika, community.group, picture(), "/similar")
        community.telegram.wait_for(
            lambda: not community.telegram.pending_faults("sendMessage"), what="the refusal"
        )
        community.wait_until_idle()
        assert waiting_similar_jobs(community.redis) == []


class TestAlbums:
    def uploads(self, community: Community, count: int) -> list[bytes | None]:
        return [community.stored(job) for job in community.jobs(count)]

    def test_each_picture_is_answered_once(self, community: Community) -> None:
        pictures = [picture(colour) for colour in COLOURS[:3]]
        album = community.telegram.send_album(community.mika, community.chat, pictures)
        jobs = community.jobs(3)
        assert [community.stored(job) for job in jobs] == pictures
        for job, asked in zip(jobs, album, strict=True):
            community.is_answered_in(job, asked)
        assert len({job.id for job in jobs}) == 3

    @pytest.mark.parametrize("caption_at", [0, 2])
    def test_the_caption_counts_for_all_wherever_it_stands(
        self, community: Community, caption_at: int
    ) -> None:
        pictures = [picture(colour) for colour in COLOURS[:3]]
        community.telegram.send_album(
            community.mika, community.group, pictures, "/similar feel 2", caption_at=caption_at
        )
        jobs = community.jobs(3)
        assert [community.stored(job) for job in jobs] == pictures
        assert {(job.look, job.count) for job in jobs} == {(Look.FEEL, 2)}

    def test_only_the_first_four(self, community: Community) -> None:
        pictures = [picture(colour) for colour in COLOURS]
        album = community.telegram.send_album(community.mika, community.chat, pictures)
        assert self.uploads(community, 4) == pictures[:4]
        assert [len(community.telegram.replies(message)) for message in album] == [1, 1, 1, 1, 0, 0]

    def test_its_pictures_may_come_slowly(self, community: Community) -> None:
        pictures = [picture(colour) for colour in COLOURS[:3]]
        community.telegram.send_album(
            community.mika, community.group, pictures, "/similar", caption_at=2, pause=0.4
        )
        assert self.uploads(community, 3) == pictures

    def test_a_reply_to_one_of_it_asks_for_that_one_alone(self, community: Community) -> None:
        pictures = [picture(colour) for colour in COLOURS[:3]]
        album = community.telegram.send_album(community.noor, community.group, pictures)
        asked = community.telegram.send_text(
            community.mika, community.group, "/similar", reply_to=album[1]
        )
        (job,) = community.jobs()
        assert community.stored(job) == pictures[1]
        community.is_answered_in(job, asked)


class TestSpoilers:
    """Whoever covers a picture has the answer covered, which shows it again."""

    def test_a_photo_alone(self, community: Community) -> None:
        community.telegram.send_photo(community.mika, community.chat, picture(), spoiler=True)
        (job,) = community.jobs()
        assert job.spoiler

    def test_an_animation(self, community: Community) -> None:
        community.telegram.send_animation(community.mika, community.chat, picture(), spoiler=True)
        (job,) = community.jobs()
        assert job.spoiler

    def test_a_caption_with_the_command(self, community: Community) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        telegram.send_photo(mika, group, picture(), "/similar", spoiler=True)
        (job,) = community.jobs()
        assert job.spoiler

    @pytest.mark.parametrize("text", ["/similar", "@familiar_test_bot"])
    def test_a_reply(self, community: Community, text: str) -> None:
        telegram, group = community.telegram, community.group
        shown = telegram.send_photo(community.noor, group, picture(), spoiler=True)
        telegram.send_text(community.mika, group, text, reply_to=shown)
        (job,) = community.jobs()
        assert job.spoiler

    def test_a_reply_to_another_chat(self, community: Community) -> None:
        telegram, noor = community.telegram, community.noor
        elsewhere = telegram.group(-next(community.numbers), "Drawings", [noor])
        shown = telegram.send_photo(noor, elsewhere, picture(), spoiler=True)
        telegram.send_text(community.mika, community.group, "/similar", reply_to=shown)
        (job,) = community.jobs()
        assert job.spoiler

    def test_each_picture_of_an_album_for_itself(self, community: Community) -> None:
        pictures = [picture(colour) for colour in COLOURS[:3]]
        community.telegram.send_album(community.mika, community.chat, pictures, covered=(1,))
        assert [job.spoiler for job in community.jobs(3)] == [False, True, False]

    def test_what_is_not_covered_is_answered_openly(self, community: Community) -> None:
        community.telegram.send_photo(community.mika, community.chat, picture())
        (job,) = community.jobs()
        assert not job.spoiler


class TestBadInput:
    """Each with its own sentence in the one reply."""

    def send(self, community: Community, data: bytes, name: str = "a.png") -> Message:
        return community.telegram.send_document(
            community.mika, community.chat, data, file_name=name, mime_type="image/png"
        )

    @pytest.mark.parametrize(
        ("data", "sentence"),
        [
            (b"", say("picture_empty")),
            (b"just words", "not a picture I can read"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture I can read"),
            (b"%PDF-1.7", "not a picture I can read"),
        ],
        ids=["empty", "text", "svg", "pdf"],
    )
    def test_no_picture_whatever_its_name_says(
        self, community: Community, data: bytes, sentence: str
    ) -> None:
        community.is_refused(self.send(community, data), sentence)

    def test_more_bytes_than_allowed(self, community: Community) -> None:
        before = len(community.telegram.calls_of("getFile"))
        community.is_refused(self.send(community, bytes(3 << 19)), "too large: 1.5 MiB")
        assert len(community.telegram.calls_of("getFile")) == before

    def test_a_bomb(self, community: Community) -> None:
        def chunk(name: bytes, body: bytes) -> bytes:
            check = zlib.crc32(name + body).to_bytes(4, "big")
            return len(body).to_bytes(4, "big") + name + body + check

        side = (30_000).to_bytes(4, "big")
        header = chunk(b"IHDR", side + side + bytes([8, 2, 0, 0, 0]))
        body = chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
        bomb = b"\x89PNG\r\n\x1a\n" + header + body
        community.is_refused(self.send(community, bomb), "too many pixels")

    def test_a_file_of_another_kind(self, community: Community) -> None:
        asked = community.telegram.send_document(community.mika, community.chat, b"%PDF", **PAPER)
        community.is_refused(asked, "not a picture I can read")

    def test_a_count_out_of_range(self, community: Community) -> None:
        asked = community.telegram.send_photo(
            community.mika, community.chat, picture(), "/similar 12"
        )
        community.is_refused(asked, "between 1 and 9")

    def test_an_album_with_one_bad_file_in_it(self, community: Community) -> None:
        telegram, mika, chat = community.telegram, community.mika, community.chat
        good = telegram.send_photo(mika, chat, picture("red"), media_group_id="77")
        bad = telegram.send_document(mika, chat, b"words", media_group_id="77")
        also_good = telegram.send_photo(mika, chat, picture("blue"), media_group_id="77")
        first, second = community.jobs(2)
        community.is_answered_in(first, good)
        community.is_answered_in(second, also_good)
        telegram.wait_for_sentence(bad, "not a picture I can read")

    def test_a_picture_that_telegram_does_not_hand_out(self, community: Community) -> None:
        refusal = ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable")
        community.telegram.refuse("getFile", refusal)
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        community.is_refused(asked, say("picture_not_fetched"))

    def test_the_sentence_is_in_the_persons_language(self, community: Community) -> None:
        person = User(next(community.numbers), "Yuki", "ja")
        chat = community.telegram.private_chat(person)
        asked = community.telegram.send_document(person, chat, b"words")
        sentence = say("picture_wrong_type", "ja", formats="JPEG, PNG, WEBP, GIF, BMP")
        community.is_refused(asked, sentence)


class TestLimitsAndRepeats:
    def test_a_repeated_update_is_answered_once(self, community: Community) -> None:
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        community.jobs()
        community.telegram.repeat(asked)
        community.wait_until_idle()
        assert len(community.jobs()) == 1
        assert len(community.telegram.replies(asked)) == 1

    def test_a_changed_caption_does_not_ask_again(self, community: Community) -> None:
        asked = community.telegram.send_photo(community.mika, community.group, picture(), "new")
        community.telegram.edit_caption(asked, "/similar")
        community.wait_until_idle()
        assert community.telegram.replies(asked) == []
        polls = community.telegram.calls_of("getUpdates")
        assert {poll.parameters["allowed_updates"] for poll in polls} == {'["message"]'}

    def test_the_sixth_request_within_a_minute(self, community: Community) -> None:
        asked = []
        before = len(community.telegram.calls_of("getFile"))
        for number in range(6):
            asked.append(community.telegram.send_photo(community.mika, community.chat, picture()))
            community.telegram.wait_for_reply(asked[-1])
            community.telegram.wait_for(
                lambda done=number + 1: community.redis.llen(LOOK_QUEUE) >= min(done, 5)
            )
        community.telegram.wait_for_sentence(asked[5], "ask again in")
        community.jobs(5)
        fetched = len(community.telegram.calls_of("getFile")) - before
        assert fetched == 5, "what is refused is not fetched"
        # Somebody else is not held up.
        community.telegram.send_photo(
            community.noor, community.telegram.private_chat(community.noor), picture()
        )
        community.jobs(6)

    def test_more_requests_are_refused_once_and_then_in_silence(self, community: Community) -> None:
        telegram, mika, chat = community.telegram, community.mika, community.chat
        for _ in range(20):
            telegram.send_photo(mika, chat, picture())
        community.jobs(5)
        texts = sorted(message.text or "" for message in telegram.from_bot(chat))
        assert texts[:5] == [LOOKING] * 5
        (refusal,) = texts[5:]
        assert "ask again in" in refusal

    @pytest.mark.parametrize(
        ("text", "reply_to_paper"),
        [
            pytest.param("/help", False, id="help"),
            pytest.param("/start", False, id="start"),
            pytest.param("/reindex", False, id="not an admin"),
            pytest.param("/similar", False, id="no picture"),
            pytest.param("/similar", True, id="wrong type"),
        ],
    )
    def test_answers_without_a_picture_are_limited_with_the_others(
        self, community: Community, text: str, *, reply_to_paper: bool
    ) -> None:
        telegram, mika, group = community.telegram, community.mika, community.group
        paper = telegram.send_document(community.noor, group, b"%PDF", **PAPER)
        for _ in range(8):
            telegram.send_text(mika, group, text, reply_to=paper if reply_to_paper else None)
        telegram.wait_for(lambda: len(telegram.from_bot(group)) >= 6)
        picture_too = telegram.send_photo(mika, telegram.private_chat(mika), picture())
        community.wait_until_idle()
        assert telegram.replies(picture_too) == []
        said = [message.words for message in telegram.from_bot(group)]
        assert len(said) == 6
        assert ["ask again in" in words for words in said].count(True) == 1

    def test_so_is_a_count_out_of_range(self, community: Community) -> None:
        telegram, mika, chat = community.telegram, community.mika, community.chat
        for _ in range(8):
            telegram.send_photo(mika, chat, picture(), "/similar 12")
        community.wait_until_idle()
        assert len(telegram.from_bot(chat)) == 6

    def test_a_group_that_takes_no_more_holds_up_nobody_elsewhere(
        self, community: Community
    ) -> None:
        """More answers to its commands than the bot works on at once."""
        telegram = community.telegram
        people = [User(next(community.numbers), f"Stranger {n}", "en") for n in range(15)]
        group = telegram.group(-next(community.numbers), "Loud", people)
        telegram.slow_down(group)
        for person in people:
            for _ in range(6):
                telegram.send_text(person, group, "/help")
        telegram.wait_for(lambda: len(telegram.from_bot(group)) == 20)
        asked = telegram.send_photo(community.mika, community.chat, picture())
        telegram.wait_for_sentence(asked, LOOKING, 10)
        community.jobs()

    def test_telegrams_own_limit_is_waited_for(self, community: Community) -> None:
        community.telegram.limit("sendMessage", 1)
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        (job,) = community.jobs()
        community.is_answered_in(job, asked)

    def test_a_lost_connection_is_outlasted(self, community: Community) -> None:
        community.telegram.hang_up("getUpdates")
        community.telegram.hang_up("getFile")
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        (job,) = community.jobs()
        community.is_answered_in(job, asked)


class TestALostAnswer:
    """Telegram has done what it was asked for, and the bot does not learn of it."""

    def test_a_placeholder_stands_there_once_and_the_person_is_asked_to_try_again(
        self, community: Community
    ) -> None:
        """No worker could find that placeholder: whoever waited below it would do so for ever."""
        community.telegram.lose_answer("sendMessage")
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        community.telegram.wait_for_sentence(asked, say("command_failed"))
        said = [message.text for message in community.telegram.replies(asked)]
        assert said == [LOOKING, say("command_failed")]
        assert waiting_similar_jobs(community.redis) == []

    def test_an_edit_is_made_again(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        community.telegram.lose_answer("editMessageText")
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        community.jobs()
        (placeholder,) = community.telegram.replies(asked)
        assert placeholder.text == say("worker_away", minutes=10)


class TestWithoutAWorker:
    def test_the_person_is_told_and_the_request_is_kept(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        asked = community.telegram.send_photo(community.mika, community.chat, picture())
        community.telegram.wait_for_sentence(asked, "Nobody is at work at the moment")
        (job,) = community.jobs()
        (placeholder,) = community.telegram.replies(asked)
        assert job.destination.platform == "telegram"
        assert job.destination.message_id == placeholder.id


class TestReindex:
    def test_an_admin_may(self, community: Community) -> None:
        chat = community.telegram.private_chat(ADMIN)
        asked = community.telegram.send_text(ADMIN, chat, "/reindex")
        community.telegram.wait_for_sentence(asked, say("telegram_reindexing"))
        wait_for(lambda: waiting_reindex_jobs(community.redis), "the job")
        (job,) = waiting_reindex_jobs(community.redis)
        (placeholder,) = community.telegram.replies(asked)
        assert job.destination.platform == "telegram"
        assert (job.destination.chat_id, job.destination.message_id) == (chat.id, placeholder.id)

    def test_an_admin_learns_that_nobody_is_at_work(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        chat = community.telegram.private_chat(ADMIN)
        asked = community.telegram.send_text(ADMIN, chat, "/reindex")
        community.telegram.wait_for_sentence(asked, say("worker_away_reindex"))
        wait_for(lambda: waiting_reindex_jobs(community.redis), "the job")

    def test_nobody_else_may_not_even_a_groups_owner(self, community: Community) -> None:
        group = community.telegram.group(
            -next(community.numbers), "Mika's", [community.mika], Mika="creator"
        )
        asked = community.telegram.send_text(community.mika, group, "/reindex")
        community.telegram.wait_for_sentence(asked, say("not_admin"))
        assert waiting_reindex_jobs(community.redis) == []


class TestHelpAndMenu:
    @pytest.mark.parametrize("command", ["/help", "/start", "/help@familiar_test_bot"])
    def test_help_tells_every_way_of_asking(self, community: Community, command: str) -> None:
        asked = community.telegram.send_text(community.mika, community.group, command)
        text = community.telegram.wait_for_reply(asked).text or ""
        for part in ("/similar", "@familiar_test_bot", "album", "/reindex", "1 MiB", "30 minutes"):
            assert part in text

    def test_the_menu_is_set_and_shows_reindex_to_admins_alone(self, community: Community) -> None:
        commands = community.telegram.commands
        names = {
            scope: [command["command"] for command in listed]
            for (scope, language), listed in commands.items()
            if language == ""
        }
        assert names == {
            "default": ["similar", "help"],
            f"chat:{ADMIN.id}": ["similar", "reindex", "help"],
        }
