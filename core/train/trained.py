"""A network as a training wrote it, ready to be asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.face import Pixels, Vectors
from core.models import ModelError
from core.models.backbones import NetworkShape
from core.models.weights import fill, read_tensors
from core.train.copies import Prints, copies_among, read_prints
from core.train.extractor import embedded
from core.train.extractor_names import Backbone, Kind, Loss
from core.train.extractor_options import UNIT_LENGTH
from core.train.networks import dimensions_of, new_network
from core.train.results import EXTRACTOR_CHECKPOINT, LEARNED, METRICS, WEIGHTS


def learned_among(pictures: Pixels, folders: Sequence[Path]) -> int:
    """How many pictures, or copies of them, at least one of several trainings learned.

    With a label, or beforehand without: see `core.train.results.LEARNED`.

    Args:
        pictures: ``(n, height, width, 3)``.
        folders: What `core.train.extractor.train` wrote.

    Raises:
        ModelError: One of them does not say what it learned.
    """
    return copies_among(pictures, [_learned(folder) for folder in folders])


def _learned(folder: Path) -> Prints:
    try:
        return read_prints(folder / LEARNED)
    except OSError as error:
        raise _no_training(folder) from error
    except ValueError as error:
        raise ModelError(f"{error} Train anew.") from error


def _no_training(folder: Path) -> ModelError:
    return ModelError(f"{folder} does not hold what `familiar train extractor` wrote; train anew.")


class TrainedNetwork:
    """One network with the side and the length of vectors that it was trained for.

    Attributes:
        sha256: Of its weights.
        shape: What it was built from; an ``ir-se50`` has a shape of its own.
        backbone: Which network.
        loss: What was minimised.
        of: What it was trained on.
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
            ModelError: The folder holds no training's result, a damaged one, or a training that
                is not finished.
        """
        if (folder / EXTRACTOR_CHECKPOINT).is_file() and not (folder / METRICS).exists():
            raise ModelError(
                f"{folder} holds a training that is not finished; finish it first, by the same"
                " command with --resume."
            )
        try:
            options: dict[str, Any] = json.loads((folder / METRICS).read_bytes())["options"]
            self.shape = NetworkShape(**options["shape"])
            self.side = int(options["sides"][-1][1])
            self.backbone = Backbone(options["backbone"])
            self.loss = Loss(options["loss"])
            self.of = Kind(options["of"])
            self._unit = self.loss in UNIT_LENGTH
            self._network = new_network(self.backbone, self.shape)
        except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
            raise _no_training(folder) from error
        weights = folder / WEIGHTS
        fill(self._network, read_tensors(weights), f"the network in {METRICS}", str(weights))
        self.sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
        self.dimensions = dimensions_of(self.backbone, self.shape)
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
