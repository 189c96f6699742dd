"""The extractor's networks.

Both take pixels as floats in -1..1, ``(n, 3, side, side)``, and give vectors of unit length.
They hold nothing that depends on the side, so that the last epochs can train at a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = 3
"""Of one square."""

CELL_SIDE = 12
"""Pixels of one side of a cell of the colour branch, to which any picture is reduced."""


BINS = 8
"""Levels of each colour channel in the colour histogram."""

HISTOGRAM_SIDE = 40
"""Side of the picture that the colour histogram counts."""

_TRUNK = frozenset({"stem", "stages", "attention", "feature_norm"})


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """What has to be known to build a network before its weights are loaded.

    Attributes:
        widths: Channels of each stage.
        depths: Residual blocks of each stage.
        dimensions: Length of the vector.
        colour_channels: Width of the colour branch; 0 leaves it out.
        colour_cells: The colour branch pools over a grid of this many cells a side.
        halvings: How many stages halve the resolution, the first ones; None: all of them.
        attention: How many means of the last maps are weighed by what is at each place, beside the
            plain one; 0 leaves them out. See `AttentionPooling`.
    """

    widths: tuple[int, ...] = (64, 128, 256)
    depths: tuple[int, ...] = (2, 2, 2)
    dimensions: int = 128
    colour_channels: int = 48
    colour_cells: int = 3
    halvings: int | None = None
    attention: int = 0

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.depths) or not self.widths:
            raise ValueError("A network needs one width and one depth for each stage.")
        if self.halvings is not None and not 0 <= self.halvings <= len(self.widths):
            raise ValueError("A network cannot halve the resolution in more stages than it has.")


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut (He et al. 2015, arXiv:1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs, 3, stride)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = _convolution(outputs, outputs, 3)
        self.second_norm = nn.BatchNorm2d(outputs)
        nn.init.zeros_(self.second_norm.weight)  # a block starts as its shortcut
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            pool = nn.AvgPool2d(stride, ceil_mode=True) if stride != 1 else nn.Identity()
            self.shortcut = nn.Sequential(
                pool, _convolution(inputs, outputs, 1), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` -> ``(n, outputs, h / stride, w / stride)``."""
        y = functional.relu(self.first_norm(self.first(x)), inplace=True)
        y = self.second_norm(self.second(y))
        return functional.relu(y + self.shortcut(x), inplace=True)


class AttentionPooling(nn.Module):
    """Means of maps, each with weights of its own over the places.

    A place's weight comes from what is there: a linear layer and a softmax over the places, as
    each seed of pooling by attention does (Lee et al., 2019, "Set Transformer",
    arXiv:1810.00825). So a mean can be that of the eyes or of the hair, wherever they are, where
    the mean of everything holds what they share with each other.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = nn.Conv2d(channels, heads, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """``(n, channels, h, w)`` -> ``(n, heads * channels)``."""
        return attended(maps, self.heads(maps).float())


def attended(maps: Tensor, logits: Tensor) -> Tensor:
    """Means of maps ``(n, c, h, w)`` by logits ``(n, heads, h, w)`` -> ``(n, heads * c)``."""
    weights = logits.flatten(2).softmax(2)
    return (weights @ maps.flatten(2).transpose(1, 2)).flatten(1)


class ColourBranch(nn.Module):
    """A learned soft colour histogram of each cell of a grid.

    Pixels go one by one through two 1x1 convolutions, whose outputs act as soft bins; a cell's
    mean of a bin is the share of its pixels that fall there. The colours of hair, eyes and
    clothes are most of who a drawn character is, and a mean of bins keeps them apart from shapes.
    Shares enter as square roots: as in the Hellinger distance, a small area of a rare colour
    then counts beside the large ones of the ground.
    """

    def __init__(self, channels: int, cells: int) -> None:
        super().__init__()
        self.bins = nn.Sequential(
            nn.Conv2d(CHANNELS, channels, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
            nn.ReLU(inplace=True),
        )
        self.cells = cells
        self.norm = nn.BatchNorm1d(channels * cells * cells)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` -> ``(n, channels * cells * cells)``."""
        bins = self.bins(functional.adaptive_avg_pool2d(x, CELL_SIDE * self.cells))
        pooled: Tensor = self.norm(square_roots(bins.float()))
        return pooled


def square_roots(bins: Tensor) -> Tensor:
    """Of each cell's mean of each bin: ``(n, bins, h, w)`` -> ``(n, bins * cells)``."""
    return torch.sqrt(functional.avg_pool2d(bins, CELL_SIDE).flatten(1) + 1e-4)


class EmbeddingNetwork(nn.Module):
    """A small residual network and a colour branch, joined into one vector."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        widths = shape.widths
        self.stem = nn.Sequential(
            _convolution(CHANNELS, widths[0] // 2, 3, 2),
            nn.BatchNorm2d(widths[0] // 2),
            nn.ReLU(inplace=True),
        )
        stages: list[nn.Module] = []
        inputs = widths[0] // 2
        halvings = len(widths) if shape.halvings is None else shape.halvings
        for number, (width, depth) in enumerate(zip(widths, shape.depths, strict=True)):
            for block in range(depth):
                halved = block == 0 and number < halvings
                stages.append(ResidualBlock(inputs, width, 2 if halved else 1))
                inputs = width
        self.stages = nn.Sequential(*stages)
        self.attention: AttentionPooling | None = None
        pooled = 2 * inputs
        if shape.attention:
            self.attention = AttentionPooling(inputs, shape.attention)
            pooled += shape.attention * inputs
        features = pooled
        self.colour: ColourBranch | None = None
        if shape.colour_channels:
            self.colour = ColourBranch(shape.colour_channels, shape.colour_cells)
            features += shape.colour_channels * shape.colour_cells**2
        self.feature_norm = nn.BatchNorm1d(pooled)
        self.embed = nn.Linear(features, shape.dimensions, bias=False)
        self.embed_norm = nn.BatchNorm1d(shape.dimensions)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, side, side)`` in -1..1 -> ``(n, dimensions)`` float32 of unit length."""
        return functional.normalize(self.unscaled(x), dim=1)

    def unscaled(self, x: Tensor) -> Tensor:
        """The same vectors, float32, before they are made unit length."""
        parts = [self.pooled(x)]
        if self.colour is not None:
            parts.append(self.colour(x))
        vector: Tensor = self.embed_norm(self.embed(torch.cat(parts, 1)).float())
        return vector

    def pooled(self, x: Tensor) -> Tensor:
        """What the convolutions see, without the colour branch: ``(n, features)``, float32."""
        maps = self.stages(self.stem(x)).float()
        pooled = [maps.mean((2, 3)), maps.amax((2, 3))]
        if self.attention is not None:
            pooled.append(self.attention(maps))
        features: Tensor = self.feature_norm(torch.cat(pooled, 1))
        return features


def is_of_trunk(name: str) -> bool:
    """Whether a tensor of an `EmbeddingNetwork` has a part in `EmbeddingNetwork.pooled`."""
    return name.partition(".")[0] in _TRUNK


class ColourHistogram(nn.Module):
    """Principal components of the square roots of a colour histogram.

    The picture is reduced to `HISTOGRAM_SIDE` pixels a side, each pixel counted in one of
    ``BINS**3`` cells of RGB. Differences of square roots of shares are the Hellinger distance;
    the components, and the scale of each, come from training pictures.
    """

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.components: Tensor
        self.register_buffer("mean", torch.zeros(BINS**3))
        self.register_buffer("components", torch.zeros(BINS**3, dimensions))

    def shares(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` in -1..1 -> square roots of the shares, ``(n, BINS**3)``."""
        small = functional.adaptive_avg_pool2d(x.float(), HISTOGRAM_SIDE).flatten(2)
        level = ((small + 1) * (BINS / 2)).long().clamp_(0, BINS - 1)
        cell = (level[:, 0] * BINS + level[:, 1]) * BINS + level[:, 2]
        counts = torch.zeros(len(x), BINS**3, device=x.device)
        counts.scatter_add_(1, cell, torch.ones_like(cell, dtype=torch.float32))
        return torch.sqrt(counts / cell.shape[1])

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, h, w)`` in -1..1 -> ``(n, dimensions)`` of unit length."""
        return functional.normalize((self.shares(x) - self.mean) @ self.components, dim=1)


class PictureNetwork(nn.Module):
    """A colour histogram beside a learned network, in one vector.

    The cosine of two vectors is the weighted sum of the two parts' cosines.
    """

    def __init__(self, network: nn.Module, histogram: ColourHistogram, share: float) -> None:
        """
        Args:
            network: The learned part.
            histogram: The colour part.
            share: Of the colour part in the cosine, 0..1.
        """
        super().__init__()
        self.network = network
        self.histogram = histogram
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, side, side)`` in -1..1 -> ``(n, dimensions of both)`` of unit length."""
        return torch.cat(
            [
                self.share**0.5 * self.histogram(x),
                (1 - self.share) ** 0.5 * self.network(x),
            ],
            1,
        )


class JoinedNetwork(nn.Module):
    """Several networks, their vectors joined into one.

    The cosine of two vectors is the mean of the networks' cosines: what one of them has learned
    by heart of its training characters, the others do not confirm.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, x: Tensor) -> Tensor:
        """Look at squares.

        Args:
            x: ``(n, 3, side, side)`` in -1..1, what all networks see, or ``(n, networks * 3, side,
                side)``, what each of them sees.

        Returns:
            ``(n, all dimensions)`` of unit length.
        """
        alike = x.shape[1] == CHANNELS
        seen = [x] * len(self.members) if alike else x.chunk(len(self.members), 1)
        vectors = [member(each) for member, each in zip(self.members, seen, strict=True)]
        return torch.cat(vectors, 1) / math.sqrt(len(self.members))


class ProjectedNetwork(nn.Module):
    """A network whose vectors are turned and stretched by one matrix, and so made shorter."""

    def __init__(self, network: nn.Module, entering: int, leaving: int) -> None:
        """
        Args:
            network: Gives vectors of length `entering`.
            entering: Before the matrix.
            leaving: After it.
        """
        super().__init__()
        self.network = network
        self.projection = nn.Linear(entering, leaving, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What its network takes -> ``(n, leaving)`` of unit length."""
        return functional.normalize(self.projection(self.network(x)), dim=1)


def multiply_adds(network: nn.Module, side: int) -> int:
    """Multiply-adds of the convolutions and linear layers for one picture of `side` pixels."""
    total = 0

    def count(module: nn.Module, inputs: Sequence[Tensor], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d | nn.Linear):
            total += output[0].numel() * module.weight[0].numel()

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    was_training = network.training
    network.eval()
    with torch.no_grad():
        network(torch.zeros(1, 3, side, side))
    network.train(was_training)
    for hook in hooks:
        hook.remove()
    return total
