"""How the demo ends where the exception that a signal raises is swallowed."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from cli.demo.command import _Ending


class _Finalised:
    """Raises in its finaliser, as whatever runs there does when a signal comes."""

    def __init__(self, number: signal.Signals | None) -> None:
        self._number = number

    def __del__(self) -> None:
        if self._number is None:
            raise ValueError("An error of its own.")
        signal.raise_signal(self._number)


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> Iterator[_Ending]:
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    listening = _Ending()
    listening.listen()
    yield listening
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_in_a_finaliser_is_raised_again_and_says_nothing(
    ending: _Ending,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    raised: type[BaseException],
) -> None:
    ending.check()
    _Finalised(number)
    assert capsys.readouterr().err == ""
    with pytest.raises(raised):
        ending.check()


def test_other_errors_in_finalisers_are_shown(
    ending: _Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    _Finalised(None)
    assert "An error of its own." in capsys.readouterr().err
    ending.check()
