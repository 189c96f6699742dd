"""Given a connection that fails in one way or another, how the bot polls on or gives up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from telegram import Bot, Message, Update
from telegram.error import BadRequest, Forbidden, NetworkError, RetryAfter, TimedOut
from telegram.request import HTTPXRequest

from bot.telegram import patience, polling
from bot.telegram.asking import tell
from bot.telegram.patience import patiently
from bot.telegram.placeholder import reply
from bot.telegram.polling import Polling, TelegramProblem
from tests.platforms.telegram_server import TOKEN, ApiError, TelegramServer, User

MIKA = User(11, "Mika", "de")


@pytest.fixture
def server() -> Iterator[TelegramServer]:
    with TelegramServer() as running:
        yield running


@pytest.fixture
async def bot(server: TelegramServer) -> AsyncIterator[Bot]:
    async with Bot(TOKEN, base_url=f"{server.url}/bot") as client:
        yield client


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes hardly any time; returns how long each sleep would have been."""
    slept: list[float] = []
    sleep = asyncio.sleep

    class Hurried:
        """`asyncio` for the two modules alone: the server goes on as it is."""

        def __getattr__(self, name: str) -> object:
            return getattr(asyncio, name)

        async def sleep(self, seconds: float) -> None:
            slept.append(seconds)
            await sleep(0)

    monkeypatch.setattr(polling, "asyncio", Hurried())
    monkeypatch.setattr(patience, "asyncio", Hurried())
    return slept


@asynccontextmanager
async def polled(bot: Bot) -> AsyncIterator[asyncio.Queue[object]]:
    """A bot that polls; its updates."""
    updates: asyncio.Queue[object] = asyncio.Queue()
    running = asyncio.create_task(Polling(bot, updates).run())
    try:
        yield updates
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def next_text(updates: asyncio.Queue[object]) -> str | None:
    update = await asyncio.wait_for(updates.get(), 10)
    assert isinstance(update, Update)
    assert update.message is not None
    return update.message.text


class TestPolling:
    async def test_each_update_comes_once(self, server: TelegramServer, bot: Bot) -> None:
        chat = server.private_chat(MIKA)
        async with polled(bot) as updates:
            for text in ("one", "two"):
                server.send_text(MIKA, chat, text)
                assert await next_text(updates) == text
            assert updates.empty()

    @pytest.mark.parametrize(
        ("fault", "pause"),
        [
            (ApiError(502, "Bad Gateway"), 2.0),
            (ApiError(429, "Too Many Requests: retry after 7", retry_after=7), 7.0),
        ],
        ids=lambda value: getattr(value, "description", value),
    )
    async def test_a_fault_is_outlasted(
        self,
        server: TelegramServer,
        bot: Bot,
        pauses: list[float],
        fault: ApiError,
        pause: float,
    ) -> None:
        server.refuse("getUpdates", fault)
        async with polled(bot) as updates:
            server.send_text(MIKA, server.private_chat(MIKA), "after")
            assert await next_text(updates) == "after"
        assert pauses == [pause]

    async def test_pauses_grow_up_to_half_a_minute_and_one_line_is_logged(
        self,
        server: TelegramServer,
        bot: Bot,
        pauses: list[float],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.INFO, logger="bot.telegram.polling")
        server.refuse("getUpdates", ApiError(502, "Bad Gateway"), times=7)
        async with polled(bot) as updates:
            server.send_text(MIKA, server.private_chat(MIKA), "after")
            assert await next_text(updates) == "after"
            await asyncio.sleep(0.1)
        assert pauses == [2, 4, 8, 16, 30, 30, 30]
        lines = [record.getMessage() for record in caplog.records]
        assert lines == [
            "Telegram cannot be reached, trying on: Bad Gateway",
            "Telegram can be reached again",
        ]

    async def test_what_is_in_the_queue_is_confirmed_at_the_end(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        server.send_text(MIKA, server.private_chat(MIKA), "one")
        updates: asyncio.Queue[object] = asyncio.Queue()
        at_end = Polling(bot, updates)
        await at_end.confirm()
        assert len(await bot.get_updates()) == 1
        await at_end._poll(0)
        assert len(await bot.get_updates()) == 1
        await at_end.confirm()
        assert await bot.get_updates() == ()
        assert await next_text(updates) == "one"
        assert updates.empty()

    async def test_a_telegram_that_is_silent_at_the_end_does_not_hold_the_bot_up(
        self, server: TelegramServer, bot: Bot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(polling, "CONFIRM_SECONDS", 0.1)
        silent = Polling(bot, asyncio.Queue())
        server.send_text(MIKA, server.private_chat(MIKA), "hello")
        await silent._poll(0)

        async def never(seconds: int) -> None:
            await asyncio.sleep(60)

        monkeypatch.setattr(silent, "_poll", never)
        await asyncio.wait_for(silent.confirm(), 5)

    async def test_a_token_that_is_no_longer_good_ends_it(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        server.refuse("getUpdates", ApiError(401, "Unauthorized"))
        with pytest.raises(TelegramProblem) as ended:
            await Polling(bot, asyncio.Queue()).run()
        assert ended.value.key == "telegram_token_refused"

    async def test_of_two_processes_the_younger_one_ends(
        self, server: TelegramServer, bot: Bot
    ) -> None:
        server.refuse("getUpdates", ApiError(409, "Conflict: terminated by other getUpdates"))
        with pytest.raises(TelegramProblem) as ended:
            await Polling(bot, asyncio.Queue()).run()
        assert ended.value.key == "telegram_conflict"

    async def test_and_the_older_one_goes_on(
        self,
        server: TelegramServer,
        bot: Bot,
        pauses: list[float],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(polling, "YOUNG_SECONDS", 0.0)
        server.refuse("getUpdates", ApiError(409, "Conflict: terminated by other getUpdates"))
        async with polled(bot) as updates:
            server.send_text(MIKA, server.private_chat(MIKA), "after")
            assert await next_text(updates) == "after"
        assert pauses == [1]


class TestPatience:
    """`patiently` on a call that fails so often in such a way before it succeeds."""

    @staticmethod
    async def result(*faults: Exception) -> tuple[str, int]:
        """What comes out, and how many faults were left over."""
        left = list(faults)

        async def call() -> str:
            if left:
                raise left.pop(0)
            return "done"

        return await patiently(call), len(left)

    async def test_it_waits_as_long_as_telegram_says(self, pauses: list[float]) -> None:
        assert await self.result(RetryAfter(35)) == ("done", 0)
        assert pauses == [35.0]

    async def test_but_not_for_ever(self, pauses: list[float]) -> None:
        with pytest.raises(RetryAfter):
            await self.result(RetryAfter(3600))
        assert pauses == []

    async def test_a_bad_connection_is_tried_four_times(self, pauses: list[float]) -> None:
        assert await self.result(TimedOut(), NetworkError("reset"), TimedOut()) == ("done", 0)
        assert pauses == [0.5, 1.0, 2.0]
        with pytest.raises(NetworkError):
            await self.result(*[NetworkError("reset")] * 4)

    @pytest.mark.parametrize("refusal", [BadRequest("chat not found"), Forbidden("blocked")])
    async def test_a_refusal_is_taken_at_its_word(
        self, pauses: list[float], refusal: Exception
    ) -> None:
        with pytest.raises(type(refusal)):
            await self.result(refusal)
        assert pauses == []


class TestAnswering:
    """What is posted twice stands there twice."""

    @pytest.fixture
    async def asked(self, server: TelegramServer, bot: Bot) -> Message:
        server.send_text(MIKA, server.private_chat(MIKA), "who is this?")
        (update,) = await bot.get_updates()
        assert update.message is not None
        return update.message

    async def test_what_telegram_posted_without_saying_so_is_not_posted_again(
        self, server: TelegramServer, asked: Message, pauses: list[float]
    ) -> None:
        server.lose_answer("sendMessage")
        await tell(asked, "a face")
        assert [message.text for message in server.from_bot()] == ["a face"]
        assert pauses == []

    async def test_what_telegram_would_not_take_yet_is_posted_later(
        self, server: TelegramServer, asked: Message, pauses: list[float]
    ) -> None:
        server.limit("sendMessage", 7)
        await reply(asked, "a face")
        assert [message.text for message in server.from_bot()] == ["a face"]
        assert pauses == [7.0]

    @pytest.mark.parametrize(("seconds", "posted"), [(2, ["a face"]), (7, [])])
    async def test_a_word_behind_which_no_job_stands_is_not_waited_for_long(
        self,
        seconds: int,
        posted: list[str],
        server: TelegramServer,
        asked: Message,
        pauses: list[float],
    ) -> None:
        server.limit("sendMessage", seconds)
        await tell(asked, "a face")
        assert [message.text for message in server.from_bot()] == posted
        assert pauses == [2.0] * len(posted)

    async def test_what_found_no_way_to_telegram_is_tried_again(
        self, asked: Message, pauses: list[float]
    ) -> None:
        async with HTTPXRequest() as request:
            asked.set_bot(Bot(TOKEN, base_url="http://127.0.0.1:9/bot", request=request))
            with pytest.raises(NetworkError, match="ConnectError"):
                await reply(asked, "a face")
        assert pauses == [0.5, 1.0, 2.0]
