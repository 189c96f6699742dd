"""The extractor's convolutions as ONNX graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from onnxruntime import InferenceSession
from torch import nn

from core.models.backbones import EmbeddingNetwork, NetworkShape
from core.models.packed import MAPS
from core.models.precision import fold_norms
from core.models.quantised import SQUARES
from core.train.onnx_of_torch import of_trunks
from tests.core.models.networks import network_in_use

SHAPE = NetworkShape((8, 16, 24), (1, 2, 1), 6, colour_channels=0)


def network(seed: int, shape: NetworkShape = SHAPE) -> EmbeddingNetwork:
    drawn = network_in_use(shape, seed)
    fold_norms(drawn)
    return drawn


@pytest.mark.parametrize("side", [32, 40, 27])
@pytest.mark.parametrize(("count", "divided"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("halvings", [None, 2])
def test_maps_are_the_same(side: int, count: int, divided: bool, halvings: int | None) -> None:
    networks = [network(seed, replace(SHAPE, halvings=halvings)) for seed in range(count)]
    model = of_trunks(networks, side, divided=divided)
    torch.manual_seed(1)
    squares = torch.rand(2, 3 * count if divided else 3, side, side) * 2 - 1
    seen = squares.chunk(count, 1) if divided else [squares] * count
    with torch.inference_mode():
        expected = torch.cat(
            [own.stages(own.stem(x)) for own, x in zip(networks, seen, strict=True)], 1
        )
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run([MAPS], {SQUARES: squares.numpy()})
    assert expected.abs().max() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(TypeError, match="with a bias"):
        of_trunks([network_in_use(SHAPE, 1)], 32)  # its normalisations are not folded in
    other = network(1)
    other.stages[0] = nn.Identity()
    with pytest.raises(TypeError, match="residual blocks"):
        of_trunks([other], 32)
