"""Waiting for what a bot has begun."""

from __future__ import annotations

import asyncio
import time

import pytest

from bot.discord.in_hand import InHand


async def begin(in_hand: InHand, done: list[str], name: str, seconds: float) -> None:
    in_hand.add()
    await asyncio.sleep(seconds)
    done.append(name)


async def test_it_waits_for_all_also_for_what_comes_meanwhile() -> None:
    in_hand, done = InHand(), list[str]()
    tasks = [asyncio.create_task(begin(in_hand, done, "first", 0.2))]
    await asyncio.sleep(0.1)
    tasks.append(asyncio.create_task(begin(in_hand, done, "second", 0.3)))
    assert await in_hand.finish(10)
    assert done == ["first", "second"]


async def test_what_takes_too_long_is_ended() -> None:
    in_hand, done = InHand(), list[str]()
    quick = asyncio.create_task(begin(in_hand, done, "quick", 0.05))
    slow = asyncio.create_task(begin(in_hand, done, "slow", 60))
    await asyncio.sleep(0)
    begun = time.monotonic()
    assert not await in_hand.finish(0.3)
    assert time.monotonic() - begun < 5
    assert quick.done()
    assert slow.cancelled()
    assert done == ["quick"]


async def test_nothing_in_hand_is_nothing_to_wait_for() -> None:
    assert await InHand().finish(0)


async def test_a_request_that_failed_is_over_as_well() -> None:
    in_hand = InHand()

    async def fail() -> None:
        in_hand.add()
        raise ValueError("as it happens")

    task = asyncio.create_task(fail())
    with pytest.raises(ValueError, match="as it happens"):
        await task
    assert await in_hand.finish(1)
