"""What the tests of several deliveries need."""

from __future__ import annotations

import time

import pytest


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Sleeping takes no time; returns how long each sleep would have been."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept
