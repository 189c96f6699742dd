"""Given a message, which picture it carries, and how it is fetched."""

from __future__ import annotations

import datetime
from collections.abc import AsyncIterator, Iterator

import pytest
from telegram import Animation, Bot, Chat, Document, Message, PhotoSize, Sticker

from bot.intake import PictureNotFetched
from bot.telegram import patience
from bot.telegram.pictures import Downloads, picture_of
from core.picture import UnreadablePicture
from core.settings import (
    DiscordSettings,
    GallerySettings,
    LimitSettings,
    LogSettings,
    ModelSettings,
    QueueSettings,
    Settings,
    TelegramSettings,
)
from tests.platforms.telegram_server import TOKEN, ApiError, TelegramServer, User

NOW = datetime.datetime.now(datetime.UTC)
CHAT = Chat(1, "private")
MIKA = User(11, "Mika", "de")
LIMIT_MIB = 1
FRAME = PhotoSize("frame", "unique-frame", 320, 180)


def document(name: str | None, kind: str | None) -> Document:
    return Document("id", "unique", file_name=name, mime_type=kind)


class TestWhichPicture:
    def test_of_a_photo_the_largest_size(self) -> None:
        sizes = [PhotoSize(f"{w}", f"{w}", w, h) for w, h in ((90, 51), (1280, 720), (320, 180))]
        picture = picture_of(Message(1, NOW, CHAT, photo=sizes))
        assert picture is sizes[1]

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("a.png", "image/png"),
            ("a", "image/webp"),
            (None, "image/jpeg"),
            ("A.JPG", "application/octet-stream"),
            ("a.svg", "image/svg+xml"),  # refused later, by its content
        ],
    )
    def test_a_file_that_its_name_or_type_calls_a_picture(
        self, name: str | None, kind: str | None
    ) -> None:
        sent = document(name, kind)
        assert picture_of(Message(1, NOW, CHAT, document=sent)) is sent

    @pytest.mark.parametrize(
        ("name", "kind"),
        [("a.pdf", "application/pdf"), ("a.mp4", "video/mp4"), (None, None)],
    )
    def test_no_other_file(self, name: str | None, kind: str | None) -> None:
        assert picture_of(Message(1, NOW, CHAT, document=document(name, kind))) is None

    def test_of_an_animation_its_first_frame(self) -> None:
        # Telegram describes an animation twice, the second time as the video that it became.
        moving = Animation("id", "unique", 10, 10, 1, thumbnail=FRAME, mime_type="video/mp4")
        sent = document("a.gif", "video/mp4")
        assert picture_of(Message(1, NOW, CHAT, document=sent, animation=moving)) is FRAME

    def test_of_an_animation_that_is_still_a_gif_the_file(self) -> None:
        moving = Animation("id", "unique", 10, 10, 1, thumbnail=FRAME, mime_type="image/gif")
        sent = document("a.gif", "image/gif")
        assert picture_of(Message(1, NOW, CHAT, document=sent, animation=moving)) is sent

    def test_of_an_animation_without_a_first_frame_nothing(self) -> None:
        moving = Animation("id", "unique", 10, 10, 1, mime_type="video/mp4")
        sent = document("a.gif", "video/mp4")
        assert picture_of(Message(1, NOW, CHAT, document=sent, animation=moving)) is None

    def test_a_sticker_and_of_a_moving_one_its_first_frame(self) -> None:
        def sticker(*, animated: bool, video: bool) -> Sticker:
            return Sticker(
                "id", "unique", 512, 512, animated, video, Sticker.REGULAR, thumbnail=FRAME
            )

        still = sticker(animated=False, video=False)
        assert picture_of(Message(1, NOW, CHAT, sticker=still)) is still
        for animated, video in ((True, False), (False, True)):
            moving = sticker(animated=animated, video=video)
            assert picture_of(Message(1, NOW, CHAT, sticker=moving)) is FRAME

    def test_no_text(self) -> None:
        assert picture_of(Message(1, NOW, CHAT, text="a.png")) is None


@pytest.fixture
def server() -> Iterator[TelegramServer]:
    with TelegramServer() as running:
        yield running


@pytest.fixture
async def bot(server: TelegramServer) -> AsyncIterator[Bot]:
    client = Bot(TOKEN, base_url=f"{server.url}/bot", base_file_url=f"{server.url}/file/bot")
    async with client:
        yield client


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Downloads:
    async def no_pause(_: float) -> None:
        return

    monkeypatch.setattr(patience.asyncio, "sleep", no_pause)
    return Downloads(
        Settings(
            queue=QueueSettings(),
            gallery=GallerySettings(),
            model=ModelSettings(),
            limit=LimitSettings(upload_mib=LIMIT_MIB),
            discord=DiscordSettings(token=None),
            telegram=TelegramSettings(token=None),
            log=LogSettings(),
        )
    )


class TestFetching:
    def sent(self, server: TelegramServer, bot: Bot, data: bytes, *, said: int | None) -> Document:
        """A file on the server, with the size that its message names."""
        stored = server.send_document(MIKA, server.private_chat(MIKA), data).document
        assert stored is not None
        sent = Document(stored.id, "unique", file_size=said)
        sent.set_bot(bot)
        return sent

    async def test_the_very_bytes(
        self, server: TelegramServer, bot: Bot, downloads: Downloads
    ) -> None:
        sent = self.sent(server, bot, b"picture", said=7)
        assert await downloads.fetch(sent) == b"picture"

    async def test_too_large_by_telegrams_word_nothing_is_fetched(
        self, server: TelegramServer, bot: Bot, downloads: Downloads
    ) -> None:
        sent = self.sent(server, bot, b"picture", said=LIMIT_MIB * 2**20 + 600_000)
        with pytest.raises(UnreadablePicture, match=r"1\.6 MiB.*1 MiB at most"):
            await downloads.fetch(sent)
        assert server.calls_of("getFile") == []

    async def test_too_large_for_telegram_to_hand_out(
        self, server: TelegramServer, bot: Bot, downloads: Downloads
    ) -> None:
        sent = self.sent(server, bot, bytes((20 << 20) + 1), said=None)
        with pytest.raises(UnreadablePicture, match="MiB at most"):
            await downloads.fetch(sent)

    async def test_a_fault_that_passes_is_not_noticed(
        self, server: TelegramServer, bot: Bot, downloads: Downloads
    ) -> None:
        sent = self.sent(server, bot, b"picture", said=7)
        server.hang_up("getFile")
        server.limit("getFile", 3)
        assert await downloads.fetch(sent) == b"picture"
        assert len(server.calls_of("getFile")) == 3

    @pytest.mark.parametrize(
        "refusal",
        [
            ApiError(400, "Bad Request: wrong file_id or the file is temporarily unavailable"),
            ApiError(502, "Bad Gateway"),
        ],
        ids=lambda error: error.description,
    )
    async def test_a_fault_that_stays_is_told(
        self, server: TelegramServer, bot: Bot, downloads: Downloads, refusal: ApiError
    ) -> None:
        sent = self.sent(server, bot, b"picture", said=7)
        server.refuse("getFile", refusal, times=10)
        with pytest.raises(PictureNotFetched):
            await downloads.fetch(sent)
