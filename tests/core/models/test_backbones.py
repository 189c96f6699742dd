from __future__ import annotations

import pytest
import torch

from core.models.backbones import (
    AttentionPooling,
    ColourBranch,
    EmbeddingNetwork,
    NetworkShape,
    multiply_adds,
)

SHAPES = [
    NetworkShape((8, 16), (1, 2), 12),
    NetworkShape((8, 16, 24), (2, 1, 1), 16, colour_channels=0),
    NetworkShape((16,), (1,), 4, colour_channels=6, colour_cells=1),
    NetworkShape((8, 16, 24), (1, 1, 2), 16, halvings=2),
    NetworkShape((8, 16), (1, 1), 16, colour_channels=0, attention=3),
    NetworkShape((8, 16), (1, 1), 16, halvings=1, attention=2),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("side", [32, 40, 44])
def test_every_shape_runs_forward_and_backward(shape: NetworkShape, side: int) -> None:
    network = EmbeddingNetwork(shape)
    vectors = network(torch.rand(3, 3, side, side) * 2 - 1)
    assert vectors.shape == (3, shape.dimensions)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
    (vectors @ torch.rand(shape.dimensions)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_shape_needs_as_many_depths_as_widths() -> None:
    with pytest.raises(ValueError, match="one depth for each stage"):
        NetworkShape((8, 16), (1,))


def test_only_the_first_stages_halve_the_resolution() -> None:
    picture = torch.zeros(1, 3, 64, 64)
    sides = [
        EmbeddingNetwork(NetworkShape((8, 16, 24), (1, 2, 1), halvings=halvings)).eval()
        for halvings in (None, 2, 0)
    ]
    found = [network.stages(network.stem(picture)).shape[2:] for network in sides]
    assert found == [(4, 4), (8, 8), (32, 32)]
    with pytest.raises(ValueError, match="more stages than it has"):
        NetworkShape((8, 16), (1, 1), halvings=3)


def test_attention_finds_what_it_looks_for_wherever_it_is() -> None:
    pooling = AttentionPooling(2, 2)
    with torch.no_grad():  # the first head looks for a high channel 0, the second for nothing
        pooling.heads.weight.copy_(torch.tensor([[100.0, 0.0], [0.0, 0.0]])[..., None, None])
    maps = torch.zeros(1, 2, 3, 4)
    maps[0, :, 1, 2] = torch.tensor([1.0, 6.0])
    found, mean = pooling(maps).unflatten(1, (2, 2))[0]
    assert torch.allclose(found, torch.tensor([1.0, 6.0]), atol=1e-4)
    assert torch.allclose(mean, torch.tensor([1.0, 6.0]) / 12, atol=1e-4)
    assert torch.allclose(pooling(maps.roll((1, 1), (2, 3))), pooling(maps), atol=1e-5)


def test_the_colour_branch_keeps_colours_of_cells_but_no_order_within_them() -> None:
    torch.manual_seed(0)
    branch = ColourBranch(5, 2).eval()
    picture = torch.rand(1, 3, 24, 24)
    mixed = picture.clone()
    mixed[:, :, :12, :12] = mixed[:, :, :12, :12].flip(2).flip(3)
    assert torch.allclose(branch(picture), branch(mixed), atol=1e-5)
    assert not torch.allclose(branch(picture), branch(picture.flip(3)), atol=1e-3)


def test_multiply_adds_of_a_network_counted_by_hand() -> None:
    network = EmbeddingNetwork(NetworkShape((8,), (1,), 4, colour_channels=0))
    stem = 16 * 16 * 4 * 27  # 32 pixels halved, 3x3x3 each
    first = 8 * 8 * 8 * 36
    second = 8 * 8 * 8 * 72
    shortcut = 8 * 8 * 8 * 4
    assert multiply_adds(network, 32) == stem + first + second + shortcut + 4 * 16
