"""The extractor's networks as a processor computes them fastest, in float32 or in int8.

One face is little work in many steps, so that what counts is how many steps there are, and what
each does besides its arithmetic. oneDNN, which PyTorch computes convolutions with on a processor,
wants weights in blocks that fit the processor's registers; PyTorch rearranges them at each call.
Here they are laid out once, a convolution's sum and rectifier belong to it, and networks of one
shape go through every layer together. What a network in int8 computes of them takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from core.models.backbones import (
    CELL_SIDE,
    CHANNELS,
    EmbeddingNetwork,
    JoinedNetwork,
    ResidualBlock,
    attended,
    square_roots,
)

MAPS = "maps"
"""What a network in int8 gives."""

Trunk: TypeAlias = Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]
"""What takes the place of networks' stems and stages: squares ``(n, channels, side, side)`` to
`MAPS`, ``(n, networks * widths[-1], h, w)``; see `core.models.quantised.QuantisedNetwork`."""

TOGETHER = 4
"""Squares, mirror images among them, up to which several networks are quicker together."""


class PackedConvolution(nn.Module):
    """A convolution in float32 on the processor, of no more use to training."""

    def __init__(
        self, convolution: nn.Conv2d, seen: torch.Size, *, rectified: bool = False
    ) -> None:
        """
        Args:
            convolution: To take the place of.
            seen: Shape of what comes in, ``(n, inputs, h, w)``, for which the layout is chosen. It
                serves other shapes too; without any, a layout comes that takes ten times as long.
            rectified: Whether a rectifier follows.

        Raises:
            TypeError: Its padding is given by name.
        """
        super().__init__()
        if isinstance(convolution.padding, str):
            raise TypeError("A convolution with padding by name cannot be packed.")
        self._how = (
            list(convolution.padding),
            list(convolution.stride),
            list(convolution.dilation),
            convolution.groups,
        )
        weight = convolution.weight.detach()
        # The operators that PyTorch's own compiler uses for frozen weights.
        self._weight: Tensor = torch.ops.mkldnn._reorder_convolution_weight(
            weight, *self._how, list(seen)
        )
        self._bias = None if convolution.bias is None else convolution.bias.detach()
        self._rectifier = "relu" if rectified else "none"

    def forward(self, x: Tensor, beside: Tensor | None = None) -> Tensor:
        """``(n, inputs, h, w)`` -> what the convolution would have given.

        Args:
            x: Comes in.
            beside: Added to what comes out, before the rectifier.
        """
        operators = torch.ops.mkldnn._convolution_pointwise
        packed: Tensor
        if beside is None:
            packed = operators(x, self._weight, self._bias, *self._how, self._rectifier, [], "")
        else:
            packed = operators.binary(
                x,
                beside,
                self._weight,
                self._bias,
                *self._how,
                "add",
                1.0,
                None if self._rectifier == "none" else self._rectifier,
                [],
                "",
            )
        return packed


class PackedBlock(nn.Module):
    """The same `ResidualBlock` of several networks, their channels one after another."""

    def __init__(self, blocks: Sequence[ResidualBlock], example: Tensor) -> None:
        """
        Args:
            blocks: With their normalisations folded in.
            example: Of what comes in, ``(n, networks * inputs, h, w)``.
        """
        super().__init__()
        first = in_groups([block.first for block in blocks])
        self.first = PackedConvolution(first, example.shape, rectified=True)
        second = in_groups([block.second for block in blocks])
        self.second = PackedConvolution(second, self.first(example).shape, rectified=True)
        shortcuts = [list(block.shortcut.children()) for block in blocks]
        self.pool = shortcuts[0][0] if shortcuts[0] else nn.Identity()
        self.shortcut: nn.Module = nn.Identity()
        if shortcuts[0]:
            shortcut = in_groups([children[1] for children in shortcuts])
            self.shortcut = PackedConvolution(shortcut, self.pool(example).shape)

    def forward(self, x: Tensor) -> Tensor:
        """As `ResidualBlock`, for ``networks * inputs`` and ``networks * outputs`` channels."""
        past = self.shortcut(self.pool(x))
        changed: Tensor = self.second(self.first(x), past)
        return changed


class PackedTrunk(nn.Module):
    """Stems and stages of networks of one shape, their channels one after another."""

    def __init__(self, networks: Sequence[EmbeddingNetwork], example: Tensor) -> None:
        """See `PackedNetwork`."""
        super().__init__()
        groups = 1 if example.shape[1] == CHANNELS else None
        stem = in_groups([network.stem[0] for network in networks], groups)
        self.stem = PackedConvolution(stem, example.shape, rectified=True)
        x = self.stem(example)
        self.stages = nn.Sequential()
        for blocks in zip(*(network.stages for network in networks), strict=True):
            self.stages.append(PackedBlock(blocks, x))
            x = self.stages[-1](x)

    def forward(self, x: Tensor) -> Tensor:
        """Squares to maps, ``(n, networks * widths[-1], h, w)``."""
        maps: Tensor = self.stages(self.stem(x))
        return maps


class TrunkInInt8(nn.Module):
    """What takes the place of a `PackedTrunk`."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self._trunk = trunk

    def forward(self, x: Tensor) -> Tensor:
        """As `PackedTrunk`."""
        return torch.from_numpy(self._trunk(x.contiguous().numpy())[MAPS])


class PackedNetwork(nn.Module):
    """Networks of one shape as one: the vectors of `JoinedNetwork`, which it takes the place of.

    What stands in each network behind its maps, normalisations and a linear layer, is one matrix.
    """

    def __init__(
        self, networks: Sequence[EmbeddingNetwork], example: Tensor, trunk: Trunk | None = None
    ) -> None:
        """
        Args:
            networks: In evaluation mode, on the processor, with their normalisations folded in.
            example: Of what they will see, ``(n, 3, side, side)`` or ``(n, networks * 3, side,
                side)``, its values of no matter.
            trunk: Takes the place of their stems and stages.
        """
        super().__init__()
        self.networks = len(networks)
        groups = 1 if example.shape[1] == CHANNELS else None
        self.trunk = PackedTrunk(networks, example) if trunk is None else TrunkInInt8(trunk)
        heads = [it.attention.heads for it in networks if it.attention is not None]
        self.heads: nn.Module | None = in_groups(heads) if heads else None
        colours = [network.colour for network in networks if network.colour is not None]
        self.cells = colours[0].cells if colours else 0
        if colours:
            side = CELL_SIDE * self.cells
            bins = in_groups([colour.bins[0] for colour in colours], groups)
            small = torch.Size((*example.shape[:2], side, side))
            self.bins = PackedConvolution(bins, small, rectified=True)
            seen = torch.Size((len(example), bins.out_channels, side, side))
            mixed = in_groups([colour.bins[2] for colour in colours])
            self.mixed = PackedConvolution(mixed, seen, rectified=True)
        ends = [_end(network) for network in networks]
        self._matrix = torch.stack([matrix.T for matrix, _ in ends])
        self._offset = torch.stack([offset[None] for _, offset in ends])

    def forward(self, x: Tensor) -> Tensor:
        """As `JoinedNetwork.forward`, for as many channels as the example has."""
        maps = self.trunk(x)
        parts = [maps.mean((2, 3)), maps.amax((2, 3))]
        if self.heads is not None:
            apart, logits = (self._apart(each) for each in (maps, self.heads(maps)))
            parts.append(attended(apart, logits).reshape(len(x), -1))
        if self.cells:
            small = functional.adaptive_avg_pool2d(x, CELL_SIDE * self.cells)
            parts.append(square_roots(self.mixed(self.bins(small))))
        seen = torch.cat([part.unflatten(1, (self.networks, -1)) for part in parts], 2)
        vectors = torch.baddbmm(self._offset, seen.transpose(0, 1), self._matrix)
        vectors = functional.normalize(vectors, dim=2).transpose(0, 1).flatten(1)
        return vectors / math.sqrt(self.networks)

    def _apart(self, maps: Tensor) -> Tensor:
        """``(n, networks * channels, h, w)`` -> ``(n * networks, channels, h, w)``."""
        return maps.reshape(len(maps) * self.networks, -1, *maps.shape[2:])


class PackedJoined(nn.Module):
    """The vectors of `JoinedNetwork`, for networks of one shape.

    A handful of squares goes through all networks together, for the steps' sake; where there are
    more, each network's arithmetic fills the processor, and convolutions in groups are slower. Each
    way has the weights in a layout of its own, so that they are in memory twice.
    """

    def __init__(self, networks: Sequence[EmbeddingNetwork], example: Tensor) -> None:
        """See `PackedNetwork`."""
        super().__init__()
        self.together = PackedNetwork(networks, example)
        alone = example[:, :CHANNELS]
        self.apart = JoinedNetwork([PackedNetwork([each], alone) for each in networks])

    def forward(self, x: Tensor) -> Tensor:
        """As `JoinedNetwork.forward`, for as many channels as the example has."""
        vectors: Tensor = self.together(x) if len(x) <= TOGETHER else self.apart(x)
        return vectors


def in_groups(convolutions: Sequence[nn.Module], groups: int | None = None) -> nn.Conv2d:
    """Convolutions of one shape as one, their outputs one after another.

    Args:
        convolutions: With biases, and without groups of their own.
        groups: 1 where all of them see the same; by default each sees channels of its own.

    Raises:
        TypeError: One is no such convolution; normalisations have to be folded in before.
    """
    first = convolutions[0]
    if not isinstance(first, nn.Conv2d) or first.bias is None or first.groups != 1:
        raise TypeError("Only convolutions with a bias and without groups can be put into groups.")
    count = len(convolutions)
    groups = count if groups is None else groups
    grouped = nn.Conv2d(
        groups * first.in_channels,
        count * first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        first.dilation,  # type: ignore[arg-type]
        groups,
        padding_mode=first.padding_mode,
    )
    tensors = [each.state_dict() for each in convolutions]
    grouped.load_state_dict(
        {name: torch.cat([each[name] for each in tensors]) for name in ("weight", "bias")}
    )
    return grouped.to(memory_format=torch.channels_last)


def _end(network: EmbeddingNetwork) -> tuple[Tensor, Tensor]:
    """What a network does behind its maps, as ``matrix @ features + offset``."""
    norms = [network.feature_norm]
    if network.colour is not None:
        norms.append(network.colour.norm)
    scales, shifts = (torch.cat(parts) for parts in zip(*map(_affine, norms), strict=True))
    scale, shift = _affine(network.embed_norm)
    matrix = network.embed.weight.detach()
    return scale[:, None] * matrix * scales, scale * (matrix @ shifts) + shift


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """What a normalisation multiplies with, and what it adds."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise TypeError("A normalisation without running statistics cannot be packed.")
    scale = norm.weight.detach() / torch.sqrt(variance + norm.eps)
    return scale, norm.bias.detach() - scale * mean


def can_pack() -> bool:
    """Whether this build of PyTorch has what it takes."""
    available: bool = torch._C._has_mkldnn
    return (
        available
        and hasattr(torch.ops.mkldnn, "_reorder_convolution_weight")
        and hasattr(torch.ops.mkldnn, "_convolution_pointwise")
        and hasattr(torch.ops.mkldnn._convolution_pointwise, "binary")
    )


def alike(network: nn.Module) -> list[EmbeddingNetwork]:
    """The networks in a network whose stems and stages go together; none where shapes differ."""
    members = [each for each in network.modules() if isinstance(each, EmbeddingNetwork)]
    return members if len({each.shape for each in members}) == 1 else []


def pack(network: nn.Module, example: Tensor, trunk: Trunk | None = None) -> nn.Module:
    """Put a `PackedNetwork` in the place of each `EmbeddingNetwork`, where that can be done.

    Args:
        network: On the processor, in float32, in evaluation mode, its normalisations folded in.
        example: Of what the network will see, its values of no matter; see `PackedNetwork`.
        trunk: Takes the place of the stems and stages of all that are `alike`.

    Returns:
        What takes the network's place: another network, or itself where only parts of it are
        packed. It computes where it is, and can be neither copied nor saved.
    """
    if not can_pack():
        return network
    with torch.no_grad():
        if isinstance(network, EmbeddingNetwork):
            return PackedNetwork([network], example, trunk)
        if isinstance(network, JoinedNetwork):
            members = alike(network)
            if members == list(network.members):
                if len(members) == 1 or trunk is not None:
                    return PackedNetwork(members, example, trunk)
                return PackedJoined(members, example)
            seen_by_each = example[:, :CHANNELS]
            network.members = nn.ModuleList([pack(it, seen_by_each) for it in network.members])
            return network
    for name, child in list(network.named_children()):
        setattr(network, name, pack(child, example, trunk))
    return network
