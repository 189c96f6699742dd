"""Ctrl+C waits for what must not be interrupted, and is never lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

import pytest

from core.interruption import interruption_later


def later(work: Callable[[], None]) -> None:
    with interruption_later():
        work()


def test_it_waits_until_the_block_is_over() -> None:
    before = signal.getsignal(signal.SIGINT)
    done = []

    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        done.append("all")

    with pytest.raises(KeyboardInterrupt):
        later(work)
    assert done == ["all"]
    assert signal.getsignal(signal.SIGINT) is before


def test_it_comes_before_what_the_block_fails_with() -> None:
    def fail() -> None:
        signal.raise_signal(signal.SIGINT)
        raise RuntimeError("the library's own words")

    with pytest.raises(KeyboardInterrupt):
        later(fail)


def test_without_it_nothing_is_changed() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(RuntimeError, match="a fault"), interruption_later():
        raise RuntimeError("a fault")
    assert signal.getsignal(signal.SIGINT) is before


def test_where_it_is_ignored_it_stays_so() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption_later():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_does_its_work_as_ever() -> None:
    done = []

    def work() -> None:
        with interruption_later():
            done.append("all")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert done == ["all"]
