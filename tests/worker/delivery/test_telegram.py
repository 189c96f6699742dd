"""Given a placeholder on Telegram, what a delivery makes of it, and of what goes wrong."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from PIL import Image
from pydantic import SecretStr

from core.job import TelegramDestination
from core.settings import TelegramSettings
from tests.platforms.jobs import soon
from tests.platforms.telegram_server import (
    TOKEN,
    ApiError,
    Chat,
    Message,
    TelegramServer,
    User,
    utf16_length,
)
from worker.delivery import DeliveryFailed
from worker.delivery.telegram import TelegramDelivery, form_of, shortened

MIKA = User(11, "Mika", "de")
PLACEHOLDER = "Looking…"


def drawn(width: int = 640, height: int = 320, colour: str = "teal", kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(buffer, kind)
    return buffer.getvalue()


@dataclass
class Scene:
    """A person has asked, and the bot's placeholder stands below."""

    server: TelegramServer
    chat: Chat
    asked: Message
    delivery: TelegramDelivery

    @property
    def message(self) -> Message:
        """The only message of the bot."""
        (message,) = self.server.from_bot()
        return message


@pytest.fixture
def scene() -> Iterator[Scene]:
    with TelegramServer() as server, httpx.Client() as client:
        chat = server.private_chat(MIKA)
        asked = server.send_photo(MIKA, chat, drawn())
        sent = httpx.post(
            f"{server.url}/bot{TOKEN}/sendMessage",
            json={
                "chat_id": chat.id,
                "text": PLACEHOLDER,
                "reply_parameters": {"message_id": asked.id},
            },
        ).json()["result"]
        destination = TelegramDestination(
            chat_id=chat.id, message_id=sent["message_id"], reply_to=asked.id
        )
        settings = TelegramSettings(token=SecretStr(TOKEN), api_url=server.url)
        yield Scene(server, chat, asked, TelegramDelivery(destination, settings, client))


class TestSentences:
    def test_each_replaces_the_one_before(self, scene: Scene) -> None:
        scene.delivery.say("412 of 641 pictures…", deadline=soon())
        scene.delivery.say("641 of 641 pictures…", deadline=soon())
        assert scene.message.text == "641 of 641 pictures…"
        assert scene.message.reply_to is scene.asked

    def test_the_same_again_is_a_success(self, scene: Scene) -> None:
        scene.delivery.say("Nothing indexed yet.", deadline=soon())
        scene.delivery.say("Nothing indexed yet.", deadline=soon())
        assert scene.message.edits == 1

    def test_below_a_picture_it_becomes_the_caption(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
        scene.delivery.say("It was all different.", deadline=soon())
        scene.delivery.say("It was all different.", deadline=soon())
        assert scene.message.caption == "It was all different."
        assert scene.message.media is not None

    def test_one_that_is_too_long_is_cut(self, scene: Scene) -> None:
        scene.delivery.say("🦊" * 3000, deadline=soon())
        text = scene.message.text or ""
        assert utf16_length(text) <= 4096
        assert text.endswith("🦊…")


class TestAnswers:
    def test_the_placeholder_becomes_the_collage_with_its_caption(self, scene: Scene) -> None:
        collage = drawn()
        scene.delivery.answer(collage, "1. 初音ミク 91%\n2. Rin 80%", deadline=soon())
        message = scene.message
        assert message.photo
        assert message.photo[-1].data == collage
        assert message.caption == "1. 初音ミク 91%\n2. Rin 80%"
        assert message.text is None
        assert message.reply_to is scene.asked

    def test_the_answer_to_a_covered_picture_is_covered(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(), "1. Miku 91%", spoiler=True, deadline=soon())
        assert scene.message.photo
        assert scene.message.spoiler

    def test_any_other_answer_is_not(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
        assert not scene.message.spoiler

    @pytest.mark.parametrize("width", [640, 9000])
    def test_what_is_covered_never_goes_as_a_file_which_is_not(
        self, scene: Scene, width: int
    ) -> None:
        refusal = ApiError(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")
        scene.server.refuse("editMessageMedia", refusal)
        with pytest.raises(DeliveryFailed) as failed:
            scene.delivery.answer(drawn(width, 1100), "", spoiler=True, deadline=soon())
        assert failed.value.final
        assert scene.message.text == PLACEHOLDER

    def test_answered_twice_there_is_still_one_message(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
        assert scene.message.caption == "1. Miku 91%"

    def test_a_png_keeps_its_kind(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(kind="PNG"), "", deadline=soon())
        assert scene.message.photo[-1].name == "photo.png"
        assert scene.message.caption == ""

    def test_a_caption_that_is_too_long_is_cut(self, scene: Scene) -> None:
        scene.delivery.answer(drawn(), "x" * 2000, deadline=soon())
        assert scene.message.caption == "x" * 1023 + "…"

    @pytest.mark.parametrize(
        ("width", "height"),
        [
            (9000, 1100),  # width and height together
            (4000, 150),  # one side against the other
        ],
    )
    def test_too_large_or_long_for_a_photo_it_goes_as_a_file(
        self, scene: Scene, width: int, height: int
    ) -> None:
        collage = drawn(width, height)
        scene.delivery.answer(collage, "1. Miku 91%", deadline=soon())
        document = scene.message.document
        assert document is not None
        assert (document.data, document.name) == (collage, "similar.jpg")
        assert scene.message.caption == "1. Miku 91%"

    def test_many_bytes_go_as_a_file(self, scene: Scene) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (1900, 1900, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).save(buffer, "PNG")
        scene.delivery.answer(buffer.getvalue(), "", deadline=soon(30))
        assert scene.message.document is not None

    def test_what_telegram_refuses_as_a_photo_goes_as_a_file(self, scene: Scene) -> None:
        refusal = ApiError(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")
        scene.server.refuse("editMessageMedia", refusal)
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
        assert scene.message.document is not None


class TestTroubles:
    """Each with the three calls that edit."""

    @pytest.fixture(params=["editMessageText", "editMessageMedia", "editMessageCaption"])
    def edit(self, request: pytest.FixtureRequest, scene: Scene) -> tuple[str, Callable[[], None]]:
        """A method's name, and a delivery that calls it."""
        if request.param == "editMessageMedia":
            return request.param, lambda: scene.delivery.answer(drawn(), "done", deadline=soon())
        if request.param == "editMessageCaption":
            scene.delivery.answer(drawn(), "before", deadline=soon())
        return request.param, lambda: scene.delivery.say("done", deadline=soon())

    def test_too_many_requests_wait_as_long_as_told(
        self, scene: Scene, edit: tuple[str, Callable[[], None]], no_pauses: list[float]
    ) -> None:
        method, deliver = edit
        scene.server.limit(method, 2)
        deliver()
        assert scene.message.words == "done"
        assert no_pauses == [2.0]

    def test_a_longer_wait_is_not_spent_here(
        self, scene: Scene, edit: tuple[str, Callable[[], None]], no_pauses: list[float]
    ) -> None:
        method, deliver = edit
        scene.server.limit(method, 3)
        with pytest.raises(DeliveryFailed) as failed:
            deliver()
        assert not failed.value.final
        assert failed.value.retry_after == 3
        assert no_pauses == []

    def test_a_lost_connection_and_server_errors_are_tried_again(
        self, scene: Scene, edit: tuple[str, Callable[[], None]], no_pauses: list[float]
    ) -> None:
        method, deliver = edit
        scene.server.hang_up(method)
        scene.server.refuse(method, ApiError(502, "Bad Gateway"), times=2)
        deliver()
        assert scene.message.words == "done"
        assert no_pauses == [0.5, 1.0, 2.0]

    @pytest.mark.parametrize(
        "refusal",
        [
            ApiError(403, "Forbidden: bot was blocked by the user"),
            ApiError(400, "Bad Request: message to edit not found"),
            ApiError(400, "Bad Request: chat not found"),
            ApiError(401, "Unauthorized"),
        ],
        ids=lambda error: error.description,
    )
    def test_what_will_never_work_is_given_up_at_once(
        self,
        scene: Scene,
        edit: tuple[str, Callable[[], None]],
        refusal: ApiError,
        no_pauses: list[float],
    ) -> None:
        method, deliver = edit
        scene.server.refuse(method, refusal)
        with pytest.raises(DeliveryFailed, match=refusal.description) as failed:
            deliver()
        assert failed.value.final
        assert no_pauses == []

    @pytest.mark.parametrize(
        ("status", "page"),
        [
            (403, "<html>Sorry, you have been blocked</html>"),
            (404, '{"error": "no such site"}'),
            (407, ""),
            (408, '{"ok": false}'),
            (429, "<html>slow down</html>"),
            (302, "<html>Log in to this network</html>"),
            (200, "<html>Log in to this network</html>"),
        ],
    )
    def test_what_something_in_between_answers_is_not_final(
        self,
        scene: Scene,
        edit: tuple[str, Callable[[], None]],
        status: int,
        page: str,
        no_pauses: list[float],
    ) -> None:
        method, deliver = edit
        scene.server.intercept(method, status, page)
        with pytest.raises(DeliveryFailed, match=str(status)) as failed:
            deliver()
        assert not failed.value.final
        assert no_pauses == []
        deliver()
        assert scene.message.words == "done"


def test_a_deleted_placeholder_is_not_posted_anew(scene: Scene) -> None:
    scene.server.delete(scene.message)
    with pytest.raises(DeliveryFailed) as failed:
        scene.delivery.answer(drawn(), "1. Miku 91%", deadline=soon())
    assert failed.value.final
    assert scene.server.from_bot() == []


@pytest.mark.parametrize(("asked", "left"), [(30, 2), (2, 1)])
def test_no_wait_goes_beyond_the_deadline(scene: Scene, asked: int, left: float) -> None:
    """Neither a long one nor one that would be waited for otherwise."""
    scene.server.limit("editMessageText", asked)
    started = time.monotonic()
    with pytest.raises(DeliveryFailed, match="in time") as failed:
        scene.delivery.say("late", deadline=soon(left))
    assert not failed.value.final
    assert failed.value.retry_after == asked
    assert time.monotonic() - started < 1.5
    assert scene.message.text == PLACEHOLDER


def test_after_the_deadline_nothing_is_sent(scene: Scene) -> None:
    with pytest.raises(DeliveryFailed) as failed:
        scene.delivery.say("late", deadline=soon(-1))
    assert not failed.value.final
    assert failed.value.retry_after is None
    assert scene.server.calls_of("editMessageText") == []


class TestWorking:
    def test_it_shows_that_a_photo_is_on_its_way(self, scene: Scene) -> None:
        scene.delivery.working()
        (call,) = scene.server.calls_of("sendChatAction")
        assert call.parameters == {"chat_id": "11", "action": "upload_photo"}

    def test_in_a_topic_it_shows_there(self, scene: Scene) -> None:
        destination = TelegramDestination(chat_id=scene.chat.id, message_id=1, topic_id=77)
        settings = TelegramSettings(token=SecretStr(TOKEN), api_url=scene.server.url)
        with httpx.Client() as client:
            TelegramDelivery(destination, settings, client).working()
        (call,) = scene.server.calls_of("sendChatAction")
        assert call.parameters["message_thread_id"] == "77"

    def test_it_never_fails(self, scene: Scene) -> None:
        scene.server.hang_up("sendChatAction")
        scene.delivery.working()
        scene.server.block(MIKA)
        scene.delivery.working()
        assert len(scene.server.calls_of("sendChatAction")) == 2


class TestSecrets:
    """The token is part of every address."""

    def test_a_failure_does_not_name_it(
        self, scene: Scene, no_pauses: list[float], caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("DEBUG", logger="worker.delivery.telegram")
        scene.server.hang_up("editMessageText", times=1)
        scene.server.refuse("editMessageText", ApiError(400, "Bad Request: chat not found"))
        with pytest.raises(DeliveryFailed) as failed:
            scene.delivery.say("done", deadline=soon())
        assert TOKEN not in str(failed.value)
        assert failed.value.__cause__ is None
        assert any("RemoteProtocolError" in record.getMessage() for record in caplog.records)
        assert all(TOKEN not in record.getMessage() for record in caplog.records)

    def test_without_one_it_cannot_begin(self) -> None:
        destination = TelegramDestination(chat_id=1, message_id=2)
        with httpx.Client() as client, pytest.raises(DeliveryFailed) as failed:
            TelegramDelivery(destination, TelegramSettings(token=None), client)
        assert failed.value.final


@pytest.mark.parametrize(
    ("width", "height", "kind", "form"),
    [
        (8000, 2000, "JPEG", ("photo", "jpg")),
        (8000, 2001, "JPEG", ("document", "jpg")),
        (2000, 100, "PNG", ("photo", "png")),
        (100, 2001, "PNG", ("document", "png")),
    ],
)
def test_the_form_follows_the_limits_on_photos(
    width: int, height: int, kind: str, form: tuple[str, str]
) -> None:
    assert form_of(drawn(width, height, kind=kind)) == form


@pytest.mark.parametrize(
    ("text", "units", "cut"),
    [
        ("abcd", 4, "abcd"),
        ("abcde", 4, "abc…"),
        ("ab🦊d", 5, "ab🦊d"),
        ("ab🦊de", 5, "ab🦊…"),
        ("abc🦊de", 5, "abc…"),  # half of the fox would have fitted
        ("", 4, ""),
    ],
)
def test_texts_are_cut_by_utf16_units(text: str, units: int, cut: str) -> None:
    assert shortened(text, units) == cut
