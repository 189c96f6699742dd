"""TensorFlow's networks as ONNX graphs, and what they lose on their way to int8."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime import InferenceSession

import core.train.quantise as quantise
from core.models.quantised import QuantisedNetwork
from core.models.tensorflow_runtime import tf
from core.train.detector_network import DetectorNetwork
from core.train.onnx_of_tensorflow import of_tensorflow
from core.train.quantise import quantised
from core.train.refiner_network import SIDE, RefinerNetwork

Look = Callable[[Any], dict[str, Any]]
GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(0, 0.02, (3, 3, 3, 4)).astype(np.float32)
DEEPER = GENERATOR.normal(0, 0.2, (3, 3, 4, 8)).astype(np.float32)
VARIABLE = tf.Variable(KERNEL)


def said(look: Look, pictures: np.ndarray, side: int | None = None) -> dict[str, np.ndarray]:
    model = of_tensorflow(look, "pictures", side)
    session = InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"pictures": pictures}), strict=True))


def pictures(height: int, width: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (count, height, width, 3)).astype(np.float32)


def random(network: Any) -> Any:
    """With offsets and statistics as a training leaves them: none of them is 0 or 1."""
    for variable in network.variables:
        if len(variable.shape) == 1:
            variable.assign(GENERATOR.uniform(0.3, 0.9, variable.shape))
    return network.folded()


def test_a_detector_says_the_same() -> None:
    network = random(DetectorNetwork(16))

    def look(seen: Any) -> dict[str, Any]:
        return {f"tower_{number}": it for number, it in enumerate(network.towers(seen))}

    seen = pictures(64, 96)
    expected, found = look(tf.constant(seen)), said(look, seen)
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert np.abs(each).max() > 0.01
        np.testing.assert_allclose(found[name], each, rtol=1e-3, atol=1e-3)


def test_a_second_stage_says_the_same() -> None:
    network = random(RefinerNetwork(16))
    seen = pictures(SIDE, SIDE)
    found = said(lambda it: {"features": network.features(it)}, seen, SIDE)["features"]
    np.testing.assert_allclose(found, network.features(tf.constant(seen)), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    "look",
    [
        pytest.param(lambda it: tf.nn.conv2d(it, KERNEL, 2, "SAME"), id="no bias"),
        pytest.param(lambda it: tf.nn.conv2d(it, KERNEL, 1, "SAME") - 3.0, id="no bias but a sum"),
        pytest.param(
            lambda it: (
                (y := tf.nn.conv2d(it, KERNEL, 1, "SAME")) + tf.nn.bias_add(y, [1.0, 2.0, 3.0, 4.0])
            ),
            id="a bias for one of two readers",
        ),
        pytest.param(
            lambda it: tf.nn.bias_add(tf.nn.relu(it - 50.0), [1.0, 20.0, 3.0]), id="a bias alone"
        ),
        pytest.param(lambda it: tf.nn.max_pool2d(it, 5, 1, "SAME"), id="pool"),
        pytest.param(lambda it: tf.concat(tf.split(it, 3, -1)[::-1], -1), id="split and joined"),
        pytest.param(lambda it: tf.nn.depth_to_space(tf.concat([it] * 4, -1), 2), id="enlarged"),
    ],
)
@pytest.mark.parametrize("size", [(32, 48), (33, 47)], ids=["even", "odd"])
def test_an_operation_does_the_same(look: Callable[[Any], Any], size: tuple[int, int]) -> None:
    seen = pictures(*size)
    found = said(lambda it: {"maps": look(it)}, seen)["maps"]
    np.testing.assert_allclose(found, look(tf.constant(seen)), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("look", "told"),
    [
        pytest.param(tf.sin, "Sin", id="unknown"),
        pytest.param(lambda it: tf.nn.conv2d(it, KERNEL, 1, "VALID"), "padded", id="unpadded"),
        pytest.param(
            lambda it: tf.nn.conv2d(it, KERNEL, 1, "SAME", dilations=2), "spread", id="dilated"
        ),
        pytest.param(
            lambda it: tf.nn.conv2d(it, VARIABLE, 1, "SAME"), "outside of the graph", id="variable"
        ),
        pytest.param(lambda it: it - [1.0, 2.0, 3.0], "several numbers", id="a sum a channel"),
        pytest.param(lambda it: tf.concat([it, it], 1), "axis 1", id="joined along the height"),
        pytest.param(
            lambda it: tf.nn.depth_to_space(tf.concat([it, it + 1.0, it, it], -1), 2),
            "DepthToSpace",
            id="no copies",
        ),
    ],
)
def test_what_is_not_known_is_refused(look: Callable[[Any], Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        of_tensorflow(lambda it: {"maps": look(it)}, "pictures")


def test_rounded_weights_add_nothing_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    def look(it: Any) -> dict[str, Any]:
        first = tf.nn.relu(tf.nn.conv2d(it, KERNEL, 2, "SAME"))
        return {"maps": tf.nn.conv2d(first, DEEPER, 1, "SAME")}

    seen = pictures(32, 32, 8)
    exact = look(tf.constant(seen))["maps"].numpy()

    def shift() -> float:
        network = QuantisedNetwork(quantised(of_tensorflow(look, "pictures"), list(seen)), 1)
        return float(np.abs((network(seen)["maps"] - exact).mean((0, 1, 2))).max())

    corrected = shift()
    monkeypatch.setattr(quantise, "_set_right", lambda *_: None)
    assert corrected < 0.4 * shift()


def test_quantising_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    def look(it: Any) -> dict[str, Any]:
        return {"maps": tf.nn.conv2d(tf.nn.conv2d(it, KERNEL, 2, "SAME"), DEEPER, 1, "SAME")}

    quantised(of_tensorflow(look, "pictures"), list(pictures(32, 32)))
    assert not caplog.records


def test_convolutions_of_pixels_stay_in_single_precision() -> None:
    kernel, deeper = KERNEL[:, :, :1], np.tile(DEEPER, (1, 1, 3, 1))

    def look(it: Any) -> dict[str, Any]:
        colours = tf.split(it / 2.0, 3, axis=-1)
        first = [tf.nn.relu(tf.nn.conv2d(each, kernel, 1, "SAME")) for each in colours]
        return {"maps": tf.nn.conv2d(tf.concat(first, -1), deeper, 1, "SAME")}

    content = quantised(of_tensorflow(look, "pictures"), list(pictures(32, 32)))
    operations = Counter(node.op_type for node in onnx.load_from_string(content).graph.node)
    assert (operations["Conv"], operations["QLinearConv"]) == (3, 1)
