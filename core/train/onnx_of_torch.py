"""The convolutions of the extractor's networks as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from torch import nn

from core.models.backbones import CHANNELS, EmbeddingNetwork, ResidualBlock
from core.models.packed import MAPS
from core.models.quantised import SQUARES
from core.train.onnx_graph import Graph


def of_trunks(
    networks: Sequence[EmbeddingNetwork], side: int, *, divided: bool = False
) -> onnx.ModelProto:
    """What stems and stages do of networks of one shape, as an ONNX model.

    Args:
        networks: In evaluation mode, their normalisations folded in.
        side: Of the squares, in pixels.
        divided: Whether each sees a square of its own, or all of them the same.

    Returns:
        A model of ``(n, 3, side, side)``, or ``(n, networks * 3, side, side)`` where each sees its
        own, to ``(n, networks * channels, h, w)``; see `core.models.packed.Trunk`.
    """
    graph = Graph()
    count = len(networks) if divided else 1
    seen = graph.add("Split", [SQUARES], count, axis=1) if count > 1 else [SQUARES]
    seen *= len(networks) // count
    maps = [_trunk(graph, network, x) for network, x in zip(networks, seen, strict=True)]
    joined = graph.node("Concat", *maps, axis=1) if len(maps) > 1 else maps[0]
    channels = len(networks) * networks[0].shape.widths[-1]
    return graph.model(
        {SQUARES: [None, count * CHANNELS, side, side]},
        {MAPS: (joined, [None, channels, None, None])},
    )


def _trunk(graph: Graph, network: EmbeddingNetwork, x: str) -> str:
    x = graph.node("Relu", _convolution(graph, network.stem[0], x))
    for block in network.stages:
        x = _block(graph, block, x)
    return x


def _block(graph: Graph, block: nn.Module, x: str) -> str:
    if not isinstance(block, ResidualBlock):
        raise TypeError("Only residual blocks are known in ONNX here.")
    y = graph.node("Relu", _convolution(graph, block.first, x))
    y = _convolution(graph, block.second, y)
    for layer in block.shortcut.children():
        if isinstance(layer, nn.AvgPool2d):
            width = layer.kernel_size
            size = [width, width] if isinstance(width, int) else list(width)
            x = graph.node("AveragePool", x, kernel_shape=size, strides=size, ceil_mode=1)
        elif isinstance(layer, nn.Conv2d):
            x = _convolution(graph, layer, x)
    return graph.node("Relu", graph.node("Add", y, x))


def _convolution(graph: Graph, layer: nn.Module, x: str) -> str:
    if not isinstance(layer, nn.Conv2d) or layer.bias is None or isinstance(layer.padding, str):
        raise TypeError("Only convolutions with a bias are known in ONNX here.")
    weights = [graph.constant(it.detach().cpu().numpy()) for it in (layer.weight, layer.bias)]
    return graph.node(
        "Conv",
        x,
        *weights,
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=list(layer.padding) * 2,
    )
