"""The Discord bot as a real process, between the tests' own Discord and a real Redis."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
import simcord
from redis import Redis

from core.look import Look
from core.texts import languages, say
from tests.bot.pictures import picture
from tests.platforms.discord_wire import DiscordServer, Shown, Upload, discord_server
from tests.platforms.jobs import waiting_reindex_jobs, waiting_similar_jobs
from tests.platforms.processes import RealProcess, real_redis, running, wait_for
from worker.app import INDEX_QUEUE, LOOK_QUEUE, WORKER_HEARTBEAT_KEY
from worker.store import UploadStore

TOO_MANY = [say("too_many_requests", seconds=seconds) for seconds in range(1, 61)]
LIMITS = {"FAMILIAR_LIMIT_UPLOAD_MIB": "1", "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "5"}


@dataclass
class Community:
    """A Discord with the bot in it, its queue, and a heartbeat as if a worker were there."""

    discord: DiscordServer
    redis: Redis
    bot: RealProcess

    def wait_for_jobs(self, count: int = 1) -> None:
        wait_for(
            lambda: len(waiting_similar_jobs(self.redis)) >= count, f"{count} jobs in the queue", 10
        )

    def wait_until_idle(self) -> None:
        """Whatever the bot was told before this has been handled once it has answered this."""
        self.discord.slash("help").wait(10)

    def stored(self, sha256: str) -> bytes | None:
        return UploadStore(self.redis, 60).get(sha256)


@pytest.fixture(scope="module")
def running_community(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    with discord_server() as discord, real_redis() as redis:
        environment = {**discord.settings(), **LIMITS, "REDIS_URL": redis.url}
        folder = tmp_path_factory.mktemp("bot")
        with running("discord", environment, folder) as bot, redis.client() as client:
            discord.wait_for_bot(bot)
            yield Community(discord, client, bot)
            assert "Traceback" not in bot.output()


@pytest.fixture
def community(running_community: Community) -> Community:
    """The same community in an empty channel, with an empty queue and a worker at work."""
    running_community.discord.new_channel()
    running_community.discord.requests.clear()
    running_community.redis.delete(LOOK_QUEUE, INDEX_QUEUE)
    running_community.redis.set(WORKER_HEARTBEAT_KEY, 1)
    return running_community


class TestSlashCommand:
    def test_a_picture_becomes_a_job_that_names_its_bytes(self, community: Community) -> None:
        discord = community.discord
        asked = discord.slash("similar", picture=("mimi.png", picture()))
        community.wait_for_jobs()

        (job,) = waiting_similar_jobs(community.redis)
        assert community.stored(job.upload) == picture()
        assert (job.look, job.count, job.language) == (Look.BOTH, 4, "en")
        assert job.id.startswith("discord-")
        assert job.destination.platform == "discord"
        assert job.destination.application_id == discord.application_id
        assert job.destination.channel_id == discord.channel.id
        assert job.destination.interaction_token
        assert not job.destination.private
        assert job.destination.file_bytes == discord.file_bytes
        assert 0 < job.deadline - job.asked_at <= 600
        # The placeholder is the worker's now.
        assert asked.shown is not None
        assert asked.shown.thinking
        assert not asked.shown.ephemeral

    def test_the_job_stays_small(self, community: Community) -> None:
        community.discord.slash("similar", picture=("mimi.png", picture()))
        community.wait_for_jobs()
        assert len(community.redis.lindex(LOOK_QUEUE, 0)) < 4096

    def test_every_option(self, community: Community) -> None:
        asked = community.discord.slash(
            "similar", picture=("a.png", picture()), look="feel", count=9, private=True
        )
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert (job.look, job.count) == (Look.FEEL, 9)
        assert job.destination.platform == "discord"
        assert job.destination.private
        assert asked.shown is not None
        assert asked.shown.ephemeral

    @pytest.mark.parametrize("options", [{"count": 0}, {"count": 10}, {"look": "colour"}])
    def test_discord_itself_refuses_what_is_out_of_range(
        self, community: Community, options: dict[str, object]
    ) -> None:
        with pytest.raises(simcord.SetupError):
            community.discord.slash("similar", picture=("a.png", picture()), **options)


class TestContextMenu:
    def test_somebodys_picture(self, community: Community) -> None:
        discord = community.discord
        message = discord.send("who is this?", [("a.png", picture())], by=discord.admin)
        asked = discord.context_menu("Find similar", message)
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert community.stored(job.upload) == picture()
        assert job.destination.platform == "discord"
        assert job.destination.reply_to == message
        assert asked.shown is not None
        assert asked.shown.thinking

    def test_the_first_four_pictures_get_a_message_each(self, community: Community) -> None:
        discord = community.discord
        colours = ["red", "green", "blue", "white", "black"]
        files = [(f"{colour}.png", picture(colour)) for colour in colours]
        message = discord.send("", [("notes.txt", b"text"), *files])
        asked = discord.context_menu("Find similar", message)
        community.wait_for_jobs(4)
        jobs = waiting_similar_jobs(community.redis)
        assert [community.stored(job.upload) for job in jobs] == [data for _, data in files[:4]]
        assert len({job.id for job in jobs}) == 4
        assert asked.shown is not None
        placeholders = [None, *(message.id for message in asked.followups)]
        assert [job.destination.message_id for job in jobs] == placeholders  # type: ignore[union-attr]
        assert len(placeholders) == 4

    def test_a_forwarded_picture(self, community: Community) -> None:
        discord = community.discord
        message = discord.forward(discord.send("look", [("a.png", picture())]))
        discord.context_menu("Find similar", message)
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert community.stored(job.upload) == picture()

    def test_a_message_without_a_picture(self, community: Community) -> None:
        discord = community.discord
        asked = discord.context_menu("Find similar", discord.send("just words"))
        shown = asked.wait()
        assert shown.content == say("discord_no_picture")
        assert shown.ephemeral
        assert waiting_similar_jobs(community.redis) == []


class TestMention:
    def test_in_reply_to_somebodys_picture(self, community: Community) -> None:
        discord = community.discord
        theirs = discord.send("my drawing", [("a.png", picture())], by=discord.admin)
        asking = discord.send(f"{discord.bot_mention} who is this like?", reply_to=theirs)
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        (placeholder,) = discord.bot_messages()
        assert community.stored(job.upload) == picture()
        assert placeholder.content == say("looking")
        assert placeholder.reply_to == asking
        assert job.destination.platform == "discord"
        assert job.destination.message_id == placeholder.id
        assert job.destination.interaction_token is None
        assert job.destination.reply_to == asking
        assert (job.look, job.count) == (Look.BOTH, 4)

    def test_beside_ones_own_picture(self, community: Community) -> None:
        discord = community.discord
        discord.send(discord.bot_mention, [("a.png", picture())])
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert community.stored(job.upload) == picture()

    def test_by_the_role_that_has_the_bots_name(self, community: Community) -> None:
        discord = community.discord
        theirs = discord.send("my drawing", [("a.png", picture())], by=discord.admin)
        discord.send(f"{discord.bot_role_mention} feel 2", reply_to=theirs)
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert community.stored(job.upload) == picture()
        assert (job.look, job.count) == (Look.FEEL, 2)

    def test_words_choose_look_and_count(self, community: Community) -> None:
        discord = community.discord
        discord.send(f"{discord.bot_mention} Character 6 please", [("a.png", picture())])
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        assert (job.look, job.count) == (Look.CHARACTER, 6)

    def test_several_pictures_get_a_reply_each(self, community: Community) -> None:
        discord = community.discord
        files = [(f"{colour}.png", picture(colour)) for colour in ("red", "green")]
        discord.send(discord.bot_mention, files)
        community.wait_for_jobs(2)
        jobs = waiting_similar_jobs(community.redis)
        assert [community.stored(job.upload) for job in jobs] == [data for _, data in files]
        placeholders = [message.id for message in discord.bot_messages()]
        assert [job.destination.message_id for job in jobs] == placeholders  # type: ignore[union-attr]

    def test_a_direct_message_needs_no_mention(self, community: Community) -> None:
        discord = community.discord
        discord.send_direct("", [("a.png", picture())])
        community.wait_for_jobs()
        (job,) = waiting_similar_jobs(community.redis)
        (placeholder,) = discord.bot_messages(discord.direct_channel)
        assert job.destination.platform == "discord"
        assert job.destination.channel_id == discord.direct_channel
        assert job.destination.message_id == placeholder.id

    def test_the_same_event_twice_is_one_job(self, community: Community) -> None:
        discord = community.discord
        asking = discord.send(discord.bot_mention, [("a.png", picture())])
        community.wait_for_jobs()
        discord.repeat(asking)
        community.wait_until_idle()
        assert len(waiting_similar_jobs(community.redis)) == 1
        assert len(discord.bot_messages()) == 2  # the placeholder and /help

    def test_a_message_deleted_meanwhile_is_answered_all_the_same(
        self, community: Community
    ) -> None:
        discord, redis = community.discord, community.redis
        # The bot waits for Redis before it replies.
        redis.client_pause(4000, all=False)
        asking = discord.send(discord.bot_mention, [("a.png", picture())])
        discord.delete(asking)
        redis.client_unpause()
        community.wait_for_jobs()
        (placeholder,) = discord.bot_messages()
        assert placeholder.content == say("looking")

    @pytest.mark.parametrize("text", ["{mention}", "{mention} who is that?"])
    def test_a_reply_to_words_gets_an_explanation(self, community: Community, text: str) -> None:
        discord = community.discord
        words = discord.send("just words")
        discord.send(text.format(mention=discord.bot_mention), reply_to=words)
        wait_for(discord.bot_messages, "the bot's reply", 10)
        (reply,) = discord.bot_messages()
        assert reply.content == say("discord_no_picture")

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(
                lambda discord: discord.send(f"thanks, {discord.bot_mention}!"),
                id="a mention in passing",
            ),
            pytest.param(
                lambda discord: discord.send(
                    f"<@&{discord.guild.roles['Keepers'].id}>", [("a.png", picture())]
                ),
                id="another role",
            ),
            pytest.param(
                lambda discord: discord.send("a picture", [("a.png", picture())]),
                id="a picture without a mention",
            ),
            pytest.param(
                lambda discord: discord.send(
                    "nice!", [("a.png", picture())], reply_to=discord.new_bot_message("1. Mimi")
                ),
                id="a reply to the bot, which Discord counts as a mention",
            ),
            pytest.param(
                lambda discord: discord.send(
                    discord.bot_mention,
                    [("a.png", picture())],
                    by=discord.new_member("Other bot", bot=True),
                ),
                id="another bot",
            ),
        ],
    )
    def test_what_asks_nothing_gets_no_answer(
        self, community: Community, ask: Callable[[DiscordServer], object]
    ) -> None:
        discord = community.discord
        ask(discord)
        before = [message for message in discord.bot_messages() if message.content != "1. Mimi"]
        community.wait_until_idle()
        assert before == []
        assert len([m for m in discord.bot_messages() if m.content != "1. Mimi"]) == 1  # /help
        assert waiting_similar_jobs(community.redis) == []


class TestSpoilers:
    """Whoever covers a picture has the answer covered, which shows it again."""

    COVERED: Final = ("SPOILER_a.png", picture())

    @pytest.mark.parametrize(
        "ask",
        [
            pytest.param(
                lambda discord, file: discord.slash("similar", picture=file), id="attached"
            ),
            pytest.param(
                lambda discord, file: discord.context_menu(
                    "Find similar", discord.send("", [file])
                ),
                id="context menu",
            ),
            pytest.param(
                lambda discord, file: discord.context_menu(
                    "Find similar", discord.forward(discord.send("", [file]))
                ),
                id="forwarded",
            ),
            pytest.param(
                lambda discord, file: discord.send(discord.bot_mention, [file]), id="mention"
            ),
            pytest.param(
                lambda discord, file: discord.send(
                    discord.bot_mention, reply_to=discord.send("", [file], by=discord.admin)
                ),
                id="reply",
            ),
            pytest.param(lambda discord, file: discord.send_direct("", [file]), id="direct"),
        ],
    )
    def test_every_way_of_asking(
        self, community: Community, ask: Callable[[DiscordServer, Upload], object]
    ) -> None:
        ask(community.discord, self.COVERED)
        community.wait_for_jobs()
        ask(community.discord, ("a.png", picture()))
        community.wait_for_jobs(2)
        assert [job.spoiler for job in waiting_similar_jobs(community.redis)] == [True, False]

    def test_each_picture_of_a_message_for_itself(self, community: Community) -> None:
        discord = community.discord
        files = [("a.png", picture("red")), self.COVERED, ("b.png", picture("blue"))]
        discord.context_menu("Find similar", discord.send("", files))
        community.wait_for_jobs(3)
        jobs = waiting_similar_jobs(community.redis)
        assert [job.spoiler for job in jobs] == [False, True, False]


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 2.5 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "data", "words"),
        [
            ("empty.png", b"", "empty"),
            ("notes.png", b"these are words, not a picture", "not a picture I can read"),
            ("drawing.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a picture"),
            ("paper.pdf", b"%PDF-1.7", "not a picture"),
            ("bomb.png", bomb(), "too many pixels"),
            ("large.png", picture() + b"\0" * 2**20, "too large: 1.0 MiB"),
        ],
    )
    def test_a_sentence_takes_the_place_of_thinking(
        self, community: Community, name: str, data: bytes, words: str
    ) -> None:
        shown = community.discord.slash("similar", picture=(name, data)).wait()
        assert words in shown.content
        assert waiting_similar_jobs(community.redis) == []

    def test_the_same_in_reply_to_a_mention(self, community: Community) -> None:
        discord = community.discord
        discord.send(discord.bot_mention, [("notes.png", b"words")])

        def told() -> Shown | None:
            return next((m for m in discord.bot_messages() if "not a picture" in m.content), None)

        wait_for(told, "the placeholder says why", 10)
        assert len(discord.bot_messages()) == 1

    def test_a_bad_picture_among_good_ones_spoils_none(self, community: Community) -> None:
        discord = community.discord
        message = discord.send(
            "", [("a.png", picture("red")), ("b.png", b"words"), ("c.png", picture("blue"))]
        )
        asked = discord.context_menu("Find similar", message)
        community.wait_for_jobs(2)
        jobs = waiting_similar_jobs(community.redis)
        assert [community.stored(job.upload) for job in jobs] == [picture("red"), picture("blue")]
        assert "not a picture" in asked.followups[0].content

    def test_too_large_is_said_without_fetching_it(self, community: Community) -> None:
        discord = community.discord
        fetched = discord.fetches
        discord.slash("similar", picture=("large.png", b"\0" * (2**20 + 1))).wait()
        assert discord.fetches == fetched

    def test_a_picture_that_discord_does_not_hand_out(self, community: Community) -> None:
        community.discord.expire_links(True)
        try:
            shown = community.discord.slash("similar", picture=("a.png", picture())).wait()
        finally:
            community.discord.expire_links(False)
        assert shown.content == say("picture_not_fetched")


@pytest.mark.parametrize("language", sorted(languages()))
def test_people_are_answered_in_their_language(community: Community, language: str) -> None:
    discord = community.discord
    discord.locale = language
    try:
        shown = discord.slash("similar", picture=("empty.png", b"")).wait()
        discord.slash("similar", picture=("a.png", picture()))
        community.wait_for_jobs()
    finally:
        discord.locale = "en-US"
    assert shown.content == say("picture_empty", language)
    assert waiting_similar_jobs(community.redis)[0].language == language


class TestLimits:
    def test_too_many_requests_are_refused_with_the_time_to_wait(
        self, community: Community
    ) -> None:
        discord = community.discord
        for _ in range(5):
            discord.slash("similar", picture=("a.png", picture()))
        community.wait_for_jobs(5)
        shown = discord.slash("similar", picture=("a.png", picture())).wait()
        assert shown.content in TOO_MANY
        assert len(waiting_similar_jobs(community.redis)) == 5

    def test_others_are_not_held_up_by_it(self, community: Community) -> None:
        discord = community.discord
        for _ in range(6):
            discord.slash("similar", picture=("a.png", picture()))
        other = discord.new_member("Noa")
        asked = discord.slash("similar", picture=("b.png", picture("red")), by=other)
        community.wait_for_jobs(6)
        assert asked.shown is not None
        assert asked.shown.thinking

    def test_a_command_is_answered_at_each_refusal(self, community: Community) -> None:
        discord = community.discord
        for _ in range(5):
            discord.slash("similar", picture=("a.png", picture()))
        community.wait_for_jobs(5)
        fetched = discord.fetches
        for _ in range(2):
            shown = discord.slash("similar", picture=("a.png", picture())).wait()
            assert shown.content in TOO_MANY
        assert discord.fetches == fetched, "what is refused is not fetched"

    def test_mentions_are_refused_once_and_then_in_silence(self, community: Community) -> None:
        discord = community.discord
        for _ in range(4):
            discord.send(
                discord.bot_mention, [(f"{n}.png", picture(n)) for n in ("red", "green", "blue")]
            )
        community.wait_for_jobs(5)
        wait_for(lambda: len(discord.bot_messages()) >= 6, "the refusal", 10)
        community.wait_until_idle()
        *said, help_ = [message.content for message in discord.bot_messages()]
        assert "/similar" in help_
        assert said.count(say("looking")) == 5
        assert [sentence in TOO_MANY for sentence in said].count(True) == 1
        assert len(said) == 6

    def test_mentions_without_a_picture_count_with_the_others(self, community: Community) -> None:
        discord = community.discord
        loud = discord.new_member("Lou")
        for _ in range(8):
            discord.send(discord.bot_mention, by=loud)
        wait_for(lambda: len(discord.bot_messages()) >= 6, "the refusal", 10)
        community.wait_until_idle()
        said = [m.content for m in discord.bot_messages()]
        assert said.count(say("discord_no_picture")) == 5
        assert [sentence in TOO_MANY for sentence in said].count(True) == 1
        assert len(said) == 7  # and /help

    def test_what_is_left_of_a_message_is_refused_for_the_askers_eyes_alone(
        self, community: Community
    ) -> None:
        discord = community.discord
        for _ in range(3):
            discord.slash("similar", picture=("a.png", picture()))
        community.wait_for_jobs(3)
        files = [(f"{n}.png", picture(n)) for n in ("red", "green", "blue", "white")]
        asked = discord.context_menu("Find similar", discord.send("", files))
        community.wait_for_jobs(5)
        wait_for(lambda: len(asked.followups) == 2, "the refusal", 10)
        community.wait_until_idle()
        placeholder, refusal = asked.followups
        assert placeholder.content == say("looking")
        assert refusal.content in TOO_MANY
        assert refusal.ephemeral


class TestWorkerDown:
    def test_the_person_learns_it_and_the_job_waits(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        shown = community.discord.slash("similar", picture=("a.png", picture())).wait()
        community.wait_for_jobs()
        assert shown.content == say("worker_away", minutes=10)

    def test_an_admin_learns_it(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        shown = community.discord.slash("reindex", by=community.discord.admin).wait()
        assert shown.content == say("worker_away_reindex")
        wait_for(lambda: waiting_reindex_jobs(community.redis), "the job in the queue", 10)


class TestAWordThatIsLostOnTheWay:
    """The bot cannot say that nobody is at work; the job is enqueued all the same."""

    def test_of_a_command(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        community.discord.hang_up("PATCH", "/webhooks/")
        asked = community.discord.slash("similar", picture=("a.png", picture()))
        community.wait_for_jobs()
        assert asked.shown is not None
        assert asked.shown.thinking

    def test_of_each_of_a_messages_pictures(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        channel = f"/channels/{community.discord.channel.id}/messages/"
        community.discord.hang_up("PATCH", channel, times=2)
        files = [(f"{colour}.png", picture(colour)) for colour in ("red", "green")]
        community.discord.send(community.discord.bot_mention, files)
        community.wait_for_jobs(2)
        assert [m.content for m in community.discord.bot_messages()] == [say("looking")] * 2

    def test_of_a_reindex(self, community: Community) -> None:
        community.redis.delete(WORKER_HEARTBEAT_KEY)
        community.discord.hang_up("PATCH", "/webhooks/")
        community.discord.slash("reindex", by=community.discord.admin)
        wait_for(lambda: waiting_reindex_jobs(community.redis), "the job in the queue", 10)


class TestReindex:
    def test_an_admin_gets_a_job_in_the_other_queue(self, community: Community) -> None:
        asked = community.discord.slash("reindex", by=community.discord.admin)
        wait_for(lambda: waiting_reindex_jobs(community.redis), "the job in the queue", 10)
        (job,) = waiting_reindex_jobs(community.redis)
        assert job.destination.platform == "discord"
        assert job.destination.interaction_token
        assert job.deadline - job.asked_at > 3600
        assert asked.shown is not None
        assert asked.shown.thinking
        assert waiting_similar_jobs(community.redis) == []

    def test_it_is_hidden_from_members(self, community: Community) -> None:
        discord = community.discord
        assert set(discord.available_commands(discord.member)) == {"similar", "help"}
        assert set(discord.available_commands(discord.admin)) == {"similar", "help", "reindex"}

    def test_it_is_refused_to_whoever_is_not_on_the_list(self, community: Community) -> None:
        keeper = community.discord.new_member("Kit", keeper=True)
        shown = community.discord.slash("reindex", by=keeper).wait()
        assert shown.content == say("not_admin")
        assert shown.ephemeral
        assert waiting_reindex_jobs(community.redis) == []


def test_help_names_every_way_of_asking(community: Community) -> None:
    shown = community.discord.slash("help").wait()
    assert shown.ephemeral
    for words in ("/similar", "Find similar", community.discord.bot_mention, "/reindex", "1 MiB"):
        assert words in shown.content


def test_a_lost_connection_comes_back(community: Community) -> None:
    discord = community.discord
    discord.drop_gateway()
    discord.wait_for_bot(community.bot)
    discord.send(discord.bot_mention, [("a.png", picture())])
    community.wait_for_jobs()


class TestRedisDown:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return tmp_path

    def test_the_person_learns_it_and_may_ask_again_once_it_is_back(self, folder: Path) -> None:
        with discord_server() as discord, real_redis() as redis:
            environment = {**discord.settings(), "REDIS_URL": redis.url}
            with running("discord", environment, folder) as bot:
                discord.wait_for_bot(bot)
                redis.stop()
                shown = discord.slash("similar", picture=("a.png", picture())).wait()
                assert shown.content == say("queue_unreachable")
                discord.send(discord.bot_mention, [("a.png", picture())])
                wait_for(lambda: len(discord.bot_messages()) == 2, "a reply to the mention", 20)
                assert discord.bot_messages()[-1].content == say("queue_unreachable")
                redis.start()
                discord.slash("similar", picture=("a.png", picture()))
                with redis.client() as client:
                    wait_for(lambda: waiting_similar_jobs(client), "the job in the queue", 20)
                assert bot.popen.poll() is None
