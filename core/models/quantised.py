"""Networks in whole numbers of eight bits, run by onnxruntime.

In int8 (Jacob et al., 2018, "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", arXiv:1712.05877) a processor needs half of the time, and
onnxruntime keeps several cores busy where TensorFlow's convolutions hardly use more than one. A
detector that has such networks beside its SavedModel holds them in ``int8/``: ``1.onnx``,
``2.onnx``. What lies between them stays in TensorFlow: the signature ``after_1`` takes what the
first network gives and gives what the second takes, and the last one gives what
``serving_default`` gives. Each takes by name what it needs of all that came before.

Only files that a model's own description lists with their hashes are looked at.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.models import ModelError
from core.models.onnx_session import open_session

FOLDER = "int8"
"""Within a model's folder."""

PICTURES = "input_tensor"
"""Name of what a detector looks at; as the Object Detection API calls it."""

SQUARES = "squares"
"""Name of what an extractor's networks look at, and a detector's second one."""

_SOME_SIDE = 32


class QuantisedNetwork:
    """One network of an ``.onnx`` file, on the processor. Many threads may ask at a time.

    Attributes:
        entering: Shape of one of what it sees; 0: of any length.
        leaving: The same of what it gives, by name.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        """
        Args:
            content: Of the file.
            threads: Of the processor, at least 1.

        Raises:
            ModelError: It cannot be run, or takes more than one thing.
        """
        self._session = open_session(content, "A network in int8", threads=threads)
        if len(self._session.get_inputs()) != 1:
            raise ModelError("A network in int8 takes one thing.")
        (entrance,) = self._session.get_inputs()
        self._entrance = entrance.name
        self.entering = _shape(entrance)
        self.leaving = {each.name: _shape(each) for each in self._session.get_outputs()}

    def __call__(self, seen: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """What the network makes of what it sees.

        Args:
            seen: ``(n, ...)`` as the network takes it; `n` may be 0.

        Returns:
            Its maps by their names, each ``(n, ...)``.
        """
        if not len(seen):
            return {name: np.zeros((0, *shape), np.float32) for name, shape in self.leaving.items()}
        names = list(self.leaving)
        maps = self._session.run(names, {self._entrance: np.asarray(seen, np.float32)})
        return dict(zip(names, maps, strict=True))


def _shape(what: Any) -> tuple[int, ...]:
    return tuple(length if isinstance(length, int) else 0 for length in what.shape[1:])


class QuantisedGraph:
    """Stands in for a detector's ``serving_default``.

    Args:
        networks: In the order in which they are run.
        signatures: What follows each.
    """

    def __init__(self, networks: Sequence[QuantisedNetwork], signatures: Sequence[Any]) -> None:
        self._steps = [
            (network, signature, sorted(signature.structured_input_signature[1]))
            for network, signature in zip(networks, signatures, strict=True)
        ]

    def __call__(self, pictures: Pixels) -> Mapping[str, Any]:
        """What ``serving_default`` gives of pictures, ``(n, height, width, 3)`` uint8."""
        from core.models.tensorflow_runtime import tf

        seen: Any = pictures
        known: dict[str, Any] = {PICTURES: tf.constant(pictures)}
        given: Mapping[str, Any] = {}
        for network, signature, taken in self._steps:
            known |= {name: tf.constant(each) for name, each in network(seen).items()}
            given = signature(**{name: known[name] for name in taken})
            known |= given
            seen = given[SQUARES].numpy() if SQUARES in given else None
        return given


def quantised_graph(
    folder: Path, listed: Mapping[str, str], model: Any, needed: Sequence[str], threads: int = 0
) -> QuantisedGraph:
    """The networks of a detector with what its SavedModel does after them, tried once.

    Args:
        folder: The detector's.
        listed: SHA-256 of each of its files, by its path from there.
        model: The SavedModel.
        needed: What has to come out.
        threads: Of the processor, 0 for all that this process may use.

    Raises:
        ModelError: They cannot be run, or do not belong to this SavedModel.
    """
    names = networks_listed(listed)
    last = len(names)
    networks = quantised_networks(folder, listed, names, threads)
    try:
        signatures = [model.signatures[after(number)] for number in range(1, last + 1)]
        if after(last + 1) in model.signatures:
            raise KeyError(after(last + 1))
        graph = QuantisedGraph(networks, signatures)
        given = graph(np.full((1, _SOME_SIDE, _SOME_SIDE, 3), 128, np.uint8))
        if missing := [name for name in needed if name not in given]:
            raise KeyError(*missing)
    except Exception as error:  # those of onnxruntime and TensorFlow share no other class
        raise ModelError(
            f"{folder / FOLDER} does not belong to the detector beside it; train and export the"
            " detector anew, or set FAMILIAR_MODEL_PRECISION=float32 to use it without."
        ) from error
    return graph


def quantised_networks(
    folder: Path, listed: Mapping[str, str], names: Sequence[str], threads: int = 0
) -> list[QuantisedNetwork]:
    """Networks of a model's folder.

    Args:
        folder: The model's.
        listed: SHA-256 of each of its networks, by its path from there.
        names: Paths of those to read.
        threads: Of the processor, 0 for all that this process may use.

    Raises:
        ModelError: One is not listed or missing, is not the one that is, or is no network.
    """
    networks = []
    for name in names:
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        if hashlib.sha256(content).hexdigest() != listed.get(name):
            raise ModelError(
                f"The model's file {folder / name} is missing, damaged or was replaced; put it back"
                " as it was shipped, or set FAMILIAR_MODEL_PRECISION=float32 to use it without."
            )
        try:
            networks.append(QuantisedNetwork(content, threads or processors()))
        except ModelError as error:
            raise ModelError(
                f"The model's file {folder / name} cannot be used ({error}) Train and export the"
                " model anew, or set FAMILIAR_MODEL_PRECISION=float32 to use it without."
            ) from error
    return networks


def processors() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def network_path(folder: Path, number: int) -> Path:
    """Where a detector keeps a network, counted from 1."""
    return folder / FOLDER / f"{number}.onnx"


def networks_listed(listed: Mapping[str, str]) -> list[str]:
    """The networks in int8 among a detector's files, in order, by their paths from its folder."""
    names = (network_path(Path(), number).as_posix() for number in range(1, len(listed) + 1))
    return [name for name in names if name in listed]


def after(number: int) -> str:
    """Name of the signature that follows a network, counted from 1."""
    return f"after_{number}"
