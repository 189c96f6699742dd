"""From a person's picture to the collage below it: Telegram, bot, Redis and worker as processes.

The worker has the small models of `tests.core.fakes`, whose answers about drawn pictures are known
beforehand; the last test runs the shipped models.
"""

from __future__ import annotations

import io
import itertools
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.demo.characters import CHARACTERS
from cli.demo.gallery import ASKED_NUMBER, picture
from core.texts import say
from tests.core.fakes import drawn_gallery, drawn_scene, file_of, head
from tests.platforms.collages import check_collage, difference, named_in, seeds_in
from tests.platforms.processes import RealProcess, real_redis, running, wait_for
from tests.platforms.telegram_server import (
    TOKEN,
    Chat,
    Message,
    TelegramServer,
    User,
)
from tests.platforms.workplace import Workplace
from tests.shared_data import ROOT, present
from worker.app import WORKER_HEARTBEAT_KEY

ADMIN = User(9001, "Ada", "en")


@dataclass
class Community:
    """A Telegram with the bot in it, and the place where its workers run."""

    telegram: TelegramServer
    place: Workplace
    bot: RealProcess
    settings: dict[str, str]
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(100))

    def start_worker(self, *, fakes: bool = True) -> RealProcess:
        return self.place.start_worker(fakes=fakes, **self.settings)

    def person(self, name: str = "Mika") -> tuple[User, Chat]:
        """Somebody new, and their chat with the bot."""
        user = User(next(self.numbers), name, "en")
        return user, self.telegram.private_chat(user)

    def group(self) -> tuple[User, User, Chat]:
        """A new group and two people in it."""
        (mika, _), (noor, _) = self.person("Mika"), self.person("Noor")
        return mika, noor, self.telegram.group(-next(self.numbers), "Fans", [mika, noor])


@contextmanager
def community_in(folder: Path) -> Iterator[Community]:
    """A community with a gallery that is not indexed, and no worker."""
    with TelegramServer() as telegram, real_redis(durable=True) as redis:
        place = Workplace(redis, folder)
        if not place.gallery.exists():
            drawn_gallery(place.gallery)
        settings = {
            "FAMILIAR_TELEGRAM_TOKEN": TOKEN,
            "FAMILIAR_TELEGRAM_API_URL": telegram.url,
            "FAMILIAR_TELEGRAM_ADMINS": str(ADMIN.id),
        }
        environment = {
            **settings,
            "REDIS_URL": redis.url,
            "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "1000",
        }
        try:
            with running("telegram", environment, folder) as bot:
                telegram.wait_until_polled()
                yield Community(telegram, place, bot, settings)
        finally:
            place.close()


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Community]:
    with community_in(tmp_path_factory.mktemp("community")) as community:
        community.place.index()
        community.start_worker()
        wait_for(lambda: community.place.redis.exists(WORKER_HEARTBEAT_KEY), "the heartbeat")
        yield community


def answered(community: Community, asked: Message) -> tuple[bytes, str]:
    """The collage and the caption that a message got in its one reply."""
    shown = community.telegram.wait_for_picture(asked, 30)
    assert community.telegram.replies(asked) == [shown]
    assert shown.photo, "a photo, and not a file"
    return shown.photo[-1].data, shown.caption or ""


class TestEachWayOfAsking:
    def test_a_photo_in_a_private_chat(self, serving: Community) -> None:
        mika, chat = serving.person()
        asked = serving.telegram.send_photo(mika, chat, file_of(head("emerald")))
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("emerald"))
        assert named_in(caption)[0].name == "emerald"

    def test_a_file_in_a_private_chat(self, serving: Community) -> None:
        mika, chat = serving.person()
        asked = serving.telegram.send_document(mika, chat, file_of(head("amber")))
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("amber"))

    @pytest.mark.parametrize("look", ["both", "character", "feel"])
    @pytest.mark.parametrize("count", [1, 9])
    def test_a_command_as_caption(self, serving: Community, look: str, count: int) -> None:
        mika, _, group = serving.group()
        asked = serving.telegram.send_photo(
            mika, group, file_of(head("coral")), f"/similar {count} {look}"
        )
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("coral"), count=count)

    def test_a_command_as_caption_of_a_file(self, serving: Community) -> None:
        mika, _, group = serving.group()
        asked = serving.telegram.send_document(
            mika, group, file_of(head("blue")), "/similar@familiar_test_bot"
        )
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("blue"))

    def test_a_command_in_reply_to_a_picture(self, serving: Community) -> None:
        mika, noor, group = serving.group()
        theirs = serving.telegram.send_photo(noor, group, file_of(head("dark")))
        asked = serving.telegram.send_text(mika, group, "/similar character 3", reply_to=theirs)
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("dark"), count=3)
        assert serving.telegram.replies(theirs) == []

    def test_a_mention_in_reply_to_a_picture(self, serving: Community) -> None:
        mika, noor, group = serving.group()
        theirs = serving.telegram.send_document(noor, group, file_of(head("blue")))
        asked = serving.telegram.send_text(
            mika, group, "who is this, @familiar_test_bot?", reply_to=theirs
        )
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("blue"))

    def test_an_album_of_five(self, serving: Community) -> None:
        mika, _, group = serving.group()
        names = ["amber", "blue", "coral", "dark", "emerald"]
        album = serving.telegram.send_album(
            mika, group, [file_of(head(name)) for name in names], "/similar 2", caption_at=1
        )
        for asked, name in zip(album[:4], names[:4], strict=True):
            collage, caption = answered(serving, asked)
            check_collage(collage, caption, head(name), count=2)
            assert named_in(caption)[0].name == name
        assert len(serving.telegram.from_bot(group)) == 4

    def test_a_reply_to_one_of_an_album(self, serving: Community) -> None:
        mika, noor, group = serving.group()
        pictures = [file_of(head(name)) for name in ("amber", "blue", "coral")]
        album = serving.telegram.send_album(noor, group, pictures)
        asked = serving.telegram.send_text(mika, group, "/similar", reply_to=album[2])
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("coral"))
        assert len(serving.telegram.from_bot(group)) == 1


class TestWhatIsInThePicture:
    def test_two_faces_get_a_row_each(self, serving: Community) -> None:
        mika, chat = serving.person()
        seed = drawn_scene([("blue", 90, 120, 40), ("emerald", 230, 120, 32)], background=7)
        asked = serving.telegram.send_photo(mika, chat, file_of(seed), "/similar 2")
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, seed, rows=2, count=2)
        assert "Face 1\n1. blue" in caption
        assert "Face 2\n3. emerald" in caption

    def test_no_face_gets_the_whole_pictures_result_and_says_so(self, serving: Community) -> None:
        mika, chat = serving.person()
        seed = drawn_scene([], background=200)
        asked = serving.telegram.send_photo(mika, chat, file_of(seed))
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, seed)
        assert caption.startswith(say("caption_no_face"))

    def test_a_truncated_picture_gets_a_sentence(self, serving: Community) -> None:
        mika, chat = serving.person()
        half = file_of(head("blue"))[:3000]
        asked = serving.telegram.send_document(mika, chat, half)
        message = serving.telegram.wait_for_sentence(asked, say("picture_damaged"))
        assert message.media is None


class TestTroubles:
    def test_many_people_at_once_are_each_answered_once(self, serving: Community) -> None:
        names = ["amber", "blue", "coral", "dark", "emerald"] * 2
        asked = [
            serving.telegram.send_photo(*serving.person(), file_of(head(name))) for name in names
        ]
        for message, name in zip(asked, names, strict=True):
            _, caption = answered(serving, message)
            assert named_in(caption)[0].name == name

    def test_telegram_failing_now_and_then_costs_no_answer(self, serving: Community) -> None:
        mika, chat = serving.person()
        serving.telegram.hang_up("editMessageMedia")
        serving.telegram.limit("editMessageMedia", 1)
        asked = serving.telegram.send_photo(mika, chat, file_of(head("blue")))
        collage, caption = answered(serving, asked)
        check_collage(collage, caption, head("blue"))

    def test_a_deleted_placeholder_holds_up_nobody_else(self, serving: Community) -> None:
        mika, chat = serving.person()
        serving.telegram.limit("editMessageMedia", 2)
        given_up = serving.telegram.send_photo(mika, chat, file_of(head("blue")))
        placeholder = serving.telegram.wait_for_reply(given_up)
        serving.telegram.wait_for(lambda: not serving.telegram.pending_faults("editMessageMedia"))
        serving.telegram.delete(placeholder)
        asked = serving.telegram.send_photo(mika, chat, file_of(head("coral")))
        answered(serving, asked)
        wait_for(lambda: serving.place.in_hand() == 0, "no job left")
        assert serving.telegram.replies(given_up) == []

    def test_the_answer_replaces_the_sentence_once_a_worker_is_back(self, tmp_path: Path) -> None:
        with community_in(tmp_path) as community:
            community.place.index()
            mika, chat = community.person()
            asked = community.telegram.send_photo(mika, chat, file_of(head("blue")))
            community.telegram.wait_for_sentence(asked, say("worker_away", minutes=10))
            community.start_worker()
            collage, caption = answered(community, asked)
            check_collage(collage, caption, head("blue"))

    def test_a_worker_killed_while_it_delivers_leaves_exactly_one_answer(
        self, tmp_path: Path
    ) -> None:
        with community_in(tmp_path) as community:
            community.place.index()
            telegram = community.telegram
            worker = community.start_worker()
            # The worker is told to wait, and does not live so long.
            telegram.limit("editMessageMedia", 2)
            asked = telegram.send_photo(*community.person(), file_of(head("blue")))
            telegram.wait_for(lambda: telegram.calls_of("editMessageMedia"), what="the delivery")
            worker.kill()
            community.start_worker()
            telegram.wait_for_picture(asked, 60)
            collage, caption = answered(community, asked)
            check_collage(collage, caption, head("blue"))
            wait_for(lambda: community.place.in_hand() == 0, "no job left")
            assert len(telegram.calls_of("editMessageMedia")) == 2


class TestReindex:
    def test_from_nothing_indexed_to_an_answer(self, tmp_path: Path) -> None:
        with community_in(tmp_path) as community:
            telegram, place = community.telegram, community.place
            (place.gallery / "coral" / "broken.png").write_bytes(b"no picture")
            community.start_worker()
            mika, chat = community.person()
            asked = telegram.send_photo(mika, chat, file_of(head("coral")))
            telegram.wait_for_sentence(asked, say("nothing_indexed"))

            command = telegram.send_text(ADMIN, telegram.private_chat(ADMIN), "/reindex")
            done = telegram.wait_for_sentence(command, "is up to date:", 60)
            assert telegram.replies(command) == [done]
            assert re.search(r"\b15 pictures\b", done.words)
            assert "broken.png" in done.words

            again = telegram.send_photo(mika, chat, file_of(head("coral")))
            collage, caption = answered(community, again)
            check_collage(collage, caption, head("coral"))


class TestShippedModels:
    """Real pictures where this machine has them, else the demo's."""

    CHARACTERS = ("emilia", "hua_cheng", "lisa", "monkey_d_luffy")
    EACH = 6

    def fill(self, gallery: Path) -> dict[str, bytes]:
        """A small gallery.

        Returns:
            By character, a picture of them that is not in it.
        """
        asked = {}
        if present("gallery"):
            for name in self.CHARACTERS:
                files = sorted((ROOT / "gallery" / name).iterdir())
                (gallery / name).mkdir(parents=True)
                for file in files[: self.EACH]:
                    shutil.copy(file, gallery / name)
                asked[name] = files[24].read_bytes()
            return asked
        for who in CHARACTERS[: len(self.CHARACTERS)]:
            (gallery / who.name).mkdir(parents=True)
            for number in range(self.EACH):
                picture(who, number).save(gallery / who.name / f"{number}.jpg")
            file = io.BytesIO()
            picture(who, ASKED_NUMBER).save(file, "JPEG")
            asked[who.name] = file.getvalue()
        return asked

    def test_from_reindex_to_the_right_characters(self, tmp_path: Path) -> None:
        pictures = self.fill(tmp_path / "gallery")
        with community_in(tmp_path) as community:
            telegram = community.telegram
            worker = community.start_worker(fakes=False)
            chat = telegram.private_chat(ADMIN)
            command = telegram.send_text(ADMIN, chat, "/reindex")
            done = telegram.wait_for_sentence(command, "is up to date:", 240)
            assert "24 pictures" in done.words
            right = [self.is_right(telegram, chat, name, data) for name, data in pictures.items()]
            # The models are not perfect, and this is no measurement of them.
            assert sum(right) >= len(right) - 1, right
            assert TOKEN not in worker.output()

    def is_right(self, telegram: TelegramServer, chat: Chat, name: str, data: bytes) -> bool:
        """Whether the asked-about character comes first; everything else must hold."""
        message = telegram.wait_for_picture(telegram.send_photo(ADMIN, chat, data), 60)
        names = named_in(message.caption or "")
        rows = max(1, (message.caption or "").count("Face "))
        assert [each.number for each in names] == list(range(1, 4 * rows + 1))
        asked = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        collage = np.asarray(Image.open(io.BytesIO(message.photo[-1].data)).convert("RGB"))
        for number, seed in enumerate(seeds_in(collage, asked, rows=rows, count=4)):
            percents = [each.percent for each in names[4 * number : 4 * number + 4]]
            assert percents == sorted(percents, reverse=True)
            assert difference(seed, asked) < 12
        return names[0].name == name
