"""A detector's networks in whole numbers of eight bits, run by LiteRT.

On two processor cores TensorFlow's convolutions use hardly more than one. Those of LiteRT,
TensorFlow's runtime for small machines, use both, and count in int8 (Jacob et al., 2018,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
arXiv:1712.05877). A detector that has such networks beside its SavedModel holds them in ``int8/``:
``1.tflite``, ``2.tflite``. What lies between them stays in TensorFlow: the signature ``after_1``
takes what the first network gives and gives what the second takes, and the last one gives what
``serving_default`` gives. Each takes by name what it needs of all that came before.

LiteRT is not made for files of strangers: it is given those alone that the detector's own
``detector.json`` lists with their hashes, and that whoever named the detector trusts so far.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.models import ModelError

FOLDER = "int8"
"""Within a detector's folder."""

PICTURES = "input_tensor"
"""Name of what a detector looks at; as the Object Detection API calls it."""

SQUARES = "squares"
"""Name of what the second and later networks look at."""

_SIGNATURE = "serving_default"
_SOME_SIDE = 32


class QuantisedNetwork:
    """One network of a ``.tflite`` file, on the processor. Many threads may ask; one is answered.

    Args:
        content: Of the file.
        threads: Of the processor, at least 1.

    Raises:
        ValueError: It is no such file, or needs operations that LiteRT does not have.
    """

    def __init__(self, content: bytes, threads: int) -> None:
        from core.models.tensorflow_runtime import without_greetings

        with without_greetings():
            from ai_edge_litert.interpreter import Interpreter

            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            entering, leaving = _named(self._interpreter)
            (entrance,) = entering.values()
            self._entrance = int(entrance["index"])
            # It greets when it is first made ready.
            some = [side if side > 0 else _SOME_SIDE for side in entrance["shape_signature"]]
            self._interpreter.resize_tensor_input(self._entrance, [1, *some[1:]])
            self._interpreter.allocate_tensors()
        self._exits = {
            name: (
                int(exit_["index"]),
                tuple(max(int(side), 0) for side in exit_["shape_signature"][1:]),
            )
            for name, exit_ in leaving.items()
        }
        self._shape: tuple[int, ...] | None = None
        self._running = threading.Lock()

    def __call__(self, pictures: NDArray[Any]) -> dict[str, NDArray[np.float32]]:
        """What the network makes of pictures.

        Args:
            pictures: ``(n, height, width, 3)``, 0..255; `n` may be 0.

        Returns:
            Its maps by their names, each ``(n, ...)``.
        """
        if not len(pictures):
            return {
                name: np.zeros((0, *shape), np.float32) for name, (_, shape) in self._exits.items()
            }
        with self._running:
            if pictures.shape != self._shape:
                self._shape = None  # should what follows fail
                self._interpreter.resize_tensor_input(self._entrance, pictures.shape)
                self._interpreter.allocate_tensors()
                self._shape = pictures.shape
            self._interpreter.set_tensor(self._entrance, np.asarray(pictures, np.float32))
            self._interpreter.invoke()
            return {
                name: self._interpreter.get_tensor(index)
                for name, (index, _) in self._exits.items()
            }


def _named(interpreter: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is known of inputs and outputs by their names. No runner may outlive this: while there
    is one, nothing can be resized."""
    runner = interpreter.get_signature_runner(_SIGNATURE)
    return runner.get_input_details(), runner.get_output_details()


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
    networks: Sequence[Path], model: Any, needed: Sequence[str], threads: int = 0
) -> QuantisedGraph:
    """The networks of a detector with what its SavedModel does after them, tried once.

    Args:
        networks: Their files, in order; as `core.models.detector` found them to be unchanged.
        model: The SavedModel.
        needed: What has to come out.
        threads: Of the processor, 0 for all that this process may use.

    Raises:
        ModelError: They cannot be run, or do not belong to this SavedModel.
    """
    from core.models.tensorflow_runtime import tf

    last = len(networks)
    try:
        signatures = [model.signatures[after(number)] for number in range(1, last + 1)]
        if after(last + 1) in model.signatures:
            raise KeyError(after(last + 1))
        graph = QuantisedGraph(
            [QuantisedNetwork(path.read_bytes(), threads or processors()) for path in networks],
            signatures,
        )
        given = graph(np.full((1, _SOME_SIDE, _SOME_SIDE, 3), 128, np.uint8))
        if missing := [name for name in needed if name not in given]:
            raise KeyError(*missing)
    except (OSError, ValueError, RuntimeError, KeyError, tf.errors.OpError) as error:
        raise ModelError(
            f"{networks[0].parent} does not belong to the detector beside it; train and export the"
            " detector anew, or set FAMILIAR_MODEL_PRECISION=float32 to use it without."
        ) from error
    return graph


def processors() -> int:
    """How many processor cores this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on every system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def network_path(folder: Path, number: int) -> Path:
    """Where a detector keeps a network, counted from 1."""
    return folder / FOLDER / f"{number}.tflite"


def after(number: int) -> str:
    """Name of the signature that follows a network, counted from 1."""
    return f"after_{number}"
