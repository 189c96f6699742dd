"""Each destination has its platform's delivery, and never more text or bytes than that takes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from core.caption import caption
from core.job import Destination, DiscordDestination, FileDestination, TelegramDestination
from core.look import Look
from core.picture import Picture
from core.search import Answer, Match, Row
from core.settings import load_settings
from core.texts import say
from worker.delivery.discord import DiscordDelivery, plain
from worker.delivery.file import FileDelivery
from worker.delivery.routes import Routes, room_at
from worker.delivery.telegram import TelegramDelivery

DISCORD = DiscordDestination(application_id=1, interaction_token="t", channel_id=2, file_bytes=5000)
TELEGRAM = TelegramDestination(chat_id=1, message_id=2)


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Routes]:
    monkeypatch.setenv("FAMILIAR_DISCORD_TOKEN", "a-token")
    monkeypatch.setenv("FAMILIAR_TELEGRAM_TOKEN", "1:a-token")
    routes = Routes(load_settings())
    yield routes
    routes.close()


@pytest.mark.parametrize(
    ("destination", "delivery"),
    [
        (DISCORD, DiscordDelivery),
        (TELEGRAM, TelegramDelivery),
        (FileDestination(), FileDelivery),
    ],
)
def test_each_destination_has_its_delivery(
    routes: Routes, destination: Destination, delivery: type
) -> None:
    assert type(routes.to(destination, "job-1")) is delivery


def test_room_is_what_the_platform_takes() -> None:
    assert (room_at(DISCORD).caption, room_at(DISCORD).sentence) == (2000, 2000)
    assert room_at(DISCORD).collage_bytes == 5000, "what the bot was told of this very channel"
    assert (room_at(TELEGRAM).caption, room_at(TELEGRAM).sentence) == (1024, 4096)
    assert room_at(TELEGRAM).collage_bytes <= 10_000_000


def test_a_caption_fits_as_it_is_sent() -> None:
    """Discord's takes a backslash before each letter that would not be shown as it is."""
    names = [f"rem_(re_zero_{number})_[maid]" for number in range(60)]
    found = tuple(Match(f"{name}/1.png", name, 0.5, None) for name in names)
    it = Answer(Picture(np.zeros((8, 8, 3), np.uint8), "0" * 64), Look.FEEL, 0, (Row(None, found),))
    for destination, sent in ((DISCORD, plain), (TELEGRAM, str)):
        room = room_at(destination)
        told = sent(caption(it, "en", room.caption, room.length))
        lines = told.split("\n")
        assert room.caption - 100 < len(told) <= room.caption
        assert lines[-1] == say("caption_cut", count=60 - (len(lines) - 1))
