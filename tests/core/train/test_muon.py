"""Muon for PyTorch's networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from core.train.muon import Muon, orthogonal
from tests.core.train.plain_muon import plain_orthogonal


@pytest.mark.parametrize("shape", [(40, 16), (16, 40), (144, 16), (12, 12)])
def test_steps_of_kernels_are_near_orthogonal(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))

    found = orthogonal(matrix)

    assert found.shape == matrix.shape
    assert torch.linalg.svdvals(found).max() < 1.3
    # The smallest values of a square matrix may be too small for five steps.
    assert torch.linalg.svdvals(found).median() > 0.6
    assert (found * matrix).sum() > 0


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 4))


def test_it_finds_what_gradients_point_to() -> None:
    model, beside = network(), nn.Parameter(torch.zeros(4))
    pictures = torch.randn(32, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    wanted = pictures.mean((1, 2, 3))[:, None].repeat(1, 4) + torch.arange(4)
    optimiser = Muon(model, [beside], 0.02, 0.0)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        loss = ((model(pictures) + beside - wanted) ** 2).mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < 0.1 * losses[0]


def test_three_steps_agree_with_plain_arithmetic() -> None:
    """Kernels and matrices by Muon, a norm's scale and what stands beside by Adam."""
    rate, decay = 0.01, 0.1
    model, beside = network(), nn.Parameter(torch.full((4, 2), 0.5))
    parameters = dict(model.named_parameters()) | {"beside": beside}
    expected = {name: value.detach().double().numpy() for name, value in parameters.items()}
    generator = np.random.default_rng(0)
    gradients = [{n: generator.normal(size=v.shape) for n, v in expected.items()} for _ in range(3)]

    optimiser = Muon(model, [beside], rate, decay)
    for step in gradients:
        for name, parameter in parameters.items():
            parameter.grad = torch.tensor(step[name], dtype=torch.float32)
        optimiser.step()

    assert {value.ndim for value in parameters.values()} == {1, 2, 4}
    for name, start in expected.items():
        value, first, second = start, np.zeros(start.shape), np.zeros(start.shape)
        for t, step in enumerate(gradients, start=1):
            gradient = step[name]
            if value.ndim > 1:
                value = value * (1 - rate * decay)
            if value.ndim > 1 and name != "beside":
                first = 0.95 * first + gradient
                matrix = (gradient + 0.95 * first).reshape(len(value), -1)
                change = plain_orthogonal(matrix) * 0.2 * np.sqrt(max(matrix.shape))
                value = value - rate * change.reshape(value.shape)
            else:
                first = 0.9 * first + 0.1 * gradient
                second = 0.99 * second + 0.01 * gradient**2
                mean, spread = first / (1 - 0.9**t), second / (1 - 0.99**t)
                value = value - rate * mean / (np.sqrt(spread) + 1e-8)
        found = parameters[name].detach().numpy()
        np.testing.assert_allclose(found, value, atol=2e-5, err_msg=name)


def test_only_what_has_more_than_one_dimension_decays_and_what_has_no_gradient_stays() -> None:
    model, beside, bias = network(), nn.Parameter(torch.ones(4, 2)), nn.Parameter(torch.ones(4))
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimiser = Muon(model, [beside, bias], 0.1, 0.5)
    optimiser.step()
    assert all((value == before[name]).all() for name, value in model.named_parameters())

    for parameter in [*model.parameters(), beside, bias]:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()

    for name, value in model.named_parameters():
        torch.testing.assert_close(value, before[name] * (0.95 if value.ndim > 1 else 1.0))
    torch.testing.assert_close(beside.detach(), torch.full((4, 2), 0.95))
    torch.testing.assert_close(bias.detach(), torch.ones(4))


def test_what_it_keeps_goes_on_to_the_same_weights() -> None:
    def steps(model: nn.Module, optimiser: Muon, seeds: range) -> None:
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimiser.step()

    whole, first, rest = network(), network(), network()
    steps(whole, Muon(whole, [], 0.01, 0.1), range(4))
    half = Muon(first, [], 0.01, 0.1)
    steps(first, half, range(2))
    rest.load_state_dict(first.state_dict())
    again = Muon(rest, [], 0.01, 0.1)
    again.load_state_dict(half.state_dict())
    steps(rest, again, range(2, 4))

    for one, other in zip(whole.parameters(), rest.parameters(), strict=True):
        assert torch.equal(one, other)
