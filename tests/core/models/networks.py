"""Networks with random weights."""

from __future__ import annotations

import torch
from torch import nn

from core.models.backbones import EmbeddingNetwork, NetworkShape


def network_in_use(shape: NetworkShape, seed: int) -> EmbeddingNetwork:
    """With statistics as training leaves them, unlike those of a network that is just drawn."""
    torch.manual_seed(seed)
    network = EmbeddingNetwork(shape)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.2, 3)
    return network.eval()
