"""Muon for kernels, Adam for the rest: few steps have to be enough on a processor.

Muon makes every step of a kernel's matrix near orthogonal (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/), here scaled so that Adam's learning rates fit
(Liu et al., 2025, "Muon is Scalable for LLM Training", 2.2).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from core.models.tensorflow_runtime import Module, tf

_MOMENTUM = 0.95
_BETA1 = 0.9
_BETA2 = 0.99
_TINY = 1e-8


class Optimiser(Module):
    """Changes variables along their gradients.

    Args:
        variables: What is trained, by name.
        decay: Weight decay of kernels, in units of the learning rate.
        precision: What the matrix products of Muon compute in.
    """

    def __init__(
        self, variables: dict[str, tf.Variable], decay: float, precision: Any = tf.float32
    ) -> None:
        super().__init__()
        self.decay = decay
        self.precision = precision
        # Kernels of one shape go through Muon together, and all the rest through Adam as one
        # vector: a graph of a third of the operations, which is ready in half the time.
        kernels = {n: v for n, v in variables.items() if _is_kernel(n, v)}
        self.groups: dict[tuple[int, int], list[str]] = {}
        for name, kernel in kernels.items():
            shape = (int(np.prod(kernel.shape[:-1])), int(kernel.shape[-1]))
            self.groups.setdefault(shape, []).append(name)
        self.kernels = kernels
        self.others = {n: v for n, v in variables.items() if n not in kernels}
        self.steps = tf.Variable(0.0, trainable=False, name="steps")
        self.momenta = [_zeros(len(names), *shape) for shape, names in self.groups.items()]
        length = sum(int(np.prod(v.shape)) for v in self.others.values())
        self.first = _zeros(length)
        self.second = _zeros(length)

    def state(self) -> dict[str, tf.Variable]:
        """Everything that has to be kept to go on later."""
        found = {f"momenta.{i}": momentum for i, momentum in enumerate(self.momenta)}
        return found | {"first": self.first, "second": self.second, "steps": self.steps}

    def apply(self, gradients: dict[str, Any], rate: Any) -> None:
        """One step.

        Args:
            gradients: By the names of the variables.
            rate: Learning rate.
        """
        self.steps.assign_add(1.0)
        for ((rows, columns), names), momentum in zip(
            self.groups.items(), self.momenta, strict=True
        ):
            gradient = tf.stack([tf.reshape(gradients[n], [rows, columns]) for n in names])
            momentum.assign(_MOMENTUM * momentum + gradient)
            step = orthogonal(gradient + _MOMENTUM * momentum, self.precision)
            step *= rate * 0.2 * float(max(rows, columns)) ** 0.5
            shrink = 1.0 - rate * self.decay
            for name, change in zip(names, tf.unstack(step, len(names)), strict=True):
                kernel = self.kernels[name]
                kernel.assign(shrink * kernel - tf.reshape(change, kernel.shape))
        gradient = tf.concat([tf.reshape(gradients[n], [-1]) for n in self.others], 0)
        self.first.assign(_BETA1 * self.first + (1 - _BETA1) * gradient)
        self.second.assign(_BETA2 * self.second + (1 - _BETA2) * gradient * gradient)
        mean = self.first / (1 - tf.pow(_BETA1, self.steps))
        spread = self.second / (1 - tf.pow(_BETA2, self.steps))
        step = rate * mean / (tf.sqrt(spread) + _TINY)
        lengths = [int(np.prod(v.shape)) for v in self.others.values()]
        for variable, change in zip(self.others.values(), tf.split(step, lengths), strict=True):
            variable.assign_sub(tf.reshape(change, variable.shape))


def orthogonal(matrices: Any, precision: Any = tf.float32) -> Any:
    """The near-orthogonal matrices closest to `matrices`, by five Newton-Schulz steps.

    Args:
        matrices: ``(n, rows, columns)``.
        precision: What the products are computed in.
    """
    _, rows, columns = matrices.shape
    x = matrices / (tf.norm(matrices, axis=(1, 2), keepdims=True) + 1e-7)
    x = tf.cast(tf.linalg.matrix_transpose(x) if rows > columns else x, precision)
    for _ in range(5):
        square = tf.matmul(x, x, transpose_b=True)
        x = 3.4445 * x + tf.matmul(-4.7750 * square + 2.0315 * tf.matmul(square, square), x)
    x = tf.cast(x, tf.float32)
    return tf.linalg.matrix_transpose(x) if rows > columns else x


def _is_kernel(name: str, variable: tf.Variable) -> bool:
    # The last layers' kernels have one or four columns: nothing there to make orthogonal.
    return name.endswith("kernel") and int(variable.shape[-1]) >= 16


def _zeros(*shape: int) -> tf.Variable:
    return tf.Variable(tf.zeros(shape), trainable=False)
