"""The learning rate along a training, computed a second time in plain loops."""

from __future__ import annotations

import math

import pytest

from core.train.schedule import learning_rate


def test_the_rate_rises_and_then_falls_along_a_cosine() -> None:
    expected = [0.1 * (step + 1) / 40 for step in range(40)]
    for step in range(360):
        expected.append(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 360)) / 2))

    found = [learning_rate(step, 400, highest=0.1, rising=40) for step in range(400)]

    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("rising", [0, 1])
def test_without_a_rise_it_begins_with_the_highest(rising: int) -> None:
    assert learning_rate(0, 10, highest=0.1, rising=rising) == 0.1


def test_steps_beyond_the_last_have_a_hundredth() -> None:
    assert learning_rate(12, 10, highest=0.1, rising=1) == pytest.approx(0.001)
