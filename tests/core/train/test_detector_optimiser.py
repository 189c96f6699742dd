"""The optimiser, against the same mathematics in plain numpy, variable by variable."""

from __future__ import annotations

import numpy as np

from core.models.tensorflow_runtime import tf
from core.train.detector_optimiser import Optimiser
from tests.core.train.plain_muon import plain_orthogonal

RATE = 0.01
DECAY = 0.1


def test_three_steps_agree_with_plain_arithmetic() -> None:
    generator = np.random.default_rng(0)
    shapes = {
        "a.kernel": (3, 3, 2, 16),
        "b.kernel": (3, 3, 2, 16),
        "c.kernel": (1, 1, 8, 32),
        "last.kernel": (1, 1, 8, 4),
        "a.scale": (16,),
        "last.bias": (4,),
    }
    start = {n: generator.normal(size=s).astype(np.float32) for n, s in shapes.items()}
    gradients = [{n: generator.normal(size=s) for n, s in shapes.items()} for _ in range(3)]

    variables = {n: tf.Variable(v) for n, v in start.items()}
    optimiser = Optimiser(variables, DECAY)
    for step in gradients:
        optimiser.apply({n: tf.constant(g, tf.float32) for n, g in step.items()}, RATE)

    for name, shape in shapes.items():
        value = start[name].astype(np.float64)
        first = np.zeros(shape)
        second = np.zeros(shape)
        for t, step in enumerate(gradients, start=1):
            gradient = step[name]
            if name in ("a.kernel", "b.kernel", "c.kernel"):
                first = 0.95 * first + gradient
                matrix = (gradient + 0.95 * first).reshape(-1, shape[-1])
                change = plain_orthogonal(matrix) * 0.2 * np.sqrt(max(matrix.shape))
                value = value - RATE * (change.reshape(shape) + DECAY * value)
            else:
                first = 0.9 * first + 0.1 * gradient
                second = 0.99 * second + 0.01 * gradient**2
                mean, spread = first / (1 - 0.9**t), second / (1 - 0.99**t)
                value = value - RATE * mean / (np.sqrt(spread) + 1e-8)
        np.testing.assert_allclose(variables[name].numpy(), value, atol=2e-4, err_msg=name)


def test_its_state_is_all_that_it_needs_to_go_on() -> None:
    generator = np.random.default_rng(1)
    shapes = {"a.kernel": (3, 3, 2, 16), "a.scale": (16,)}
    gradients = [
        {n: tf.constant(generator.normal(size=s), tf.float32) for n, s in shapes.items()}
        for _ in range(2)
    ]
    variables = {n: tf.Variable(tf.ones(s)) for n, s in shapes.items()}
    optimiser = Optimiser(variables, DECAY)
    optimiser.apply(gradients[0], RATE)

    copies = {n: tf.Variable(v) for n, v in variables.items()}
    other = Optimiser(copies, DECAY)
    for name, value in other.state().items():
        value.assign(optimiser.state()[name])
    optimiser.apply(gradients[1], RATE)
    other.apply(gradients[1], RATE)

    for name in shapes:
        np.testing.assert_array_equal(copies[name].numpy(), variables[name].numpy())
