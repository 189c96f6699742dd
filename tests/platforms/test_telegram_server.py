"""The Bot API server for tests, checked by a client that the project does not use otherwise."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import (
    TelegramBadRequest,
    TelegramConflictError,
    TelegramForbiddenError,
    TelegramNetworkError,
    TelegramNotFound,
    TelegramRetryAfter,
    TelegramUnauthorizedError,
)
from aiogram.types import (
    BotCommand,
    BotCommandScopeChat,
    BufferedInputFile,
    InputMediaDocument,
    InputMediaPhoto,
    ReplyParameters,
)
from PIL import Image

from tests.platforms.telegram_server import (
    TOKEN,
    TelegramServer,
    User,
    entities_of,
    utf16_length,
)

MIKA = User(11, "Mika", "de", "mika_b")
NOOR = User(12, "Noor", "en")


def drawn(width: int = 320, height: int = 240, colour: str = "teal", kind: str = "JPEG") -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture
def server() -> Iterator[TelegramServer]:
    with TelegramServer() as running:
        yield running


def aiogram_bot(server: TelegramServer, token: str = TOKEN) -> Bot:
    session = AiohttpSession(api=TelegramAPIServer.from_base(server.url), timeout=10)
    return Bot(token, session=session)


@pytest.fixture
async def bot(server: TelegramServer) -> AsyncIterator[Bot]:
    async with aiogram_bot(server) as client:
        yield client


class TestTokens:
    async def test_the_right_one_is_told_who_it_is(self, bot: Bot) -> None:
        me = await bot.get_me()
        assert (me.is_bot, me.username) == (True, "familiar_test_bot")

    async def test_a_wrong_one_is_unauthorised(self, server: TelegramServer) -> None:
        async with aiogram_bot(server, "7000000001:AAanother") as stranger:
            with pytest.raises(TelegramUnauthorizedError):
                await stranger.get_me()

    def test_something_that_is_no_token_is_not_found(self, server: TelegramServer) -> None:
        answer = httpx.get(f"{server.url}/botnonsense/getMe")
        assert (answer.status_code, answer.json()["description"]) == (404, "Not Found")

    async def test_no_file_without_it(self, server: TelegramServer, bot: Bot) -> None:
        photo = server.send_photo(MIKA, server.private_chat(MIKA), drawn()).photo[-1]
        path = (await bot.get_file(photo.id)).file_path
        assert httpx.get(f"{server.url}/file/bot{TOKEN}/{path}").content == photo.data
        assert httpx.get(f"{server.url}/file/bot7:AAx/{path}").status_code == 401
        assert httpx.get(f"{server.url}/file/bot{TOKEN}/{path}x").status_code == 404


class TestWaysOfSendingParameters:
    """The same call by query, form, JSON and multipart."""

    @pytest.mark.parametrize("way", ["query", "form", "json", "multipart"])
    def test_all_mean_the_same(self, server: TelegramServer, way: str) -> None:
        asked = server.send_text(MIKA, server.private_chat(MIKA), "hello")
        plain = {"chat_id": str(MIKA.id), "text": "Hi"}
        nested = json.dumps({"message_id": asked.id})
        url = f"{server.url}/bot{TOKEN}/sendMessage"
        if way == "query":
            answer = httpx.get(url, params={**plain, "reply_parameters": nested})
        elif way == "form":
            answer = httpx.post(url, data={**plain, "reply_parameters": nested})
        elif way == "json":
            answer = httpx.post(url, json={**plain, "reply_parameters": {"message_id": asked.id}})
        else:
            parts = {name: (None, value) for name, value in plain.items()}
            answer = httpx.post(url, files={**parts, "reply_parameters": (None, nested)})
        assert answer.json()["ok"] is True
        assert [message.text for message in server.replies(asked)] == ["Hi"]

    def test_methods_in_any_case_and_unknown_ones(self, server: TelegramServer) -> None:
        assert httpx.get(f"{server.url}/bot{TOKEN}/GETME").json()["ok"] is True
        unknown = httpx.get(f"{server.url}/bot{TOKEN}/getRich")
        assert unknown.json()["error_code"] == 404


class TestPolling:
    async def test_updates_stay_until_the_offset_confirms_them(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        chat = server.private_chat(MIKA)
        server.send_text(MIKA, chat, "one")
        server.send_text(MIKA, chat, "two")
        first, second = await bot.get_updates()
        assert [u.message.text for u in (first, second) if u.message] == ["one", "two"]
        assert [u.update_id for u in await bot.get_updates()] == [
            first.update_id,
            second.update_id,
        ]
        assert await bot.get_updates(offset=second.update_id + 1) == []

    async def test_a_long_poll_ends_as_soon_as_something_arrives(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        waiting = asyncio.create_task(bot.get_updates(timeout=30))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        server.send_text(MIKA, server.private_chat(MIKA), "there")
        updates = await asyncio.wait_for(waiting, 5)
        assert updates[0].message is not None

    async def test_a_long_poll_ends_empty_after_its_timeout(self, bot: Bot) -> None:
        assert await asyncio.wait_for(bot.get_updates(timeout=1), 5) == []

    async def test_only_allowed_kinds_arrive(self, server: TelegramServer, bot: Bot) -> None:
        await bot.get_updates(allowed_updates=["message"])
        photo = server.send_photo(MIKA, server.private_chat(MIKA), drawn())
        server.edit_caption(photo, "now with words")
        assert [u.event_type for u in await bot.get_updates()] == ["message"]
        await bot.get_updates(allowed_updates=["message", "edited_message"])
        server.edit_caption(photo, "and others")
        assert [u.event_type for u in await bot.get_updates()] == ["message", "edited_message"]

    async def test_the_same_update_can_come_twice(self, server: TelegramServer, bot: Bot) -> None:
        message = server.send_text(MIKA, server.private_chat(MIKA), "once")
        (first,) = await bot.get_updates()
        server.repeat(message)
        (second,) = await bot.get_updates(offset=first.update_id + 1)
        assert first.update_id == second.update_id
        assert await bot.get_updates(offset=first.update_id + 1) == []

    async def test_a_second_poller_sends_the_first_one_away(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        first = asyncio.create_task(bot.get_updates(timeout=30))
        await asyncio.sleep(0.2)
        second = asyncio.create_task(bot.get_updates(timeout=30))
        with pytest.raises(TelegramConflictError, match="only one bot instance"):
            await asyncio.wait_for(first, 5)
        server.send_text(MIKA, server.private_chat(MIKA), "for the second")
        assert len(await asyncio.wait_for(second, 5)) == 1


class TestWhatArrives:
    async def test_a_photo_in_several_sizes_with_its_caption(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        data = drawn(640, 360)
        server.send_photo(MIKA, server.private_chat(MIKA), data, "/similar feel")
        message = (await bot.get_updates())[0].message
        assert message is not None
        assert message.photo is not None
        assert message.caption_entities is not None
        sizes = [(size.width, size.height) for size in message.photo]
        assert sizes == [(90, 51), (640, 360)]
        assert message.caption_entities[0].extract_from(message.caption or "") == "/similar"
        buffer = io.BytesIO()
        await bot.download(message.photo[-1], buffer)
        assert buffer.getvalue() == data

    async def test_a_document_with_the_name_and_type_its_sender_gave(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        chat = server.private_chat(MIKA)
        server.send_document(MIKA, chat, b"text", file_name="a.png", mime_type="image/png")
        message = (await bot.get_updates())[0].message
        assert message is not None
        assert message.document is not None
        assert (message.document.file_name, message.document.file_size) == ("a.png", 4)

    async def test_an_album_as_one_update_a_picture(self, server: TelegramServer, bot: Bot) -> None:
        chat = server.private_chat(MIKA)
        server.send_album(MIKA, chat, [drawn(), drawn(), drawn()], "/similar", caption_at=1)
        messages = [update.message for update in await bot.get_updates() if update.message]
        assert len({message.media_group_id for message in messages}) == 1
        assert [message.caption for message in messages] == [None, "/similar", None]

    async def test_a_reply_shows_its_message_one_level_deep(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        chat = server.private_chat(MIKA)
        first = server.send_photo(MIKA, chat, drawn())
        second = server.send_text(MIKA, chat, "nice", reply_to=first)
        server.send_text(MIKA, chat, "/similar", reply_to=second)
        message = (await bot.get_updates())[-1].message
        assert message is not None
        assert message.reply_to_message is not None
        assert message.reply_to_message.text == "nice"
        assert message.reply_to_message.reply_to_message is None

    def test_offsets_count_utf16(self) -> None:
        text = "🦊🦊 @familiar_test_bot /similar@familiar_test_bot a/b mail@example.org"
        found = [
            text.encode("utf-16-le")[2 * e["offset"] : 2 * (e["offset"] + e["length"])].decode(
                "utf-16-le"
            )
            for e in entities_of(text)
        ]
        assert found == ["@familiar_test_bot", "/similar@familiar_test_bot"]
        assert utf16_length("🦊") == 2


class TestGroups:
    async def test_outside_a_group_nothing_is_seen_or_said(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        group = server.group(-100, "Fans", [MIKA], bot="kicked")
        server.send_text(MIKA, group, "/similar")
        assert await bot.get_updates() == []
        with pytest.raises(TelegramForbiddenError, match="kicked"):
            await bot.send_message(-100, "hello")


class TestSending:
    async def test_a_reply_and_its_edits(self, server: TelegramServer, bot: Bot) -> None:
        asked = server.send_photo(MIKA, server.private_chat(MIKA), drawn())
        sent = await bot.send_message(
            MIKA.id, "Looking", reply_parameters=ReplyParameters(message_id=asked.id)
        )
        edited = await bot.edit_message_text("Found", chat_id=MIKA.id, message_id=sent.message_id)
        assert not isinstance(edited, bool)
        assert edited.text == "Found"
        assert [(m.text, m.edits) for m in server.replies(asked)] == [("Found", 1)]

    async def test_text_becomes_a_photo_and_the_photo_another(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        server.private_chat(MIKA)
        sent = await bot.send_message(MIKA.id, "Looking")
        for colour in ("red", "blue"):
            data = drawn(colour=colour)
            media = InputMediaPhoto(media=BufferedInputFile(data, "c.jpg"), caption=colour)
            await bot.edit_message_media(media, chat_id=MIKA.id, message_id=sent.message_id)
            (message,) = server.from_bot()
            assert message.media is not None
            assert (message.media.data, message.caption, message.text) == (data, colour, None)
        await bot.edit_message_caption(chat_id=MIKA.id, message_id=sent.message_id, caption="Sorry")
        assert server.from_bot()[0].caption == "Sorry"

    async def test_a_document_too(self, server: TelegramServer, bot: Bot) -> None:
        server.private_chat(MIKA)
        sent = await bot.send_message(MIKA.id, "Looking")
        media = InputMediaDocument(media=BufferedInputFile(b"GIF89a", "c.gif"))
        await bot.edit_message_media(media, chat_id=MIKA.id, message_id=sent.message_id)
        document = server.from_bot()[0].document
        assert document is not None
        assert (document.name, document.data) == ("c.gif", b"GIF89a")

    async def test_a_new_photo_and_document(self, server: TelegramServer, bot: Bot) -> None:
        server.private_chat(MIKA)
        await bot.send_photo(MIKA.id, BufferedInputFile(drawn(), "a.jpg"), caption="a")
        await bot.send_document(MIKA.id, BufferedInputFile(b"b", "b.bin"), caption="b")
        assert [message.caption for message in server.from_bot()] == ["a", "b"]

    async def test_commands_by_scope_and_language(self, server: TelegramServer, bot: Bot) -> None:
        server.private_chat(MIKA)
        everywhere = [BotCommand(command="similar", description="Ask")]
        there = [BotCommand(command="reindex", description="Renew")]
        scope = BotCommandScopeChat(chat_id=MIKA.id)
        await bot.set_my_commands(everywhere, language_code="de")
        await bot.set_my_commands(there, scope=scope)
        assert server.commands == {
            ("default", "de"): [{"command": "similar", "description": "Ask"}],
            (f"chat:{MIKA.id}", ""): [{"command": "reindex", "description": "Renew"}],
        }


class TestRefusals:
    """The words and codes that the real server answers with."""

    @pytest.fixture(autouse=True)
    async def _sent(self, server: TelegramServer, bot: Bot) -> None:
        server.private_chat(MIKA)
        self.text = (await bot.send_message(MIKA.id, "Looking")).message_id
        sent = await bot.send_photo(MIKA.id, BufferedInputFile(drawn(), "a.jpg"), caption="a")
        self.photo = sent.message_id

    async def test_the_same_text_or_caption_again(self, bot: Bot) -> None:
        with pytest.raises(TelegramBadRequest, match="message is not modified"):
            await bot.edit_message_text("Looking", chat_id=MIKA.id, message_id=self.text)
        with pytest.raises(TelegramBadRequest, match="message is not modified"):
            await bot.edit_message_caption(chat_id=MIKA.id, message_id=self.photo, caption="a")

    async def test_text_of_a_photo_and_caption_of_a_text(self, bot: Bot) -> None:
        with pytest.raises(TelegramBadRequest, match="no text in the message to edit"):
            await bot.edit_message_text("b", chat_id=MIKA.id, message_id=self.photo)
        with pytest.raises(TelegramBadRequest, match="no caption in the message to edit"):
            await bot.edit_message_caption(chat_id=MIKA.id, message_id=self.text, caption="b")

    async def test_somebody_elses_and_vanished_messages(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        theirs = server.send_text(MIKA, server.private_chat(MIKA), "mine")
        with pytest.raises(TelegramBadRequest, match="message can't be edited"):
            await bot.edit_message_text("b", chat_id=MIKA.id, message_id=theirs.id)
        server.delete(theirs)
        with pytest.raises(TelegramBadRequest, match="message to edit not found"):
            await bot.edit_message_text("b", chat_id=MIKA.id, message_id=theirs.id)
        with pytest.raises(TelegramBadRequest, match="message to be replied not found"):
            await bot.send_message(
                MIKA.id, "b", reply_parameters=ReplyParameters(message_id=theirs.id)
            )
        kept = ReplyParameters(message_id=theirs.id, allow_sending_without_reply=True)
        assert (await bot.send_message(MIKA.id, "b", reply_parameters=kept)).message_id

    async def test_too_long(self, bot: Bot) -> None:
        await bot.send_message(MIKA.id, "x" * 4096)
        with pytest.raises(TelegramBadRequest, match="message is too long"):
            await bot.send_message(MIKA.id, "x" * 4097)
        photo = BufferedInputFile(drawn(), "a.jpg")
        await bot.send_photo(MIKA.id, photo, caption="x" * 1024)
        with pytest.raises(TelegramBadRequest, match="caption is too long"):
            await bot.send_photo(MIKA.id, photo, caption="x" * 1025)

    async def test_empty(self, bot: Bot) -> None:
        with pytest.raises(TelegramBadRequest, match="message text is empty"):
            await bot.send_message(MIKA.id, " ")

    @pytest.mark.parametrize(
        ("width", "height", "fits"),
        [(9000, 1000, True), (9000, 1001, False), (2000, 100, True), (2020, 100, False)],
    )
    async def test_photos_have_limits(self, bot: Bot, width: int, height: int, fits: bool) -> None:
        photo = BufferedInputFile(drawn(width, height), "a.jpg")
        if fits:
            await bot.send_photo(MIKA.id, photo)
        else:
            with pytest.raises(TelegramBadRequest, match="PHOTO_INVALID_DIMENSIONS"):
                await bot.send_photo(MIKA.id, photo)

    async def test_photos_are_pictures_of_ten_megabytes_at_most(self, bot: Bot) -> None:
        with pytest.raises(TelegramBadRequest, match="IMAGE_PROCESS_FAILED"):
            await bot.send_photo(MIKA.id, BufferedInputFile(b"text", "a.jpg"))
        with pytest.raises(TelegramBadRequest, match="too big"):
            await bot.send_photo(MIKA.id, BufferedInputFile(bytes(11 << 20), "a.jpg"))

    async def test_files_over_twenty_megabytes_are_not_given_out(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        chat = server.private_chat(MIKA)
        large = server.send_document(MIKA, chat, bytes((20 << 20) + 1)).document
        assert large is not None
        with pytest.raises(TelegramBadRequest, match="file is too big"):
            await bot.get_file(large.id)

    async def test_blocked_and_unknown_chats(self, server: TelegramServer, bot: Bot) -> None:
        server.block(MIKA)
        with pytest.raises(TelegramForbiddenError, match="blocked by the user"):
            await bot.send_message(MIKA.id, "hello")
        with pytest.raises(TelegramBadRequest, match="chat not found"):
            await bot.send_message(404, "hello")

    async def test_too_many_requests_on_demand(self, server: TelegramServer, bot: Bot) -> None:
        server.limit("sendMessage", 7)
        with pytest.raises(TelegramRetryAfter) as refused:
            await bot.send_message(MIKA.id, "hello")
        assert refused.value.retry_after == 7
        assert (await bot.send_message(MIKA.id, "hello")).text == "hello"

    async def test_a_lost_connection_on_demand(self, server: TelegramServer, bot: Bot) -> None:
        server.hang_up("sendMessage")
        with pytest.raises(TelegramNetworkError):
            await bot.send_message(MIKA.id, "hello")

    async def test_a_lost_answer_on_demand(self, server: TelegramServer, bot: Bot) -> None:
        server.lose_answer("sendMessage")
        with pytest.raises(TelegramNetworkError):
            await bot.send_message(MIKA.id, "nobody learns of this")
        assert server.from_bot()[-1].text == "nobody learns of this"

    async def test_an_unknown_method(self, bot: Bot) -> None:
        with pytest.raises(TelegramNotFound):
            await bot.get_my_name()

    async def test_every_call_is_kept(self, server: TelegramServer, bot: Bot) -> None:
        await bot.send_chat_action(MIKA.id, "typing")
        (call,) = server.calls_of("sendChatAction")
        assert call.parameters == {"chat_id": str(MIKA.id), "action": "typing"}
