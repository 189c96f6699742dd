"""IR-SE50, the network that ArcFace's public PyTorch weights are for.

A residual network of 50 layers whose blocks begin with a normalisation and end in a gate on the
channels (Deng et al. 2018, arXiv:1801.07698, section 3.2; Hu et al. 2017, arXiv:1709.01507). Its
parts are named as in the published checkpoints, ``input_layer``, ``body`` and ``output_layer``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.face import Pixels, Vectors
from core.likeness import COSINE
from core.models import ModelError
from core.models.aligned import AlignedExtractor, Description, described
from core.models.device import moved
from core.models.extractor import FamiliarExtractor, as_values
from core.models.weights import fill, identity_of, read_tensors

NAME: Final = "ir-se50"

SIDE: Final = 112
"""Pixels a side of the aligned faces that the network takes."""
DIMENSIONS: Final = 512
"""Length of its vectors."""

_STAGES: Final = ((64, 3), (128, 4), (256, 14), (512, 3))
"""Channels of each stage and its number of blocks; the first block halves the resolution."""
_GATE_REDUCTION: Final = 16
_DROPOUT: Final = 0.5


class IrSe50Description(Description):
    """What is stated beside the weights.

    Attributes:
        likeness: What vectors are compared by, as the training's loss has it.

    The published ones know blue before red: they were trained and measured on faces that OpenCV had
    read (github.com/TreB1eN/InsightFace_Pytorch, ``data/data_pipe.py``).
    """

    channels: Literal["rgb", "bgr"] = "bgr"
    likeness: str = COSINE.name


class ChannelGate(nn.Module):
    """Scales every channel by what the means of all channels say (squeeze and excitation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // _GATE_REDUCTION, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // _GATE_REDUCTION, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, channels, h, w)`` -> the same shape."""
        means = x.mean((2, 3), keepdim=True)
        gated: Tensor = x * torch.sigmoid(self.fc2(functional.relu(self.fc1(means))))
        return gated


class ImprovedBlock(nn.Module):
    """Normalisation, convolution, PReLU, convolution, normalisation, gate; beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer: nn.Module = (
            nn.MaxPool2d(1, stride)  # takes every stride-th pixel
            if inputs == outputs
            else nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, outputs, 3, 1, 1, bias=False),
            nn.PReLU(outputs),
            nn.Conv2d(outputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            ChannelGate(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, inputs, h, w)`` -> ``(n, outputs, h / stride, w / stride)``."""
        sum_of_both: Tensor = self.res_layer(x) + self.shortcut_layer(x)
        return sum_of_both


class IrSe50Network(nn.Module):
    """The network; 43.8 million parameters."""

    def __init__(self) -> None:
        super().__init__()
        channels = _STAGES[0][0]
        self.input_layer = nn.Sequential(
            nn.Conv2d(3, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.PReLU(channels),
        )
        blocks: list[nn.Module] = []
        for outputs, count in _STAGES:
            for number in range(count):
                blocks.append(ImprovedBlock(channels, outputs, 2 if number == 0 else 1))
                channels = outputs
        self.body = nn.Sequential(*blocks)
        cells = (SIDE // 2 ** len(_STAGES)) ** 2
        self.output_layer = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.Dropout(_DROPOUT),
            nn.Flatten(),
            nn.Linear(channels * cells, DIMENSIONS),
            nn.BatchNorm1d(DIMENSIONS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, 112, 112)`` in -1..1 -> ``(n, 512)`` float32 of unit length."""
        return functional.normalize(self.unscaled(x), dim=1)

    def unscaled(self, x: Tensor) -> Tensor:
        """The same vectors, float32, before they are made unit length."""
        vector: Tensor = self.output_layer(self.body(self.input_layer(x))).float()
        return vector


class IrSe50Faces:
    """The network with its preprocessing. See `core.models.aligned.FaceNetwork`."""

    side = SIDE
    dimensions = DIMENSIONS
    in_onnxruntime = False

    def __init__(self, network: IrSe50Network, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._network = moved(network.eval(), self._device)

    def embed(self, faces: Pixels) -> Vectors:
        """``(n, 112, 112, 3)`` in the network's order of channels -> ``(n, 512)``."""
        with torch.inference_mode():
            vectors = self._network(as_values(faces, self._device))
            return np.asarray(vectors.cpu().numpy(), np.float32)


def load(weights: Path, pictures: FamiliarExtractor, device: str = "cpu") -> AlignedExtractor:
    """An extractor of public weights.

    Args:
        weights: A ``.pth`` or ``.safetensors`` file with the published names; beside it may stand
            how faces are shown to it, see `IrSe50Description`.
        pictures: Sees the whole pictures.
        device: Torch device.

    Raises:
        ModelError: The file is missing or damaged, or its tensors are not all that is needed and
            nothing else; or what stands beside it cannot be used, or says that its vectors are
            not compared by their cosine.
    """
    tensors = read_tensors(weights)
    description = described(weights, IrSe50Description)
    if description.likeness != COSINE.name:
        raise ModelError(
            f"{weights} was trained for vectors that are compared by their {description.likeness}"
            " distance, not by their cosine as an extractor's are; take one that was trained with"
            " another --loss, such as arcface."
        )
    with torch.device("meta"):  # numbers drawn by chance would only be replaced
        network = IrSe50Network()
    network = network.to_empty(device="cpu")
    fill(network, tensors, "IR-SE50", str(weights))
    identity = identity_of(network)
    return AlignedExtractor(NAME, identity, IrSe50Faces(network, device), pictures, description)
