"""Networks of constants and convolutions, written node by node as ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET: Final = 17
_VERSION: Final = 8
"""Of ONNX's file format, the first that has the opset; older runtimes read it, too."""

Shape = Sequence[int | None]
"""None: of any length."""


class Graph:
    """An ONNX graph that grows node by node; each method gives the name of what its node gives."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def constant(self, value: NDArray[Any]) -> str:
        """A constant."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operation: str, entering: Sequence[str], count: int = 1, **how: Any) -> list[str]:
        """A node of any operation, and the names of all that it gives."""
        number = len(self._nodes)
        leaving = [f"{operation}_{number}_{which}" for which in range(count)]
        self._nodes.append(
            helper.make_node(operation, entering, leaving, f"{operation}_{number}", **how)
        )
        return leaving

    def node(self, operation: str, *entering: str, **how: Any) -> str:
        """A node of any operation that gives one thing."""
        return self.add(operation, entering, **how)[0]

    def doubled(self, x: str) -> str:
        """Maps enlarged by two, each cell four times."""
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        return self.node("Resize", x, "", scales, nearest_mode="floor", **nearest)

    def model(
        self, entering: dict[str, Shape], leaving: dict[str, tuple[str, Shape]]
    ) -> onnx.ModelProto:
        """The whole as a model.

        Args:
            entering: Names and shapes of what comes in, in float32.
            leaving: By its name in the model, what goes out: its name in here and its shape.
        """
        for name, (inner, _) in leaving.items():
            self._nodes.append(helper.make_node("Identity", [inner], [name], f"give_{name}"))
        graph = helper.make_graph(
            self._nodes,
            "network",
            [_float(name, shape) for name, shape in entering.items()],
            [_float(name, shape) for name, (_, shape) in leaving.items()],
            self._constants,
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_VERSION)
        onnx.checker.check_model(model)
        return model


def _float(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
