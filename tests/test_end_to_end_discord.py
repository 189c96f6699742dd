"""From a member's picture to the collage under it: Discord, bot, Redis and worker as processes.

The worker has the small models of `tests.core.fakes`, whose answers about drawn pictures are known
beforehand; the last tests run the shipped models.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.demo.characters import CHARACTERS
from cli.demo.gallery import ASKED_NUMBER
from cli.demo.gallery import picture as drawn
from core.picture import read
from core.texts import say
from tests import shared_data
from tests.core.fakes import HAIR, drawn_gallery, drawn_scene, file_of, head
from tests.platforms.collages import check_collage, check_seed, named_in
from tests.platforms.discord_wire import TOKEN_SECONDS, Asked, DiscordServer, Shown, discord_server
from tests.platforms.processes import RealProcess, real_redis, running, wait_for
from tests.platforms.workplace import Workplace
from worker.app import WORKER_HEARTBEAT_KEY


@dataclass
class Community:
    """A Discord with the bot in it, and the place where its workers run."""

    discord: DiscordServer
    place: Workplace
    bot: RealProcess

    def start_worker(self, *, fakes: bool = True) -> RealProcess:
        return self.place.start_worker(fakes=fakes, **self.discord.settings())

    def reindex(self) -> Shown:
        """Run `/reindex` and wait for its end."""
        asked = self.discord.slash("reindex", by=self.discord.admin)

        def ended() -> Shown | None:
            shown = asked.shown
            return shown if shown is not None and "is up to date:" in shown.content else None

        shown = wait_for(ended, "the end of the reindex", 120)
        assert shown is not None
        return shown


@contextmanager
def community_in(folder: Path) -> Iterator[Community]:
    """A community with a gallery that is not indexed, and no worker."""
    with discord_server() as discord, real_redis(durable=True) as redis:
        place = Workplace(redis, folder)
        if not place.gallery.exists():
            drawn_gallery(place.gallery)
        environment = {
            **discord.settings(),
            "REDIS_URL": redis.url,
            "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "1000",
        }
        try:
            with running("discord", environment, folder) as bot:
                discord.wait_for_bot(bot)
                yield Community(discord, place, bot)
        finally:
            place.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    with community_in(tmp_path_factory.mktemp("community")) as community:
        community.place.index()
        community.start_worker()
        wait_for(lambda: community.place.redis.exists(WORKER_HEARTBEAT_KEY), "the heartbeat")
        yield community


@pytest.fixture
def discord(serving: Community) -> DiscordServer:
    """The Discord of a community that is being served, in an empty channel."""
    serving.discord.new_channel()
    serving.discord.requests.clear()
    return serving.discord


def answered(asked: Asked, timeout: float = 30) -> Shown:
    """The answer to a command, once the collage is there."""

    def finished() -> Shown | None:
        shown = asked.shown
        return shown if shown is not None and shown.pictures else None

    shown = wait_for(finished, "the collage", timeout)
    assert shown is not None
    return shown


def answers_in(discord: DiscordServer, count: int, channel: int | None = None) -> list[Shown]:
    """The bot's messages in the channel, once so many of them hold a collage."""

    def finished() -> list[Shown]:
        shown = [message for message in discord.bot_messages(channel) if message.pictures]
        return shown if len(shown) >= count else []

    return wait_for(finished, f"{count} collages", 30)


class TestEachWayOfAsking:
    def test_slash_command(self, discord: DiscordServer) -> None:
        shown = answered(discord.slash("similar", picture=("a.png", file_of(head("emerald")))))
        check_collage(shown.pictures[0], shown.content, head("emerald"))
        assert named_in(shown.content)[0].name == "emerald"
        assert not shown.ephemeral
        assert len(discord.bot_messages()) == 1

    @pytest.mark.parametrize("look", ["both", "character", "feel"])
    @pytest.mark.parametrize("count", [1, 9])
    def test_slash_command_with_options(
        self, discord: DiscordServer, look: str, count: int
    ) -> None:
        asked = discord.slash(
            "similar",
            picture=("a.png", file_of(head("coral"))),
            look=look,
            count=count,
            private=True,
        )
        shown = answered(asked)
        check_collage(shown.pictures[0], shown.content, head("coral"), count=count)
        assert shown.ephemeral

    def test_context_menu_on_a_message_with_two_pictures(self, discord: DiscordServer) -> None:
        seeds = [head("blue"), head("amber")]
        files = [(f"{n}.png", file_of(seed)) for n, seed in enumerate(seeds)]
        message = discord.send("who are they?", files, by=discord.admin)
        discord.context_menu("Find similar", message)
        shown = answers_in(discord, 2)
        assert len(shown) == 2
        for one, seed, name in zip(shown, seeds, ["blue", "amber"], strict=True):
            check_collage(one.pictures[0], one.content, seed)
            assert named_in(one.content)[0].name == name

    def test_reply_with_a_mention(self, discord: DiscordServer) -> None:
        theirs = discord.send("", [("a.png", file_of(head("dark")))], by=discord.admin)
        asking = discord.send(f"{discord.bot_mention} character 3", reply_to=theirs)
        (shown,) = answers_in(discord, 1)
        check_collage(shown.pictures[0], shown.content, head("dark"), count=3)
        assert shown.reply_to == asking
        assert len(discord.bot_messages()) == 1

    def test_direct_message(self, discord: DiscordServer) -> None:
        discord.send_direct("", [("a.png", file_of(head("blue")))])
        (shown,) = answers_in(discord, 1, discord.direct_channel)
        check_collage(shown.pictures[0], shown.content, head("blue"))


class TestWhatIsInThePicture:
    def test_two_faces_get_a_row_each(self, discord: DiscordServer) -> None:
        seed = drawn_scene([("blue", 90, 120, 40), ("emerald", 230, 120, 32)], background=7)
        shown = answered(discord.slash("similar", picture=("a.png", file_of(seed)), count=2))
        check_collage(shown.pictures[0], shown.content, seed, rows=2, count=2)
        assert "Face 1\n1. blue" in shown.content
        assert "Face 2\n3. emerald" in shown.content

    def test_no_face_gets_the_whole_pictures_result_and_says_so(
        self, discord: DiscordServer
    ) -> None:
        seed = drawn_scene([], background=200)
        shown = answered(discord.slash("similar", picture=("a.png", file_of(seed))))
        check_collage(shown.pictures[0], shown.content, seed)
        assert shown.content.startswith(say("caption_no_face"))

    def test_a_picture_of_the_gallery_does_not_find_itself(
        self, discord: DiscordServer, serving: Community
    ) -> None:
        own = (serving.place.gallery / "coral" / "1.png").read_bytes()
        shown = answered(discord.slash("similar", picture=("a.png", own), count=9))
        names = [named.name for named in named_in(shown.content)]
        assert names[:2] == ["coral", "coral"]
        assert names.count("coral") == 2, "the third is the picture itself"

    def test_a_truncated_picture_gets_a_sentence(self, discord: DiscordServer) -> None:
        half = file_of(head("blue"))[:3000]
        shown = discord.slash("similar", picture=("a.png", half)).wait()
        assert shown.content == say("picture_damaged")
        assert shown.pictures == ()


def test_many_people_at_once_are_each_answered_once(discord: DiscordServer) -> None:
    names = list(HAIR)
    asked = [
        discord.slash(
            "similar", picture=("a.png", file_of(head(name))), by=discord.new_member(name)
        )
        for name in names * 2
    ]
    for one, name in zip(asked, names * 2, strict=True):
        assert named_in(answered(one).content)[0].name == name
    assert len(discord.bot_messages()) == len(asked)


def test_discord_failing_now_and_then_costs_no_answer(discord: DiscordServer) -> None:
    discord.fail("PATCH", "/webhooks/", 502)
    discord.fail("PATCH", "/webhooks/", 429, retry_after=0.5)
    shown = answered(discord.slash("similar", picture=("a.png", file_of(head("blue")))))
    check_collage(shown.pictures[0], shown.content, head("blue"))
    assert [r.status for r in discord.calls("PATCH", "/webhooks/")] == [502, 429, 200]


class TestReindex:
    def test_from_nothing_indexed_to_an_answer(self, tmp_path: Path) -> None:
        with community_in(tmp_path) as community:
            discord, place = community.discord, community.place
            (place.gallery / "coral" / "broken.png").write_bytes(b"no picture")
            community.start_worker()
            picture = ("a.png", file_of(head("coral")))
            assert discord.slash("similar", picture=picture).wait().content == say(
                "nothing_indexed"
            )

            shown = community.reindex()
            assert "15 pictures" in shown.content
            assert "broken.png" in shown.content
            found = answered(discord.slash("similar", picture=picture))
            check_collage(found.pictures[0], found.content, head("coral"))
            # Three commands, three messages: the progress stood in the one that it ended in.
            assert len(discord.bot_messages()) == 3


class TestWorkerDown:
    def test_the_answer_replaces_the_sentence_once_a_worker_is_back(self, tmp_path: Path) -> None:
        with community_in(tmp_path) as community:
            discord = community.discord
            community.place.index()
            asked = discord.slash("similar", picture=("a.png", file_of(head("blue"))))
            assert asked.wait().content == say("worker_away", minutes=10)
            community.start_worker()
            shown = answered(asked)
            check_collage(shown.pictures[0], shown.content, head("blue"))
            assert len(discord.bot_messages()) == 1

    def test_an_answer_after_the_interaction_expired_is_posted_once(self, tmp_path: Path) -> None:
        with community_in(tmp_path) as community:
            discord = community.discord
            community.place.index()
            message = discord.send("", [("a.png", file_of(head("blue")))], by=discord.admin)
            asked = discord.context_menu("Find similar", message)
            asked.wait()
            discord.pass_time(TOKEN_SECONDS)
            community.start_worker()
            (shown,) = answers_in(discord, 1)
            check_collage(shown.pictures[0], shown.content, head("blue"))
            assert shown.reply_to == message
            assert len(discord.bot_messages()) == 2


class TestShippedModels:
    """Everything real: the detector and the extractor as they are in the repository."""

    @pytest.fixture(scope="class")
    def community(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
        """Some of the demo's characters and, where there are any, real pictures; indexed."""
        folder = tmp_path_factory.mktemp("shipped")
        for who in CHARACTERS[:4]:
            (folder / "gallery" / who.name).mkdir(parents=True)
            for number in range(1, 5):
                drawn(who, number).save(folder / "gallery" / who.name / f"{number}.png")
        drawn(CHARACTERS[0], ASKED_NUMBER).save(folder / "asked.png")
        for paths in real_pictures().values():
            (folder / "gallery" / paths[0].parent.name).mkdir()
            for path in paths[1:]:
                shutil.copy(path, folder / "gallery" / path.parent.name)
        with community_in(folder) as community:
            community.start_worker(fakes=False)
            community.reindex()
            yield community

    def test_a_drawn_character_is_found(self, community: Community) -> None:
        picture = community.place.folder / "asked.png"
        asked = community.discord.slash("similar", picture=("a.png", picture.read_bytes()))
        shown = answered(asked, 60)
        check_seed(shown.pictures[0], read(picture).pixels)
        assert named_in(shown.content)[0].name == CHARACTERS[0].name
        assert not shown.content.startswith(say("caption_no_face"))

    if shared_data.present("gallery"):

        def test_real_characters_are_found(self, community: Community) -> None:
            found = []
            for name, (picture, *_) in real_pictures().items():
                asked = community.discord.slash("similar", picture=("a.jpg", picture.read_bytes()))
                shown = answered(asked, 60)
                check_seed(shown.pictures[0], read(picture).pixels, tolerance=16)
                # Discord's markup is escaped in what is sent, and people do not see that.
                if named_in(shown.content.replace("\\", ""))[0].name == name:
                    found.append(name)
            assert len(found) >= 3


def real_pictures() -> dict[str, list[Path]]:
    """Five characters with eleven pictures each, of which the first is to ask."""
    if not shared_data.present("gallery"):
        return {}
    folders = sorted((shared_data.ROOT / "gallery").iterdir())[:5]
    return {folder.name: sorted(folder.iterdir())[:11] for folder in folders}
