"""Given the pictures of an album one by one, what is done with them."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Sequence

import pytest
from telegram import Chat, Document, Message, PhotoSize

from bot.telegram import albums as module
from bot.telegram.albums import Albums, Part, Share

NOW = datetime.datetime.now(datetime.UTC)
PHOTO = (PhotoSize("id", "unique", 10, 10),)
TEXT_FILE = Document("id", "unique", file_name="notes.txt", mime_type="text/plain")
SILENCE = 0.1


def part(number: int, caption: str = "", *, album: str = "A", picture: bool = True) -> Part:
    content = {"photo": PHOTO} if picture else {"document": TEXT_FILE}
    message = Message(
        number, NOW, Chat(1, "private"), media_group_id=album, caption=caption, **content
    )
    return Part(100 + number, message)


def words(messages: Sequence[Message]) -> str | None:
    """What an album asks for: its captions; nothing where there is none."""
    return " ".join(message.caption for message in messages if message.caption) or None


@pytest.fixture
def albums() -> Albums[str]:
    return Albums(words, SILENCE)


def numbers(share: Share[str] | None) -> list[int] | None:
    return None if share is None else [each.message.message_id for each in share.pictures]


async def test_the_first_to_come_gets_all_in_order_and_the_others_none(
    albums: Albums[str],
) -> None:
    shares = await asyncio.gather(*(albums.add(part(n, "feel" * (n == 2))) for n in (3, 1, 2)))
    assert [numbers(share) for share in shares] == [[1, 2, 3], None, None]
    assert shares[0] is not None
    assert shares[0].decision == "feel"


async def test_four_pictures_at_most(albums: Albums[str]) -> None:
    shares = await asyncio.gather(*(albums.add(part(n, "feel")) for n in range(1, 7)))
    assert numbers(shares[0]) == [1, 2, 3, 4]
    assert shares[1:] == [None] * 5


async def test_it_waits_while_more_is_coming(albums: Albums[str]) -> None:
    first = asyncio.create_task(albums.add(part(1, "feel")))
    for number in (2, 3):
        await asyncio.sleep(0.7 * SILENCE)
        assert not first.done()
        assert await albums.add(part(number)) is None
    assert numbers(await first) == [1, 2, 3]


async def test_latecomers_are_held_to_the_same_decision_and_the_same_limit(
    albums: Albums[str],
) -> None:
    shares = await asyncio.gather(*(albums.add(part(n, "feel" * (n == 1))) for n in (1, 2, 3)))
    assert numbers(shares[0]) == [1, 2, 3]
    late = await albums.add(part(4))
    assert (numbers(late), late and late.decision) == ([4], "feel")
    assert numbers(await albums.add(part(5))) == []


async def test_an_album_without_a_request_stays_so(albums: Albums[str]) -> None:
    for number in (1, 2):
        share = await albums.add(part(number))
        assert share is not None
        assert share.decision is None


async def test_what_is_no_picture_takes_no_place(albums: Albums[str]) -> None:
    parts = [part(1, "feel", picture=False), *(part(n) for n in (2, 3, 4, 5))]
    shares = await asyncio.gather(*(albums.add(each) for each in parts))
    assert shares[0] is not None
    assert shares[0].first.message_id == 1
    assert numbers(shares[0]) == [2, 3, 4, 5]


async def test_albums_do_not_mix(albums: Albums[str]) -> None:
    shares = await asyncio.gather(
        albums.add(part(1, "feel")), albums.add(part(2, "both", album="B"))
    )
    assert [(numbers(share), share and share.decision) for share in shares] == [
        ([1], "feel"),
        ([2], "both"),
    ]


async def test_an_album_that_cannot_be_decided_on_begins_anew() -> None:
    def strict(messages: Sequence[Message]) -> str:
        if any(message.caption == "broken" for message in messages):
            raise ValueError("no words")
        return "feel"

    albums = Albums(strict, SILENCE)
    with pytest.raises(ValueError, match="no words"):
        await albums.add(part(1, "broken"))
    assert numbers(await albums.add(part(2))) == [2]


async def test_an_album_whose_wait_is_cancelled_begins_anew(albums: Albums[str]) -> None:
    first = asyncio.create_task(albums.add(part(1, "feel")))
    assert await asyncio.gather(albums.add(part(2))) == [None]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert numbers(await albums.add(part(3, "feel"))) == [3]


async def test_old_albums_are_forgotten(
    albums: Albums[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_SECONDS", 0.0)
    await albums.add(part(1, "feel"))
    await albums.add(part(2, "feel", album="B"))
    assert list(albums._albums) == [(1, "B")]
