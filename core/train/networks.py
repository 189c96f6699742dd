"""The networks that can be trained, by name."""

from __future__ import annotations

from torch import nn

from core.models.backbones import EmbeddingNetwork, NetworkShape
from core.models.irse50 import DIMENSIONS, SIDE, IrSe50Network
from core.train.extractor_names import Backbone

IR_SE50_SIDE = SIDE


def new_network(backbone: Backbone, shape: NetworkShape) -> EmbeddingNetwork | IrSe50Network:
    """A network with random weights, ``(n, 3, side, side)`` in -1..1 -> ``(n, d)``, unit length.

    Args:
        backbone: Which.
        shape: Of ``familiar``; the other has one shape.
    """
    return EmbeddingNetwork(shape) if backbone == Backbone.FAMILIAR else IrSe50Network()


def dimensions_of(backbone: Backbone, shape: NetworkShape) -> int:
    """Length of the vectors."""
    return shape.dimensions if backbone == Backbone.FAMILIAR else DIMENSIONS


def last_norm(network: EmbeddingNetwork | IrSe50Network) -> nn.BatchNorm1d:
    """The normalisation over the batch that is the last layer before the vector."""
    last = network.embed_norm if isinstance(network, EmbeddingNetwork) else network.output_layer[-1]
    if not isinstance(last, nn.BatchNorm1d):
        raise TypeError(f"{type(network).__name__} does not end in a normalisation.")
    return last
