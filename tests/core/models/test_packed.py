"""Convolutions with their weights laid out beforehand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from core.models import packed
from core.models.backbones import EmbeddingNetwork, NetworkShape
from core.models.packed import PackedConvolution, can_pack, pack_convolutions


def network() -> nn.Module:
    torch.manual_seed(4)
    shape = NetworkShape((8, 16), (1, 2), 6, colour_channels=4, colour_cells=2)
    return EmbeddingNetwork(shape).eval().to(memory_format=torch.channels_last)


@pytest.mark.parametrize("pictures", [1, 2, 5])
def test_a_packed_network_gives_the_same_vectors(pictures: int) -> None:
    own = network()
    x = torch.randn(pictures, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        before = own(x)
        pack_convolutions(own, torch.zeros(2, 3, 32, 32))
        after = own(x)
    packed_ones = [each for each in own.modules() if isinstance(each, PackedConvolution)]
    assert bool(packed_ones) == can_pack()
    assert not (can_pack() and any(isinstance(each, nn.Conv2d) for each in own.modules()))
    assert torch.allclose(before, after, atol=1e-5)


def test_strides_groups_and_biases_are_kept() -> None:
    if not can_pack():
        return
    torch.manual_seed(5)
    x = torch.randn(2, 8, 9, 11)
    for options in ({"stride": 2}, {"groups": 4}, {"dilation": 2}, {"bias": False, "padding": 1}):
        convolution = nn.Conv2d(8, 12, 3, **options)
        with torch.inference_mode():
            expected = convolution(x)
            assert torch.allclose(
                PackedConvolution(convolution, x.shape)(x), expected, atol=1e-5
            ), options


def test_where_it_cannot_be_done_a_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    own = network()
    pack_convolutions(own, torch.zeros(2, 3, 32, 32))
    assert not any(isinstance(each, PackedConvolution) for each in own.modules())
