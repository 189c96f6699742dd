"""Networks as a processor computes them fastest."""

from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import nn

from core.models import DEFAULT_EXTRACTOR, SHIPPED, Precision, packed
from core.models.backbones import (
    ColourHistogram,
    EmbeddingNetwork,
    JoinedNetwork,
    NetworkShape,
    PictureNetwork,
    ProjectedNetwork,
)
from core.models.extractor import FamiliarExtractor
from core.models.packed import (
    TOGETHER,
    PackedConvolution,
    PackedJoined,
    PackedNetwork,
    can_pack,
    in_groups,
    pack,
)
from core.models.precision import fold_norms
from tests.core.models.networks import network_in_use

SHAPE = NetworkShape((8, 16), (1, 2), 6, colour_channels=4, colour_cells=2, attention=3)


def network(seed: int = 4, shape: NetworkShape = SHAPE) -> EmbeddingNetwork:
    """With its normalisations folded in."""
    drawn = network_in_use(shape, seed)
    fold_norms(drawn)
    return drawn.to(memory_format=torch.channels_last)


def squares(pictures: int, side: int = 32) -> torch.Tensor:
    drawn = torch.rand(pictures, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return drawn.contiguous(memory_format=torch.channels_last)


def packed_beside(own: nn.Module, pictures: int, side: int = 32) -> tuple[nn.Module, float]:
    """It packed, and how far its vectors of `pictures` are from those of before."""
    x = squares(pictures, side)
    with torch.inference_mode():
        before = own(x)
        after = pack(own, squares(2, side))
        return after, float((after(x) - before).abs().max())


@pytest.mark.parametrize("pictures", [1, 2, 5])
@pytest.mark.parametrize(
    "shape",
    [
        SHAPE,
        NetworkShape((8, 16), (2, 1), 6, colour_channels=0),
        NetworkShape((8, 16), (1, 2), 6, colour_channels=0, halvings=1),
    ],
    ids=["colours and attention", "no colours", "one stage in full"],
)
def test_a_packed_network_gives_the_same_vectors(pictures: int, shape: NetworkShape) -> None:
    after, difference = packed_beside(network(shape=shape), pictures)
    assert isinstance(after, PackedNetwork) == can_pack()
    assert difference < 1e-5


@pytest.mark.parametrize("pictures", [1, TOGETHER, TOGETHER + 1, 3 * TOGETHER])
def test_joined_networks_give_the_same_vectors_together_and_apart(pictures: int) -> None:
    joined = JoinedNetwork([network(seed) for seed in (4, 5, 6)])
    after, difference = packed_beside(joined.eval(), pictures)
    assert isinstance(after, PackedJoined) == can_pack()
    assert difference < 1e-5


@pytest.mark.parametrize("pictures", [1, TOGETHER, TOGETHER + 1])
def test_each_of_joined_networks_may_see_squares_of_its_own(pictures: int) -> None:
    networks = [network(seed) for seed in (4, 5, 6)]
    views = [squares(pictures), squares(pictures).flip(3), squares(pictures).flip(2)]
    with torch.inference_mode():
        expected = torch.cat([one(x) for one, x in zip(networks, views, strict=True)], 1) / 3**0.5
        joined = JoinedNetwork(networks).eval()
        seen = torch.cat(views, 1).contiguous(memory_format=torch.channels_last)
        assert torch.equal(joined(seen), expected)
        after = pack(joined, seen[:1])
        assert isinstance(after, PackedJoined) == can_pack()
        assert after(seen) == pytest.approx(expected, abs=1e-5)


def test_both_ways_are_gone_in_their_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    if not can_pack():
        return
    joined = pack(JoinedNetwork([network(4), network(5)]).eval(), squares(2))
    assert isinstance(joined, PackedJoined)
    gone: list[str] = []
    monkeypatch.setattr(joined.together, "forward", lambda x: gone.append("together") or x)
    monkeypatch.setattr(joined.apart, "forward", lambda x: gone.append("apart") or x)
    joined(squares(TOGETHER))
    joined(squares(TOGETHER + 1))
    assert gone == ["together", "apart"]


def test_a_side_that_is_no_multiple_of_the_strides_is_packed_too() -> None:
    _, difference = packed_beside(network(), 2, side=27)
    assert difference < 1e-5


def test_what_stands_around_a_network_stays() -> None:
    histogram = ColourHistogram(3)
    histogram.components = torch.rand(histogram.components.shape)
    members = [network(4), network(5)]
    for own in (
        ProjectedNetwork(JoinedNetwork(members), 12, 5),
        PictureNetwork(network(), histogram, 0.6),
    ):
        after, difference = packed_beside(own.eval(), 2)
        assert after is own
        assert difference < 1e-5
        assert any(isinstance(each, PackedNetwork) for each in own.modules()) == can_pack()


def test_networks_of_different_shapes_are_packed_one_by_one() -> None:
    other = NetworkShape((8, 24), (1, 1), 4, colour_channels=4, colour_cells=2)
    joined = JoinedNetwork([network(), network(shape=other)])
    after, difference = packed_beside(joined.eval(), 2)
    assert after is joined
    assert difference < 1e-5
    assert all(isinstance(each, PackedNetwork) == can_pack() for each in joined.members)


def test_what_stands_around_one_of_joined_networks_stays() -> None:
    joined = JoinedNetwork([ProjectedNetwork(network(4), 6, 6), network(5)]).eval()
    after, difference = packed_beside(joined, 2)
    assert after is joined
    assert difference < 1e-5


def test_networks_of_different_shapes_may_see_squares_of_their_own() -> None:
    other = NetworkShape((8, 24), (1, 1), 4, colour_channels=4, colour_cells=2)
    joined = JoinedNetwork([network(), network(shape=other)]).eval()
    seen = torch.cat([squares(2), squares(2).flip(3)], 1)
    with torch.inference_mode():
        expected = joined(seen)
        assert pack(joined, seen[:1])(seen) == pytest.approx(expected, abs=1e-5)


def test_strides_groups_and_biases_are_kept() -> None:
    if not can_pack():
        return
    torch.manual_seed(5)
    x = torch.randn(2, 8, 9, 11)
    for options in ({"stride": 2}, {"groups": 4}, {"dilation": 2}, {"bias": False, "padding": 1}):
        convolution = nn.Conv2d(8, 12, 3, **options)
        with torch.inference_mode():
            expected = convolution(x)
            own = PackedConvolution(convolution, x.shape)
            assert torch.allclose(own(x), expected, atol=1e-5), options
            own = PackedConvolution(convolution, x.shape, rectified=True)
            assert torch.allclose(own(x), expected.relu(), atol=1e-5), options
            assert torch.allclose(own(x, -expected), torch.zeros(()), atol=1e-5), options
            own = PackedConvolution(convolution, x.shape)
            assert torch.allclose(own(x, expected), 2 * expected, atol=1e-5), options


def test_convolutions_in_groups_see_their_own_channels_or_all_the_same() -> None:
    torch.manual_seed(6)
    ones = [nn.Conv2d(4, 6, 3, 2, 1) for _ in range(3)]
    x = torch.randn(2, 12, 8, 8)
    with torch.inference_mode():
        apart = torch.cat([one(part) for one, part in zip(ones, x.split(4, 1), strict=True)], 1)
        assert torch.allclose(in_groups(ones)(x), apart, atol=1e-5)
        same = torch.cat([one(x[:, :4]) for one in ones], 1)
        assert torch.allclose(in_groups(ones, groups=1)(x[:, :4]), same, atol=1e-5)


def test_where_it_cannot_be_done_a_network_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "can_pack", lambda: False)
    own = ProjectedNetwork(network(), 6, 5)
    assert pack(own, squares(2)) is own
    assert isinstance(own.network, EmbeddingNetwork)


def test_a_network_is_packed_once_its_normalisations_are_folded_in() -> None:
    if not can_pack():
        return
    with pytest.raises(TypeError, match="with a bias"):
        pack(EmbeddingNetwork(SHAPE).eval(), squares(2))


def test_one_network_that_is_joined_with_none_is_packed_alone() -> None:
    after, difference = packed_beside(JoinedNetwork([network()]).eval(), 2)
    assert isinstance(after, PackedNetwork) == can_pack()
    assert difference < 1e-5


@pytest.mark.parametrize("precision", get_args(Precision))
def test_the_shipped_networks_are_packed_but_in_bfloat16(precision: Precision) -> None:
    extractor = FamiliarExtractor.load(SHIPPED / DEFAULT_EXTRACTOR, precision=precision)
    for part in (extractor._face, extractor._picture):
        packed_ones = any(isinstance(each, PackedNetwork) for each in part.modules())
        assert packed_ones == (can_pack() and precision != "bfloat16")
