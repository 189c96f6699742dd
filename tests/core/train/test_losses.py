"""The losses, computed a second time from their papers in plain loops."""

from __future__ import annotations

import math

import pytest
import torch

from core.train.losses import AngularMarginLoss, VectorMemory, contrastive_loss


def units(rows: int, dimensions: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, dimensions), dim=1)


@pytest.mark.parametrize("centres", [1, 3])
def test_angular_margin_agrees_with_plain_loops(centres: int) -> None:
    loss = AngularMarginLoss(6, 4, margin=0.3, scale=16.0, centres=centres)
    vectors, labels = units(5, 6, 0), torch.tensor([0, 1, 2, 3, 1])
    directions = loss.directions.detach()
    total = 0.0
    for vector, label in zip(vectors, labels.tolist(), strict=True):
        logits = []
        for identity in range(4):
            cosine = max(float(vector @ centre / centre.norm()) for centre in directions[identity])
            if identity == label:
                angle = math.acos(cosine)
                cosine = (
                    math.cos(angle + 0.3) if angle < math.pi - 0.3 else cosine - 0.3 * math.sin(0.3)
                )
            logits.append(16.0 * cosine)
        total += -logits[label] + math.log(sum(math.exp(logit) for logit in logits))
    assert float(loss(vectors, labels).detach()) == pytest.approx(total / 5, rel=1e-4)


def test_the_margin_makes_the_task_harder() -> None:
    vectors, labels = units(8, 6, 1), torch.arange(8) % 4
    easy, hard = AngularMarginLoss(6, 4, margin=0.0), AngularMarginLoss(6, 4, margin=0.5)
    hard.load_state_dict(easy.state_dict())
    assert float(hard(vectors, labels).detach()) > float(easy(vectors, labels).detach())


def plain_contrast(
    rows: list[tuple[torch.Tensor, int]], company: list[tuple[torch.Tensor, int]], heat: float
) -> float:
    losses = []
    for i, (vector, label) in enumerate(rows):
        others = [pair for j, pair in enumerate(company) if j != i]
        shares = [math.exp(float(vector @ other) / heat) for other, _ in others]
        same = [
            -math.log(share / sum(shares))
            for share, (_, other_label) in zip(shares, others, strict=True)
            if other_label == label
        ]
        if same:
            losses.append(sum(same) / len(same))
    return sum(losses) / len(losses)


def test_contrastive_loss_agrees_with_plain_loops() -> None:
    vectors, labels = units(7, 5, 2), torch.tensor([0, 0, 1, 1, 1, 2, 3])
    rows = list(zip(vectors, labels.tolist(), strict=True))
    expected = plain_contrast(rows, rows, 0.2)
    assert float(contrastive_loss(vectors, labels, temperature=0.2)) == pytest.approx(
        expected, rel=1e-4
    )


def test_memory_joins_as_company() -> None:
    vectors, labels = units(4, 5, 3), torch.tensor([0, 0, 1, 2])
    kept, kept_labels = units(3, 5, 4), torch.tensor([2, 1, 9])
    memory = VectorMemory(8, 5)
    memory.add(kept, kept_labels)
    rows = list(zip(vectors, labels.tolist(), strict=True))
    company = rows + list(zip(kept, kept_labels.tolist(), strict=True))
    assert float(contrastive_loss(vectors, labels, memory, 0.2)) == pytest.approx(
        plain_contrast(rows, company, 0.2), rel=1e-4
    )


def test_rows_without_company_of_their_label_cost_nothing() -> None:
    vectors = units(3, 5, 5).requires_grad_()
    loss = contrastive_loss(vectors, torch.arange(3))
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert vectors.grad is not None
    assert float(vectors.grad.abs().sum()) == 0.0


def test_one_label_told_as_two_repels_itself() -> None:
    """The fault of a batch that holds one character twice as two: the loss must notice."""
    vectors = torch.nn.functional.normalize(torch.ones(4, 3), dim=1)
    told_as_one = contrastive_loss(vectors, torch.tensor([0, 0, 0, 0]))
    beside_another = contrastive_loss(vectors, torch.tensor([0, 0, 1, 1]))
    assert float(beside_another) == pytest.approx(float(told_as_one), rel=1e-5)
    spread = torch.nn.functional.normalize(torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]), dim=1)
    assert float(contrastive_loss(spread, torch.tensor([0, 0, 1, 1]))) < 1e-3
    assert float(contrastive_loss(spread, torch.tensor([0, 0, 0, 0]))) > 1.0


def test_memory_forgets_the_oldest() -> None:
    memory = VectorMemory(4, 2)
    assert memory.filled()[0].shape == (0, 2)
    memory.add(torch.ones(3, 2), torch.tensor([0, 1, 2]))
    memory.add(torch.zeros(3, 2), torch.tensor([3, 4, 5]))
    assert sorted(memory.filled()[1].tolist()) == [2, 3, 4, 5]
    memory.add(torch.zeros(9, 2), torch.arange(10, 19))
    assert sorted(memory.filled()[1].tolist()) == [15, 16, 17, 18]
