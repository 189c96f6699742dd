"""Published weights: tensors are read from them, never code, and all of them have to fit."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from pickle import UnpicklingError  # what torch raises for a file that is none of its own
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from core.models import ModelError

_NAMED: Final = 3
"""So many tensors are named of those that do not fit."""

_NUMBERS: Final = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})

NOT_OF_TORCH: Final = (
    UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
"""What reading a file that torch did not write ends in: torch takes any bytes for instructions, and
raises whatever the first wrong one leads to."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a ``.safetensors`` file, or of a ``.pth`` file with a state dictionary.

    Raises:
        ModelError: The file is missing, or holds anything but named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror or error}).") from error
    except (SafetensorError, *NOT_OF_TORCH) as error:
        raise ModelError(
            f"{path} is not a file of weights: it is damaged, or holds more than tensors."
        ) from error
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in tensors.items()
    ):
        raise ModelError(f"{path} does not hold weights by name, as a state dictionary does.")
    return tensors


def fill(network: nn.Module, tensors: dict[str, Tensor], whose: str, source: str) -> None:
    """Put tensors into a network.

    How many batches a normalisation has seen may be missing, and stays as the network has it:
    nothing depends on it afterwards.

    Args:
        network: Takes them.
        tensors: By name.
        whose: The network's name, for the sentence.
        source: Where they come from, for the sentence.

    Raises:
        ModelError: Tensors are missing, too many, of another shape, or not of numbers that the
            network can hold.
    """
    wanted = network.state_dict()
    counts = {name for name, value in wanted.items() if not value.is_floating_point()}
    faults = (
        ("missing", sorted(wanted.keys() - counts - tensors.keys())),
        ("unknown", sorted(tensors.keys() - wanted.keys())),
        (
            "of another shape",
            [
                f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
                for name in sorted(wanted.keys() & tensors.keys())
                if tensors[name].shape != wanted[name].shape
            ],
        ),
        (
            "not of finite numbers",
            [
                name
                for name in sorted(wanted.keys() & tensors.keys() - counts)
                if not _finite(tensors[name], wanted[name].dtype)
            ],
        ),
    )
    found = [f"{what}: {_some(names)}" for what, names in faults if names]
    if found:
        raise ModelError(f"{source} does not hold the weights of {whose}; {'; '.join(found)}.")
    network.load_state_dict(tensors | {name: wanted[name] for name in counts})


def _finite(tensor: Tensor, kind: torch.dtype) -> bool:
    """Whether a tensor has a finite number in each of its places, also as numbers of a kind."""
    return (
        tensor.dtype in _NUMBERS
        and tensor.layout is torch.strided
        and not tensor.is_meta
        and bool(torch.isfinite(tensor.to(kind)).all())
    )


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def identity_of(network: nn.Module) -> str:
    """One hash over all numbers of a network, 64 hexadecimal digits, whatever file they lay in."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        if value.is_floating_point():
            digest.update(name.encode())
            digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    return digest.hexdigest()
