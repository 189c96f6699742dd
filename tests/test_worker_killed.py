"""A worker killed in the middle of its requests: each is still answered, once, within a minute."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image

from cli.demo.characters import CHARACTERS
from cli.demo.gallery import picture as portrait
from core.index import current_version
from core.job import TelegramDestination
from core.texts import say
from tests.core.fakes import drawn_gallery
from tests.platforms.collages import named_in
from tests.platforms.processes import real_redis, wait_for
from tests.platforms.telegram_server import Chat, TelegramServer, User
from tests.platforms.workplace import Workplace
from worker.claim import claim_key
from worker.delivery.file import FileState
from worker.tasks import DEATHS

WITHIN_SECONDS = 60


@pytest.fixture
def telegram() -> Iterator[TelegramServer]:
    with TelegramServer() as server:
        yield server


@pytest.fixture
def chat(telegram: TelegramServer) -> Chat:
    return telegram.private_chat(User(7, "Mika"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Workplace]:
    with real_redis() as server:
        place = Workplace(server, tmp_path)
        drawn_gallery(place.gallery)
        try:
            yield place
        finally:
            place.close()


def settings(telegram: TelegramServer) -> dict[str, str]:
    return {
        "FAMILIAR_TELEGRAM_TOKEN": telegram.token,
        "FAMILIAR_TELEGRAM_API_URL": telegram.url,
    }


def placeholder(telegram: TelegramServer, chat: Chat) -> TelegramDestination:
    """What a bot posts before it enqueues a request."""
    reply = httpx.post(
        f"{telegram.url}/bot{telegram.token}/sendMessage",
        data={"chat_id": chat.id, "text": "Looking..."},
    )
    message_id = reply.json()["result"]["message_id"]
    return TelegramDestination(chat_id=chat.id, message_id=message_id)


def check_each_answered_once(telegram: TelegramServer, chat: Chat, requests: int) -> None:
    messages = telegram.from_bot(chat)
    assert len(messages) == requests, "nothing was posted beside the placeholders"
    for message in messages:
        assert message.photo
        assert message.caption
        assert message.caption.startswith("1. ")
        assert [named.number for named in named_in(message.caption)] == [1, 2, 3, 4]
        assert message.edits == 1


def test_a_killed_workers_requests_are_answered_once_by_the_next_worker(
    place: Workplace, telegram: TelegramServer, chat: Chat
) -> None:
    """The shipped models, and a kill at the moment when the first job has been claimed."""
    # The shipped detector takes the fakes' discs for no faces, and is right.
    shutil.rmtree(place.gallery)
    for who in CHARACTERS[:3]:
        for number in (1, 2, 3):
            file = place.gallery / who.name / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            portrait(who, number).save(file)
    picture = (place.gallery / CHARACTERS[0].name / "1.png").read_bytes()
    worker = place.start_worker(**settings(telegram))
    place.said(place.ask_reindex(), timeout=120)

    job = place.ask(picture, destination=placeholder(telegram, chat))
    wait_for(lambda: place.redis.exists(claim_key(job)), "the job is claimed", every=0.001)
    worker.kill()
    killed = time.monotonic()
    assert not place.is_done(job)
    (message,) = telegram.from_bot(chat)
    assert message.text == "Looking...", "it was killed before it could answer"

    place.start_worker(**settings(telegram))
    wait_for(lambda: place.is_done(job), "the answer", timeout=WITHIN_SECONDS)
    print(f"answered {time.monotonic() - killed:.1f} s after the kill")
    check_each_answered_once(telegram, chat, 1)


def test_a_living_worker_takes_over_everything_that_a_killed_one_had_in_hand(
    place: Workplace, telegram: TelegramServer, chat: Chat
) -> None:
    """Fakes, of which one is so slow that its hands stay full until it is killed: seven requests
    and a reindex."""
    drawn_gallery(place.gallery, each=2)
    quick = place.start_worker(fakes=True, **settings(telegram))
    place.said(place.ask_reindex())
    quick.stop()
    version = current_version(place.data)
    drawn_gallery(place.gallery, each=6)
    picture = (place.gallery / "blue" / "1.png").read_bytes()

    doomed = place.start_worker(fakes=True, FAKE_DETECT_SECONDS="60", **settings(telegram))
    reindex = place.ask_reindex()
    jobs = [place.ask(picture, destination=placeholder(telegram, chat)) for _ in range(9)]
    wait_for(lambda: claimed(place, [reindex, *jobs]) == 8, "its hands are full")
    place.start_worker(fakes=True, **settings(telegram))
    wait_for(lambda: sum(map(place.is_done, jobs)) == 2, "the other two are answered")
    doomed.kill()
    killed = time.monotonic()
    assert current_version(place.data) == version, "the reindex changed nothing yet"
    wait_for(lambda: all(map(place.is_done, jobs)), "the answers", timeout=WITHIN_SECONDS)
    print(f"seven answered {time.monotonic() - killed:.1f} s after the kill")
    check_each_answered_once(telegram, chat, 9)
    assert "30 pictures" in place.said(reindex, timeout=WITHIN_SECONDS)
    wait_for(lambda: place.in_hand() == 0, "nothing waits to come back")


def test_a_job_that_its_workers_die_of_is_given_up_and_those_beside_it_are_answered(
    place: Workplace,
) -> None:
    """The detector kills the process, as the kernel does where memory runs out."""
    picture = (place.gallery / "blue" / "1.png").read_bytes()
    deadly = io.BytesIO()
    Image.new("RGB", (333, 200)).save(deadly, "PNG")
    fakes = {"FAKE_DETECT_SECONDS": "0.2", "FAKE_DETECT_DIES_AT": "333"}
    worker = place.start_worker(fakes=True, **fakes)
    assert "15 pictures" in place.said(place.ask_reindex())

    beside = [place.ask(picture) for _ in range(3)]
    killer = place.ask(deadly.getvalue())
    deaths = 0

    def settled() -> bool:
        nonlocal worker, deaths
        if worker.popen.poll() is not None:
            deaths += 1
            worker = place.start_worker(fakes=True, **fakes)
        return all(map(place.is_done, [killer, *beside]))

    wait_for(settled, "all are answered", timeout=4 * WITHIN_SECONDS)
    assert deaths == DEATHS
    assert place.said(killer) == say("unexpected")
    for job in beside:
        assert place.answer(job).state is FileState.ANSWERED


def claimed(place: Workplace, jobs: list[str]) -> int:
    return sum(place.redis.exists(claim_key(job)) for job in jobs)
