"""Pictures are drawn ahead in threads, and come in their order."""

from __future__ import annotations

import os
import threading
import time

import pytest

from core.train.ahead import drawn_ahead


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_many_cores_draw_together_what_one_draws_alone(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: set[str] = set()
    together = threading.Barrier(max(1, cores // 2), timeout=10)

    def square(step: int) -> int:
        if step < together.parties:
            together.wait()  # broken, and the test with it, where fewer threads draw
        at_work.add(threading.current_thread().name)
        time.sleep(0.002 * (step % 3))  # so that later ones are done first
        return step * step

    monkeypatch.setattr(os, "cpu_count", lambda: cores)

    assert list(drawn_ahead(square, range(40))) == [step * step for step in range(40)]
    assert len(at_work) == together.parties
