"""Networks in whole numbers of eight bits, as `core.models.quantised` runs them."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from onnxruntime import InferenceSession
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

_ENTRANCE, _OF_ENTRANCE, _KERNEL, _OF_KERNEL, _OFFSET = 0, 1, 3, 4, 8
"""Where QLinearConv has what enters and its scale, the weights and theirs, and the bias."""


def quantised(model: onnx.ModelProto, examples: Sequence[NDArray[Any]]) -> bytes:
    """A network as the content of an ``.onnx`` file.

    Weights get a scale for each channel; what flows between the layers one for each layer, from
    the least and the largest that occurs where the network looks at `examples`. What enters and
    leaves stays in single precision, and so does all up to the convolutions that come first:
    neighbouring pixels are alike and their kernels take differences of them, so that what rounding
    does to pixels and kernels hardly cancels out, and with three channels int8 is no quicker.

    Weights have seven bits: processors without instructions for whole numbers add two products in
    sixteen bits, and with eight the sum would not fit.

    Args:
        model: In single precision, with one input; its convolutions have biases.
        examples: What it looks at, ``(height, width, channels)`` each, at least one.

    Raises:
        ValueError: There is no example.
    """
    if not examples:
        raise ValueError("A network is brought to int8 by examples; there are none.")
    shown = [np.asarray(each[None], np.float32) for each in examples]
    entrance = model.graph.input[0].name
    with tempfile.TemporaryDirectory() as folder, _without_advice():
        plain, path = Path(folder) / "plain.onnx", Path(folder) / "network.onnx"
        onnx.save(model, plain)
        quantize_static(
            plain,
            path,
            _Shown(entrance, shown),
            quant_format=QuantFormat.QOperator,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            nodes_to_exclude=_first_steps(model),
        )
        coarse = onnx.load(path)
    _set_right(coarse, model, shown)
    return bytes(coarse.SerializeToString())


def _first_steps(model: onnx.ModelProto) -> list[str]:
    """Names of the operations up to the first convolution on each way into a network."""
    reached = {model.graph.input[0].name}
    names = []
    for node in model.graph.node:
        if reached.isdisjoint(node.input):
            continue
        names.append(node.name)
        if node.op_type != "Conv":
            reached.update(node.output)
    return names


@contextmanager
def _without_advice() -> Iterator[None]:
    """onnxruntime advises to simplify a graph first; these are simple."""

    def goes_on(record: logging.LogRecord) -> bool:
        return record.module != "quantize"

    root = logging.getLogger()
    root.addFilter(goes_on)
    try:
        yield
    finally:
        root.removeFilter(goes_on)


class _Shown(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
    def __init__(self, entrance: str, shown: Sequence[NDArray[np.float32]]) -> None:
        self._left = iter([{entrance: each} for each in shown])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        return next(self._left, None)


def _set_right(
    coarse: onnx.ModelProto, exact: onnx.ModelProto, shown: Sequence[NDArray[np.float32]]
) -> None:
    """Take off each convolution's bias what its rounded weights add on average.

    Rounding errors of the weights of one output do not cancel out where what enters is not zero on
    average, as nothing is behind a rectifier (Nagel et al., 2019, "Data-Free Quantization Through
    Weight Equalization and Bias Correction", arXiv:1906.04721, 4.2).
    """
    means = _means(exact, shown)
    constants = {tensor.name: tensor for tensor in coarse.graph.initializer}
    kernels = {tensor.name: numpy_helper.to_array(tensor) for tensor in exact.graph.initializer}
    plain = {node.output[0]: node for node in exact.graph.node if node.op_type == "Conv"}

    def value(name: str) -> NDArray[Any]:
        return numpy_helper.to_array(constants[name])

    for node in coarse.graph.node:
        if node.op_type != "QLinearConv":
            continue
        before = plain[node.output[0].removesuffix("_quantized")]
        step = value(node.input[_OF_KERNEL])
        rounded = value(node.input[_KERNEL]) * step[:, None, None, None]
        lost = (kernels[before.input[1]] - rounded).sum((2, 3)) @ means[before.input[0]]
        bias = constants[node.input[_OFFSET]]
        whole = value(bias.name) + np.rint(lost / (value(node.input[_OF_ENTRANCE]) * step))
        bias.CopyFrom(numpy_helper.from_array(whole.astype(np.int32), bias.name))


def _means(
    model: onnx.ModelProto, shown: Sequence[NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Mean of each channel of what enters each convolution, by its name."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    entering = sorted({it.input[0] for it in model.graph.node if it.op_type == "Conv"})
    for name in entering:
        mean = f"mean_of_{name}"
        watched.graph.node.append(
            helper.make_node("ReduceMean", [name], [mean], axes=[0, 2, 3], keepdims=0)
        )
        watched.graph.output.append(
            helper.make_tensor_value_info(mean, onnx.TensorProto.FLOAT, [None])
        )
    session = InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    entrance = model.graph.input[0].name
    told = [f"mean_of_{name}" for name in entering]
    found = [session.run(told, {entrance: each}) for each in shown]
    return {
        name: np.mean(each, axis=0, dtype=np.float64)
        for name, each in zip(entering, zip(*found, strict=True), strict=True)
    }
