"""What a training keeps follows its weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.train.average import follow


def norm(value: float, seen: int) -> nn.BatchNorm1d:
    made = nn.BatchNorm1d(3)
    nn.init.constant_(made.weight, value)
    made.running_mean.fill_(value)  # type: ignore[union-attr]
    made.num_batches_tracked.fill_(seen)  # type: ignore[union-attr]
    return made


@pytest.mark.parametrize(
    ("step", "stays"), [(0, 0.1), (8, 0.5), (10_000, 0.9)], ids=["first", "early", "under way"]
)
def test_the_start_is_soon_forgotten_and_what_follows_is_remembered(
    step: int, stays: float
) -> None:
    average, network = norm(1.0, 0), norm(3.0, 7)
    follow(average, network, 0.9, step)
    expected = torch.full((3,), stays * 1.0 + (1 - stays) * 3.0)
    torch.testing.assert_close(average.weight.detach(), expected)
    torch.testing.assert_close(average.running_mean, expected)
    assert average.num_batches_tracked == 7
    assert bool((network.weight == 3.0).all())
