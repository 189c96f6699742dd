"""TensorFlow's networks as ONNX graphs.

TensorFlow keeps a map's channels last, ONNX first: here all maps of four dimensions have them
first, but for what enters and leaves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from core.models.tensorflow_runtime import tf
from core.train.onnx_graph import Graph, Shape

CHANNELS_FIRST: Final = (0, 3, 1, 2)
CHANNELS_LAST: Final = (0, 2, 3, 1)


def of_tensorflow(
    look: Callable[[Any], dict[str, Any]], entering: str, side: int | None = None
) -> onnx.ModelProto:
    """What a TensorFlow function does, as an ONNX model.

    Args:
        look: Pictures ``(n, height, width, 3)`` float32 to maps ``(n, h, w, c)`` by their names;
            made of constants, convolutions and little else.
        entering: Name of the pictures in the model.
        side: Height and width of the pictures if they are always the same.

    Raises:
        ValueError: It does something that is not known here.
    """
    shape: Shape = [None, side, side, 3]
    traced = tf.function(
        look, input_signature=[tf.TensorSpec(shape, tf.float32, name=entering)]
    ).get_concrete_function()
    translation = _Translation(list(traced.graph.as_graph_def().node), entering)
    leaving = {
        name: (translation.channels_last(tensor.name), tensor.shape.as_list())
        for name, tensor in traced.structured_outputs.items()
    }
    return translation.graph.model({entering: shape}, leaving)


class _Translation:
    """TensorFlow's nodes, in the order in which they are run, in ONNX's words."""

    def __init__(self, nodes: Sequence[Any], entering: str) -> None:
        self.graph = Graph()
        self._names: dict[str, str] = {}
        self._values: dict[str, NDArray[Any]] = {}
        self._copies: dict[str, tuple[str, int]] = {}
        operations = [node for node in nodes if not self._is_constant(node)]
        self._biases = _biases(operations)
        self._biased = {adding for adding, _ in self._biases.values()}
        translations: dict[str, Callable[[Any, list[str]], Sequence[str]]] = {
            "Placeholder": lambda node, _: [self._entrance(node, entering)],
            "Identity": self._maps,
            "Relu": self._plain,
            "AddV2": self._plain,
            "Sub": self._plain,
            "RealDiv": self._plain,
            "BiasAdd": self._bias,
            "Conv2D": self._convolution,
            "MaxPool": self._pool,
            "Split": self._split,
            "ConcatV2": self._joined,
            "DepthToSpace": self._enlarged,
        }
        for node in operations:
            if node.op not in translations:
                raise _unknown(node)
            inputs = [_whole(name) for name in node.input if not name.startswith("^")]
            given = translations[node.op](node, inputs)
            self._names.update({f"{node.name}:{which}": name for which, name in enumerate(given)})

    def channels_last(self, name: str) -> str:
        """Maps as TensorFlow would give them."""
        return self.graph.node("Transpose", self._names[name], perm=CHANNELS_LAST)

    def _is_constant(self, node: Any) -> bool:
        """Whether a node only gives a constant, which is known from then on."""
        if node.op == "Const":
            self._values[f"{node.name}:0"] = tf.make_ndarray(node.attr["value"].tensor)
            return True
        if node.op in {"Cast", "Identity"} and (given := _whole(node.input[0])) in self._values:
            self._values[f"{node.name}:0"] = self._values[given].astype(np.float32)
            return True
        return False

    def _maps(self, _node: Any, entering: list[str]) -> list[str]:
        return [self._names[name] for name in entering if name in self._names]

    def _entrance(self, node: Any, entering: str) -> str:
        if node.name != entering:
            raise ValueError(f"{node.name} lies outside of the graph: make it a constant first.")
        return self.graph.node("Transpose", entering, perm=CHANNELS_FIRST)

    def _plain(self, node: Any, entering: list[str]) -> list[str]:
        constants = [self._values[name] for name in entering if name in self._values]
        if any(constant.size > 1 for constant in constants):
            raise ValueError(f"{node.name} has a constant of several numbers; only one is known.")
        given = [
            self.graph.constant(self._values[name]) if name in self._values else self._names[name]
            for name in entering
        ]
        return [self.graph.node(_PLAIN.get(node.op, node.op), *given)]

    def _bias(self, node: Any, entering: list[str]) -> list[str]:
        (maps,) = self._maps(node, entering)
        if node.name in self._biased:  # the convolution has it
            return [maps]
        bias = self.graph.constant(self._values[entering[1]][:, None, None])
        return [self.graph.node("Add", maps, bias)]

    def _convolution(self, node: Any, entering: list[str]) -> list[str]:
        (maps,) = self._maps(node, entering)
        kernel = self._values[entering[1]]
        _, bias = self._biases.get(node.name, ("", ""))
        offset = self._values[bias] if bias else np.zeros(kernel.shape[3], np.float32)
        weights = [self.graph.constant(it) for it in (kernel.transpose(3, 2, 0, 1), offset)]
        return [self.graph.node("Conv", maps, *weights, **_window(node, kernel.shape[:2]))]

    def _pool(self, node: Any, entering: list[str]) -> list[str]:
        size = node.attr["ksize"].list.i[1:3]
        return [self.graph.node("MaxPool", *self._maps(node, entering), **_window(node, size))]

    def _split(self, node: Any, entering: list[str]) -> list[str]:
        _check_axis(node, int(self._values[entering[0]]))
        maps = self._maps(node, entering)
        return self.graph.add("Split", maps, node.attr["num_split"].i, axis=1)

    def _joined(self, node: Any, entering: list[str]) -> list[str]:
        _check_axis(node, int(self._values[entering[-1]]))
        maps = self._maps(node, entering)
        joined = self.graph.node("Concat", *maps, axis=1)
        if len(set(maps)) == 1:
            self._copies[joined] = maps[0], len(maps)
        return [joined]

    def _enlarged(self, node: Any, entering: list[str]) -> list[str]:
        (maps,) = self._maps(node, entering)
        copied, times = self._copies.get(maps, ("", 0))
        if not times == node.attr["block_size"].i ** 2 == 4:
            raise _unknown(node)
        return [self.graph.doubled(copied)]


def _unknown(node: Any) -> ValueError:
    return ValueError(f"{node.op} ({node.name}) is not known in ONNX here.")


def _biases(operations: Sequence[Any]) -> dict[str, tuple[str, str]]:
    """By each convolution that only a bias is added to: which node does, and the bias."""
    readers = Counter(_whole(name) for node in operations for name in node.input)
    convolutions = {node.name for node in operations if node.op == "Conv2D"}
    return {
        node.input[0]: (node.name, _whole(node.input[1]))
        for node in operations
        if node.op == "BiasAdd"
        and node.input[0] in convolutions
        and readers[_whole(node.input[0])] == 1
    }


def _whole(name: str) -> str:
    """What a node reads, with the number of the output that TensorFlow leaves out where it is 0."""
    return name if ":" in name else f"{name}:0"


_PLAIN: Final = {"AddV2": "Add", "RealDiv": "Div"}
"""What ONNX calls otherwise."""


def _window(node: Any, size: Sequence[int]) -> dict[str, Any]:
    if node.attr["padding"].s != b"SAME" or set(node.attr["dilations"].list.i) - {1}:
        raise ValueError(f"{node.name} is padded or spread in a way that is not known here.")
    return {
        "kernel_shape": list(size),
        "strides": list(node.attr["strides"].list.i[1:3]),
        "auto_pad": "SAME_UPPER",
    }


def _check_axis(node: Any, axis: int) -> None:
    if axis not in {-1, 3}:
        raise ValueError(f"{node.name} goes along axis {axis}, not along the channels.")
