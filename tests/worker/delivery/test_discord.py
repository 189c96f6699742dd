"""Delivery to Discord, over real sockets against the tests' own Discord."""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image

from core.job import DiscordDestination
from core.settings import DiscordSettings
from tests.platforms.discord_wire import TOKEN, TOKEN_SECONDS, DiscordServer, discord_server
from tests.platforms.jobs import soon
from worker.delivery import LONGEST_PATIENCE, DeliveryFailed
from worker.delivery.discord import CONTENT_CHARACTERS, DiscordDelivery, plain

JOB = "discord-1234567890"


def picture(kind: str, colour: str = "teal") -> bytes:
    """A small picture file."""
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, kind)
    return file.getvalue()


@pytest.fixture(scope="module")
def running_server() -> Iterator[DiscordServer]:
    with discord_server() as server:
        yield server


@pytest.fixture
def server(running_server: DiscordServer) -> DiscordServer:
    """The server in a channel of its own."""
    running_server.new_channel()
    running_server.requests.clear()
    running_server.file_bytes = 10 * 2**20
    return running_server


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client() as client:
        yield client


class Place:
    """Opens deliveries to one destination, each as a worker of its own would."""

    def __init__(self, server: DiscordServer, client: httpx.Client) -> None:
        self._server = server
        self._client = client

    def delivery(
        self,
        *,
        token: str | None = None,
        message: int | None = None,
        reply_to: int | None = None,
        private: bool = False,
        job: str = JOB,
    ) -> DiscordDelivery:
        settings = self._server.settings()
        return DiscordDelivery(
            DiscordDestination(
                application_id=self._server.application_id,
                interaction_token=token,
                channel_id=self._server.channel.id,
                message_id=message,
                reply_to=reply_to,
                private=private,
            ),
            DiscordSettings(token=TOKEN, api_url=settings["FAMILIAR_DISCORD_API_URL"]),
            job,
            self._client,
        )


@pytest.fixture
def place(server: DiscordServer, client: httpx.Client) -> Place:
    return Place(server, client)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_answer_takes_the_place_of_thinking(
    server: DiscordServer, place: Place, kind: str
) -> None:
    token, response = server.new_interaction()
    assert server.shown(response).thinking

    place.delivery(token=token).answer(picture(kind), "1. Mimi 90%", deadline=soon())

    shown = server.shown(response)
    assert shown.pictures == (picture(kind),)
    assert shown.content == "1. Mimi 90%"
    assert not shown.thinking
    (call,) = server.calls("PATCH", "/webhooks/")
    assert call.files == ((f"similar.{kind.lower()}", len(picture(kind))),)
    assert call.body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("mentioned", [False, True])
def test_the_answer_to_a_covered_picture_is_covered(
    server: DiscordServer, place: Place, mentioned: bool
) -> None:
    token, response = server.new_interaction()
    placeholder = server.new_bot_message("Looking...") if mentioned else response
    at = {"message": placeholder} if mentioned else {"token": token}
    place.delivery(**at).answer(picture("JPEG"), "1. Mimi 90%", spoiler=True, deadline=soon())
    assert server.shown(placeholder).covered == (True,)
    assert server.shown(placeholder).pictures == (picture("JPEG"),)


def test_the_same_answer_twice_is_one_message(server: DiscordServer, place: Place) -> None:
    token, response = server.new_interaction()
    for _ in range(2):
        place.delivery(token=token).answer(picture("PNG"), "1. Mimi 90%", deadline=soon())
    assert [message.id for message in server.bot_messages()] == [response]
    assert server.shown(response).pictures == (picture("PNG"),)


def test_a_sentence_after_an_answer_removes_the_collage(
    server: DiscordServer, place: Place
) -> None:
    token, response = server.new_interaction()
    delivery = place.delivery(token=token)
    delivery.answer(picture("PNG"), "1. Mimi 90%", deadline=soon())
    delivery.say("Too late.", deadline=soon())
    assert server.shown(response).content == "Too late."
    assert server.shown(response).pictures == ()


def test_a_follow_up_is_edited_by_its_id(server: DiscordServer, place: Place) -> None:
    token, response = server.new_interaction()
    place.delivery(token=token).say("first", deadline=soon())
    follow_up = server.new_follow_up(token, "Looking…")
    place.delivery(token=token, message=follow_up).say("second", deadline=soon())
    assert server.shown(response).content == "first"
    assert server.shown(follow_up).content == "second"


class TestAfterTheTokenExpired:
    def test_the_answer_is_posted_in_the_channel(self, server: DiscordServer, place: Place) -> None:
        asked = server.send("look at this", [("a.png", picture("PNG"))])
        token, response = server.new_interaction()
        server.pass_time(TOKEN_SECONDS + 1)

        delivery = place.delivery(token=token, reply_to=asked)
        delivery.answer(picture("PNG"), "1. Mimi 90%", deadline=soon())

        assert [r.status for r in server.calls("PATCH", "/webhooks/")] == [401]
        posted = server.bot_messages()[-1]
        assert posted.id != response
        assert posted.pictures == (picture("PNG"),)
        assert posted.content == "1. Mimi 90%"
        assert posted.reply_to == asked

    def test_a_job_that_runs_twice_posts_once(self, server: DiscordServer, place: Place) -> None:
        token, _ = server.new_interaction()
        before = len(server.bot_messages())
        server.pass_time(TOKEN_SECONDS + 1)
        for _ in range(2):
            place.delivery(token=token).answer(picture("PNG"), "1. Mimi 90%", deadline=soon())
        assert len(server.bot_messages()) == before + 1

    def test_a_second_run_replaces_what_the_first_one_said(
        self, server: DiscordServer, place: Place
    ) -> None:
        token, _ = server.new_interaction()
        before = len(server.bot_messages())
        server.pass_time(TOKEN_SECONDS + 1)
        place.delivery(token=token).say("Still looking.", deadline=soon())
        place.delivery(token=token).answer(picture("PNG"), "1. Mimi 90%", deadline=soon())
        (posted,) = server.bot_messages()[before:]
        assert posted.content == "1. Mimi 90%"
        assert posted.pictures == (picture("PNG"),)

    def test_another_job_posts_its_own_message(self, server: DiscordServer, place: Place) -> None:
        token, _ = server.new_interaction()
        before = len(server.bot_messages())
        server.pass_time(TOKEN_SECONDS + 1)
        place.delivery(token=token).say("one", deadline=soon())
        place.delivery(token=token, job="discord-2").say("two", deadline=soon())
        assert [message.content for message in server.bot_messages()[before:]] == ["one", "two"]

    def test_progress_goes_on_in_the_message_it_began_in(
        self, server: DiscordServer, place: Place
    ) -> None:
        token, response = server.new_interaction()
        delivery = place.delivery(token=token)
        delivery.say("100 of 641 pictures...", deadline=soon())
        server.pass_time(TOKEN_SECONDS + 1)
        delivery.say("412 of 641 pictures...", deadline=soon())
        delivery.say("Done.", deadline=soon())
        assert [message.id for message in server.bot_messages()] == [response]
        assert server.shown(response).content == "Done."
        # The expired token is tried once, not for every edit.
        assert len(server.calls("PATCH", "/webhooks/")) == 2

    def test_a_private_answer_is_never_posted_for_all_to_see(
        self, server: DiscordServer, place: Place
    ) -> None:
        token, _ = server.new_interaction(ephemeral=True)
        before = server.bot_messages()
        server.pass_time(TOKEN_SECONDS + 1)
        with pytest.raises(DeliveryFailed) as failed:
            place.delivery(token=token, private=True).answer(
                picture("PNG"), "1. Mimi 90%", deadline=soon()
            )
        assert failed.value.final
        assert server.bot_messages() == before
        assert server.calls("POST", "/messages") == []


@pytest.mark.parametrize("code", [10008, 10015])
def test_an_interaction_that_discord_forgot_early_is_answered_in_the_channel(
    server: DiscordServer, place: Place, code: int
) -> None:
    token, response = server.new_interaction()
    server.fail("PATCH", "/webhooks/", 404, code=code)
    place.delivery(token=token).say("found", deadline=soon())
    assert [m.content for m in server.bot_messages() if m.id != response] == ["found"]


class TestMention:
    def test_the_placeholder_is_edited_with_the_bots_token(
        self, server: DiscordServer, place: Place
    ) -> None:
        placeholder = server.new_bot_message("Looking…")
        place.delivery(message=placeholder).answer(picture("PNG"), "1. Mimi 90%", deadline=soon())
        assert [message.id for message in server.bot_messages()] == [placeholder]
        assert server.shown(placeholder).pictures == (picture("PNG"),)

    def test_a_deleted_placeholder_is_not_posted_again(
        self, server: DiscordServer, place: Place
    ) -> None:
        placeholder = server.new_bot_message("Looking…")
        server.delete(placeholder)
        with pytest.raises(DeliveryFailed) as failed:
            place.delivery(message=placeholder).say("found", deadline=soon())
        assert failed.value.final
        assert server.bot_messages() == []

    def test_typing_is_shown(self, server: DiscordServer, place: Place) -> None:
        place.delivery(message=server.new_bot_message("Looking…")).working()
        assert [r.status for r in server.calls("POST", "/typing")] == [204]

    def test_typing_that_fails_fails_nothing(self, server: DiscordServer, place: Place) -> None:
        server.fail("POST", f"/channels/{server.channel.id}/typing", 500)
        place.delivery(message=server.new_bot_message("Looking…")).working()
        assert [r.status for r in server.calls("POST", "/typing")] == [500]

    def test_lost_access_is_final(self, server: DiscordServer, place: Place) -> None:
        placeholder = server.new_bot_message("Looking…")
        server.lock_channel()
        with pytest.raises(DeliveryFailed) as failed:
            place.delivery(message=placeholder).say("found", deadline=soon())
        assert failed.value.final


def test_a_deferred_command_needs_no_typing(server: DiscordServer, place: Place) -> None:
    token, _ = server.new_interaction()
    place.delivery(token=token).working()
    assert server.requests == []


class TestPatience:
    def test_a_rate_limit_is_waited_for(self, server: DiscordServer, place: Place) -> None:
        token, response = server.new_interaction()
        server.fail("PATCH", "/webhooks/", 429, retry_after=0.7)
        begun = time.monotonic()
        place.delivery(token=token).say("found", deadline=soon())
        assert time.monotonic() - begun >= 0.7
        assert server.shown(response).content == "found"

    @pytest.mark.parametrize(
        ("asked", "left"),
        [(60, 5), (LONGEST_PATIENCE, 1), (3, 60)],
        ids=["both too long", "beyond the deadline", "longer than its patience"],
    )
    def test_a_rate_limit_that_is_too_long_is_not_waited_for(
        self, server: DiscordServer, place: Place, asked: float, left: float
    ) -> None:
        token, _ = server.new_interaction()
        server.fail("PATCH", "/webhooks/", 429, retry_after=asked)
        begun = time.monotonic()
        with pytest.raises(DeliveryFailed) as failed:
            place.delivery(token=token).say("found", deadline=soon(left))
        assert time.monotonic() - begun < 2
        assert not failed.value.final
        assert failed.value.retry_after == asked

    def test_discords_own_failures_are_tried_again(
        self, server: DiscordServer, place: Place
    ) -> None:
        token, response = server.new_interaction()
        server.fail("PATCH", "/webhooks/", 502, times=2)
        place.delivery(token=token).answer(picture("PNG"), "found", deadline=soon())
        assert [r.status for r in server.calls("PATCH", "/webhooks/")] == [502, 502, 200]
        assert server.shown(response).pictures == (picture("PNG"),)

    def test_no_connection_until_the_deadline_is_not_final(
        self, server: DiscordServer, client: httpx.Client
    ) -> None:
        delivery = DiscordDelivery(
            DiscordDestination(application_id=1, interaction_token="secret", channel_id=2),
            DiscordSettings(token=TOKEN, api_url="http://127.0.0.1:9/api/v10"),
            JOB,
            client,
        )
        with pytest.raises(DeliveryFailed) as failed:
            delivery.say("found", deadline=soon(1.2))
        assert not failed.value.final
        assert "ConnectError" in str(failed.value)
        assert failed.value.retry_after is None


@pytest.mark.parametrize(
    ("status", "page"),
    [
        (403, "<html>Sorry, you have been blocked</html>"),
        (404, "<html>no such site</html>"),
        (407, ""),
        (408, '"a string"'),
        (403, '{"message": "internal network error", "code": 40333}'),
        (403, '{"code": "forbidden"}'),
        (302, "<html>Log in to this network</html>"),
        (200, "<html>Log in to this network</html>"),
        (200, '{"logged_in": false}'),
    ],
)
class TestWhatSomethingInBetweenAnswers:
    """A firewall, a proxy, a hotel's network: none of them knows what Discord would say."""

    def test_is_not_final_for_an_edit(
        self, server: DiscordServer, place: Place, no_pauses: list[float], status: int, page: str
    ) -> None:
        token, response = server.new_interaction()
        server.intercept("PATCH", "/webhooks/", status, page)
        with pytest.raises(DeliveryFailed, match=str(status)) as failed:
            place.delivery(token=token).answer(picture("PNG"), "found", deadline=soon())
        assert not failed.value.final
        assert no_pauses == []
        place.delivery(token=token).answer(picture("PNG"), "found", deadline=soon())
        assert server.shown(response).pictures == (picture("PNG"),)

    def test_is_not_final_for_a_post(
        self, server: DiscordServer, place: Place, no_pauses: list[float], status: int, page: str
    ) -> None:
        server.intercept("POST", "/channels/", status, page)
        with pytest.raises(DeliveryFailed, match=str(status)) as failed:
            place.delivery().say("found", deadline=soon())
        assert not failed.value.final
        assert no_pauses == []


def test_a_file_over_the_limit_is_final(server: DiscordServer, place: Place) -> None:
    token, _ = server.new_interaction()
    server.file_bytes = 50
    with pytest.raises(DeliveryFailed, match="40005") as failed:
        place.delivery(token=token).answer(picture("PNG"), "found", deadline=soon())
    assert failed.value.final


def test_no_secret_reaches_a_log_or_an_error(
    server: DiscordServer, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="worker")
    token, _ = server.new_interaction()
    server.fail("PATCH", "/webhooks/", 503)
    server.fail("PATCH", "/webhooks/", 403, code=50013)
    with pytest.raises(DeliveryFailed) as failed:
        place.delivery(token=token).say("found", deadline=soon())
    for text in (str(failed.value), caplog.text):
        assert text
        assert token not in text
        assert TOKEN not in text


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("1. Mimi · 90%", "1. Mimi · 90%"),
        ("**bold** __init__", r"\*\*bold\*\* \_\_init\_\_"),
        ("<@123> <:e:1>", r"\<@123> \<:e:1>"),
        ("[a](http://b)", r"\[a\](http://b)"),
        ("# big\n> quote\n- item", "\\# big\n\\> quote\n\\- item"),
        ("a - b # c > d", "a - b # c > d"),
        ("back\\slash", "back\\\\slash"),
        ("Run `familiar index build`.", "Run `familiar index build`."),
        ("御坂美琴", "御坂美琴"),
    ],
)
def test_names_are_shown_letter_by_letter(text: str, sent: str) -> None:
    assert plain(text) == sent


@pytest.mark.parametrize("text", ["x" * 3000, "_" * 1999, "x" + "_" * 1999, "御" * 2001])
def test_a_long_text_is_cut_at_what_a_message_holds(text: str) -> None:
    cut = plain(text)
    assert len(cut) <= CONTENT_CHARACTERS
    assert cut.endswith("…")
    letters = cut[:-1].replace("\\_", "_")
    assert "\\" not in letters
    assert text.startswith(letters)
