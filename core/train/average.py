"""The running average of a network's weights, which is what a training keeps."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move an average towards a network's weights, in place; what is counted it takes over.

    Args:
        average: Of the same form as `network`.
        network: After its step.
        decay: Share of the average that stays, 0..1, once the training is under way.
        step: Steps taken so far; early on the average would remember the random start for too long.
    """
    decay = min(decay, (1 + step) / (10 + step))
    now = network.state_dict()
    for name, kept in average.state_dict().items():
        if kept.dtype.is_floating_point:
            kept.lerp_(now[name], 1 - decay)
        else:
            kept.copy_(now[name])
