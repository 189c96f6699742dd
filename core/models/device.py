"""The devices that PyTorch computes on, and what is said where one of them cannot."""

from __future__ import annotations

import logging
import re
from typing import Final, TypeVar

import torch
from torch import nn

from core.models import ModelError

log = logging.getLogger(__name__)

_OF_A_DEVICE: Final = re.compile(
    r"\b(CUDA|cuDNN|cuBLAS|HIP|MIOpen) (error|failure|out of memory)", re.IGNORECASE
)
"""What libraries say of a GPU. But for PyTorch's memory, their errors share no class."""
_AT_FAULT: Final = (RuntimeError, AssertionError)
"""What PyTorch raises for a device; the second where it was built without any for GPUs."""

_Network = TypeVar("_Network", bound=nn.Module)


def torch_device(name: str) -> str:
    """The torch device that a setting means; ``auto`` is a GPU where there is one that can compute.

    Raises:
        ModelError: There is no such device here, or it cannot compute.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return "cpu"
        try:
            try_out("cuda")
        except ModelError as error:
            log.warning("the extractor runs on the processor: %s", error)
            return "cpu"
        return "cuda"
    try:
        torch.zeros(1, device=name)
    except _AT_FAULT as error:
        raise ModelError(
            f"PyTorch has no device {name} here; choose cpu, cuda, cuda:1 and the like, or auto."
        ) from error
    try_out(name)
    return name


def try_out(device: str) -> None:
    """Let a torch device compute a small convolution.

    Raises:
        ModelError: It cannot, such as a card that is too old for this PyTorch, or whose memory is
            held by others.
    """
    try:
        pixels = torch.zeros(1, 3, 32, 32, device=device)
        weights = torch.zeros(8, 3, 3, 3, device=device)
        if nn.functional.conv2d(pixels, weights).is_cuda:
            torch.cuda.synchronize(device)
    except _AT_FAULT as error:
        raise ModelError(
            f"The device {device} cannot compute: {_first_line(error)}; free its memory, or choose"
            " another, such as with FAMILIAR_MODEL_DEVICE=cpu."
        ) from error


def moved(network: _Network, device: torch.device) -> _Network:
    """The network, its weights on the device.

    Raises:
        ModelError: The device does not take them.
    """
    try:
        return network.to(device)
    except _AT_FAULT as error:
        raise ModelError(
            f"The device {device} does not take a network: {_first_line(error)}; free its memory,"
            " or set FAMILIAR_MODEL_DEVICE=cpu."
        ) from error


def is_of_a_device(error: Exception) -> bool:
    """Whether an error tells of a GPU, or of its memory, and not of what was computed on it."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return _OF_A_DEVICE.search(str(error)) is not None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(" .")
