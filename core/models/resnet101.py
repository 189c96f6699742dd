"""torchvision's ResNet101 as an extractor: the first and simplest one.

Trained on photographs of a thousand kinds of things, it knows no characters; its 2,048 features
before the last layer describe whole pictures, and serve faces the same way. It needs torchvision
and weights: a ``.pth`` file, or torchvision's own download.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from torch import nn

from core.face import Landmarks, Pixels, Vectors
from core.framing import Box, Framing, framed, resized
from core.models import ModelError, PlainExtractor
from core.models.device import moved
from core.models.weights import fill, identity_of, read_tensors

WEIGHTS_VARIABLE = "FAMILIAR_RESNET101_WEIGHTS"
SIDE = 224
DIMENSIONS = 2048
FRAMING = Framing(margin=0.45)
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class ResNet101(PlainExtractor):
    """ResNet101 without its last layer, for faces and whole pictures alike."""

    name = "resnet101"
    face_dimensions = DIMENSIONS
    picture_dimensions = DIMENSIONS
    weights_of_both = (0.5, 0.5)

    def __init__(self, network: nn.Module, device: str = "cpu") -> None:
        """
        Args:
            network: torchvision's ``resnet101``, its last layer replaced by the identity.
            device: Torch device.
        """
        self.sha256 = identity_of(network)
        self._device = torch.device(device)
        laid_out = network.eval().to(memory_format=torch.channels_last)
        self._network = moved(laid_out, self._device)
        self._mean = torch.tensor(_MEAN, device=self._device)[:, None, None]
        self._deviation = torch.tensor(_DEVIATION, device=self._device)[:, None, None]

    @classmethod
    def load(cls, weights: Path | None = None, device: str = "cpu") -> ResNet101:
        """Build the network and fill it.

        Args:
            weights: A state dictionary as torchvision publishes it (``.pth``), read without
                running any code from it. None: the file that ``FAMILIAR_RESNET101_WEIGHTS``
                names, else torchvision's own download.
            device: Torch device.

        Raises:
            ModelError: torchvision or the weights are missing, or the file is not theirs.
        """
        try:
            from torchvision.models import ResNet101_Weights, resnet101
        except ImportError as error:
            raise ModelError("resnet101 needs torchvision: `pip install torchvision`.") from error
        named = os.environ.get(WEIGHTS_VARIABLE)
        source = weights or (Path(named) if named else None)
        network: nn.Module = resnet101(weights=None)
        if source is None:
            try:
                # torch announces the download on stdout, where commands put their results.
                with contextlib.redirect_stdout(sys.stderr):
                    state = ResNet101_Weights.IMAGENET1K_V2.get_state_dict(
                        progress=False, check_hash=True
                    )
            except (URLError, OSError, RuntimeError) as error:
                raise ModelError(
                    "The weights of resnet101 could not be downloaded; save torchvision's"
                    f" resnet101 .pth file yourself and name it in {WEIGHTS_VARIABLE}."
                ) from error
        else:
            state = read_tensors(source)
        fill(network, dict(state), "torchvision's resnet101", str(source or "The download"))
        network.fc = nn.Identity()
        return cls(network, device)

    def prepare_face(
        self,
        pixels: Pixels,
        box: Box | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The square around a face, ``(224, 224, 3)``; it never saw aligned ones."""
        return framed(pixels, box, FRAMING, SIDE)

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The whole picture, squeezed into ``(224, 224, 3)``."""
        return resized(pixels, SIDE)

    def embed_faces(self, faces: Pixels) -> Vectors:
        """``(n, 224, 224, 3)`` -> ``(n, 2048)`` of unit length."""
        return self._embed(faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, 224, 224, 3)`` -> ``(n, 2048)`` of unit length."""
        return self._embed(pictures)

    def _embed(self, pixels: Pixels) -> Vectors:
        if not len(pixels):
            return np.empty((0, DIMENSIONS), np.float32)
        with torch.inference_mode():
            values = torch.from_numpy(np.ascontiguousarray(pixels)).to(self._device)
            values = values.permute(0, 3, 1, 2).float().div_(255)
            values = (values - self._mean) / self._deviation
            vectors = self._network(values.contiguous(memory_format=torch.channels_last))
            vectors = nn.functional.normalize(vectors.float(), dim=1)
            return np.asarray(vectors.cpu().numpy(), np.float32)
