"""Muon for kernels and matrices, Adam for the rest: few steps have to be enough on a processor.

Muon makes every step of a kernel's matrix near orthogonal (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/), here scaled so that Adam's learning rates fit
(Liu et al., 2025, "Muon is Scalable for LLM Training", 2.2). PyTorch's own takes matrices alone,
no convolutions' kernels.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn

_MOMENTUM: Final = 0.95
_BETAS: Final = (0.9, 0.99)
_TINY: Final = 1e-8
_TURNS: Final = 5


class Muon(torch.optim.Optimizer):
    """Changes a network and what is learned beside it along their gradients."""

    def __init__(
        self,
        network: nn.Module,
        beside: Iterable[nn.Parameter],
        rate: float,
        decay: float,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """
        Args:
            network: Its kernels and matrices go through Muon, all else through Adam.
            beside: Parameters of the loss, such as directions of identities, through Adam.
            rate: Learning rate; groups have it as ``lr``, as in all of PyTorch's optimisers.
            decay: Weight decay of all that has more than one dimension, in units of the rate.
            precision: What Muon's matrix products compute in.
        """
        parameters, beside = list(network.parameters()), list(beside)
        plain = [p for p in (*parameters, *beside) if p.ndim <= 1]
        self.precision = precision
        super().__init__(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay},
                {"params": [p for p in beside if p.ndim > 1], "weight_decay": decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            {"lr": rate},
        )
        for group, kernels in zip(self.param_groups, (True, False, False), strict=True):
            group["kernels"] = kernels

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step along the gradients that are there."""
        for group in self.param_groups:
            for parameter in group["params"]:
                gradient = parameter.grad
                if gradient is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if group["kernels"]:
                    self._orthogonal_step(parameter, gradient, group["lr"])
                else:
                    self._adam_step(parameter, gradient, group["lr"])

    def _orthogonal_step(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        momentum = self._kept(parameter, "momentum")
        momentum.mul_(_MOMENTUM).add_(gradient)
        ahead = (gradient + _MOMENTUM * momentum).reshape(len(parameter), -1)
        change = orthogonal(ahead, self.precision).reshape(parameter.shape)
        parameter.add_(change, alpha=-rate * 0.2 * max(ahead.shape) ** 0.5)

    def _adam_step(self, parameter: Tensor, gradient: Tensor, rate: float) -> None:
        first, second = self._kept(parameter, "first"), self._kept(parameter, "second")
        state = self.state[parameter]
        state["steps"] = state.get("steps", 0) + 1
        first.lerp_(gradient, 1 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        mean = first / (1 - _BETAS[0] ** state["steps"])
        spread = second / (1 - _BETAS[1] ** state["steps"])
        parameter.addcdiv_(mean, spread.sqrt_().add_(_TINY), value=-rate)

    def _kept(self, parameter: Tensor, name: str) -> Tensor:
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        kept: Tensor = state[name]
        return kept


def orthogonal(matrix: Tensor, precision: torch.dtype = torch.float32) -> Tensor:
    """The near-orthogonal matrix closest to `matrix`, by Newton-Schulz steps.

    Its singular values lie in about 0.7..1.2.

    Args:
        matrix: ``(rows, columns)``.
        precision: What the products are computed in.
    """
    high = matrix.shape[0] > matrix.shape[1]
    x = (matrix / (matrix.norm() + 1e-7)).to(precision)
    x = x.T if high else x
    for _ in range(_TURNS):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * (square @ square)) @ x
    found: Tensor = (x.T if high else x).to(matrix.dtype)
    return found
