"""Who waits for whom where a chat or a platform takes nothing."""

from __future__ import annotations

import time

import pytest

from core.job import DiscordDestination, FileDestination, SimilarJob, TelegramDestination
from worker import patience
from worker.patience import AWAY_SECONDS, FAILURES, Patience


def in_telegram(chat: int, number: int = 1) -> SimilarJob:
    there = TelegramDestination(chat_id=chat, message_id=number)
    return job(there, f"telegram-{chat}-{number}")


def in_discord(channel: int) -> SimilarJob:
    there = DiscordDestination(application_id=1, channel_id=channel)
    return job(there, f"discord-{channel}")


def job(where: object, name: str) -> SimilarJob:
    return SimilarJob(id=name, destination=where, deadline=time.time() + 600, upload="0" * 64)


def test_a_limited_chat_waits_as_long_as_asked_and_no_other_does() -> None:
    known = Patience()
    assert known.not_taken(in_telegram(1), 40.0) == 40.0
    assert known.left(in_telegram(1, 2)) == pytest.approx(40, abs=5)
    assert known.left(in_telegram(2)) == 0
    assert known.left(in_discord(1)) == 0


def test_a_chat_of_the_same_number_elsewhere_is_another_chat() -> None:
    known = Patience()
    known.not_taken(in_discord(5), 40.0)
    assert known.left(in_telegram(5)) == 0


def test_a_chat_whose_messages_fail_holds_up_no_other() -> None:
    known = Patience()
    for number in range(FAILURES):
        assert known.not_taken(in_telegram(1), None) == AWAY_SECONDS
        known.taken(in_telegram(2, number))
    known.not_taken(in_telegram(1), None)
    assert known.left(in_telegram(1)) > 0
    assert known.left(in_telegram(2)) == 0


def test_a_platform_that_takes_nothing_of_several_is_away_as_a_whole() -> None:
    known = Patience()
    for chat in range(FAILURES):
        known.not_taken(in_telegram(chat), None)
    assert 0 < known.left(in_telegram(99)) <= AWAY_SECONDS
    assert known.left(in_discord(1)) == 0


def test_rate_limits_of_many_chats_do_not_make_a_platform_away() -> None:
    known = Patience()
    for chat in range(10):
        known.not_taken(in_telegram(chat), 40.0)
    assert known.left(in_telegram(99)) == 0


def test_when_the_time_has_come_one_tries_and_the_others_wait_for_what_comes_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "AWAY_SECONDS", 60.0)
    known = Patience()
    known.not_taken(in_telegram(1), 0.0)
    assert known.left(in_telegram(1, 1)) == 0
    assert known.left(in_telegram(1, 2)) > 0
    known.taken(in_telegram(1, 1))
    assert known.left(in_telegram(1, 2)) == 0
    assert known.left(in_telegram(1, 3)) == 0


def test_what_is_long_past_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    known = Patience()
    known.not_taken(in_telegram(1), -61.0)
    assert known.left(in_telegram(1, 1)) == 0
    assert known.left(in_telegram(1, 2)) == 0, "it was no turn that the first one took"


def test_a_file_is_a_place_of_its_own() -> None:
    known = Patience()
    for number in range(10):
        known.not_taken(job(FileDestination(), f"file-{number}"), None)
    assert known.left(job(FileDestination(), "file-0")) > 0
    assert known.left(job(FileDestination(), "file-99")) == 0
