"""Muon for kernels, Adam for the rest: few steps have to be enough on a processor.

Muon makes every step of a kernel's matrix near orthogonal (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/), here scaled so that Adam's learning rates fit
(Liu et al., 2025, "Muon is Scalable for LLM Training", 2.2).
"""

from __future__ import annotations

from typing import Any

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
        self.variables_by_name = variables
        self.decay = decay
        self.precision = precision
        self.steps = tf.Variable(0.0, trainable=False, name="steps")
        self.first = {n: _zeros(v) for n, v in variables.items()}
        self.second = {n: _zeros(v) for n, v in variables.items() if not _is_kernel(n, v)}

    def state(self) -> dict[str, tf.Variable]:
        """Everything that has to be kept to go on later."""
        found = {"steps": self.steps}
        found |= {f"first.{n}": v for n, v in self.first.items()}
        found |= {f"second.{n}": v for n, v in self.second.items()}
        return found

    def apply(self, gradients: dict[str, Any], rate: Any) -> None:
        """One step.

        Args:
            gradients: By the names of the variables.
            rate: Learning rate.
        """
        self.steps.assign_add(1.0)
        for name, variable in self.variables_by_name.items():
            gradient = gradients[name]
            first = self.first[name]
            if name in self.second:
                second = self.second[name]
                first.assign(_BETA1 * first + (1 - _BETA1) * gradient)
                second.assign(_BETA2 * second + (1 - _BETA2) * gradient * gradient)
                mean = first / (1 - tf.pow(_BETA1, self.steps))
                spread = second / (1 - tf.pow(_BETA2, self.steps))
                variable.assign_sub(rate * mean / (tf.sqrt(spread) + _TINY))
            else:
                first.assign(_MOMENTUM * first + gradient)
                ahead = gradient + _MOMENTUM * first
                step = orthogonal(tf.reshape(ahead, [-1, variable.shape[-1]]), self.precision)
                step *= 0.2 * float(max(step.shape)) ** 0.5
                variable.assign_sub(
                    rate * (tf.reshape(step, variable.shape) + self.decay * variable)
                )


def orthogonal(matrix: Any, precision: Any = tf.float32) -> Any:
    """The near-orthogonal matrix closest to `matrix`, by five Newton-Schulz steps."""
    rows, columns = matrix.shape
    x = matrix / (tf.norm(matrix) + 1e-7)
    x = tf.cast(tf.transpose(x) if rows > columns else x, precision)
    for _ in range(5):
        square = tf.matmul(x, x, transpose_b=True)
        x = 3.4445 * x + tf.matmul(-4.7750 * square + 2.0315 * tf.matmul(square, square), x)
    x = tf.cast(x, tf.float32)
    return tf.transpose(x) if rows > columns else x


def _is_kernel(name: str, variable: tf.Variable) -> bool:
    # The last layers' kernels have one or four columns: nothing there to make orthogonal.
    return name.endswith("kernel") and variable.shape[-1] >= 16


def _zeros(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros_like(variable), trainable=False)
