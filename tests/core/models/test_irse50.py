"""IR-SE50: the network and its published layout."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from core.models.aligned import MARGIN, described
from core.models.irse50 import (
    DIMENSIONS,
    SIDE,
    IrSe50Description,
    IrSe50Faces,
    IrSe50Network,
)


def published_shapes() -> dict[str, tuple[int, ...]]:
    """Every tensor of a published checkpoint, written down block by block."""
    shapes: dict[str, tuple[int, ...]] = {"input_layer.0.weight": (64, 3, 3, 3)}

    def norm(name: str, channels: int) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    norm("input_layer.1", 64)
    shapes["input_layer.2.weight"] = (64,)
    channels = [64] * 4 + [128] * 4 + [256] * 14 + [512] * 3
    for number, (inputs, outputs) in enumerate(pairwise(channels)):
        block = f"body.{number}"
        norm(f"{block}.res_layer.0", inputs)
        shapes[f"{block}.res_layer.1.weight"] = (outputs, inputs, 3, 3)
        shapes[f"{block}.res_layer.2.weight"] = (outputs,)
        shapes[f"{block}.res_layer.3.weight"] = (outputs, outputs, 3, 3)
        norm(f"{block}.res_layer.4", outputs)
        shapes[f"{block}.res_layer.5.fc1.weight"] = (outputs // 16, outputs, 1, 1)
        shapes[f"{block}.res_layer.5.fc2.weight"] = (outputs, outputs // 16, 1, 1)
        if inputs != outputs:
            shapes[f"{block}.shortcut_layer.0.weight"] = (outputs, inputs, 1, 1)
            norm(f"{block}.shortcut_layer.1", outputs)
    norm("output_layer.0", 512)
    shapes["output_layer.3.weight"] = (512, 512 * 7 * 7)
    shapes["output_layer.3.bias"] = (512,)
    norm("output_layer.4", 512)
    return shapes


def test_its_tensors_are_those_of_the_published_checkpoints() -> None:
    with torch.device("meta"):
        network = IrSe50Network()
    own = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert own == published_shapes()


def test_its_vectors_are_of_unit_length() -> None:
    torch.manual_seed(0)
    network = IrSe50Network().eval()
    with torch.inference_mode():
        vectors = network(torch.randn(2, 3, SIDE, SIDE))
    assert vectors.shape == (2, DIMENSIONS)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2), atol=1e-5)


class Watched(IrSe50Network):
    """Keeps what it is shown."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return torch.ones(len(x), DIMENSIONS)


def test_the_published_weights_know_blue_before_red_unless_it_is_stated(tmp_path: Path) -> None:
    assert described(tmp_path / "model.pth", IrSe50Description).channels == "bgr"
    (tmp_path / "model.json").write_text('{"channels": "rgb", "same_threshold": 0.5}')
    stated = described(tmp_path / "model.pth", IrSe50Description)
    assert (stated.channels, stated.same_threshold, stated.margin) == ("rgb", 0.5, MARGIN)


def test_pixels_are_shown_from_minus_one_to_one() -> None:
    network = Watched()
    faces = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    faces[0, 5, 7] = (255, 0, 51)
    IrSe50Faces(network).embed(faces)
    assert network.seen.shape == (1, 3, SIDE, SIDE)
    assert torch.allclose(network.seen[0, :, 5, 7], torch.tensor([1.0, -1.0, -0.6]), atol=1e-6)
