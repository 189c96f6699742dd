"""A network as a training wrote it, ready to be asked."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from core.face import Pixels, Vectors
from core.models import ModelError
from core.models.backbones import NetworkShape
from core.train.extractor import METRICS, UNIT_LENGTH, WEIGHTS, embedded
from core.train.networks import dimensions_of, new_network


class TrainedNetwork:
    """One network with the side and the length of vectors that it was trained for.

    Attributes:
        sha256: Of its weights.
        side: Of the squares that it sees.
        dimensions: Length of its vectors.
    """

    def __init__(self, folder: Path, *, mirrored: bool = False, device: str = "cpu") -> None:
        """
        Args:
            folder: What `core.train.extractor.train` wrote.
            mirrored: Whether a vector is the mean of the picture's and its mirror image's.
            device: Torch device.

        Raises:
            ModelError: The folder holds no training's result, or a damaged one.
        """
        try:
            options: dict[str, Any] = json.loads((folder / METRICS).read_bytes())["options"]
            shape = NetworkShape(**options["shape"])
            backbone = options.get("backbone", "familiar")
            self._network = new_network(backbone, shape)
            weights = load_file(folder / WEIGHTS)
            counted = {
                name: value
                for name, value in self._network.state_dict().items()
                if not value.dtype.is_floating_point  # how many batches a norm has seen: not stored
            }
            self._network.load_state_dict(weights | counted)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, RuntimeError) as error:
            raise ModelError(
                f"{folder} does not hold what `familiar train extractor` wrote; train anew."
            ) from error
        self.sha256 = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
        self.side = int(options["sides"][-1][1])
        self.dimensions = dimensions_of(backbone, shape)
        self._unit = options.get("loss", "familiar") in UNIT_LENGTH
        self._mirrored = mirrored
        self._device = device
        self._network.eval().to(torch.device(device)).to(memory_format=torch.channels_last)

    def embed(self, pictures: Pixels, *, side: int | None = None) -> Vectors:
        """``(n, any, any, 3)`` -> ``(n, dimensions)``, seen at `side`; None: as in training."""
        if not len(pictures):
            return np.empty((0, self.dimensions), np.float32)
        return embedded(
            self._network,
            pictures,
            self.side if side is None else side,
            device=self._device,
            mirrored=self._mirrored,
            unit=self._unit,
        )
