"""The losses, computed a second time from their papers in plain loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from core.train.losses import (
    AngularMarginLoss,
    AttributeLoss,
    VectorMemory,
    batch_hard_triplet_loss,
    contrastive_loss,
    pairwise_distances,
    semihard_triplet_loss,
)


def units(rows: int, dimensions: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(rows, dimensions), dim=1)


def test_angular_margin_agrees_with_plain_loops() -> None:
    loss = AngularMarginLoss(6, 4, margin=0.3, scale=16.0)
    vectors, labels = units(5, 6, 0), torch.tensor([0, 1, 2, 3, 1])
    directions = loss.directions.detach()
    # So far from its own direction that the margin would lead past the opposite of it.
    own = torch.nn.functional.normalize(directions[0], dim=0)
    vectors[0] = torch.nn.functional.normalize(0.1 * vectors[0] - own, dim=0)
    assert math.acos(float(vectors[0] @ own)) > math.pi - 0.3
    total = 0.0
    for vector, label in zip(vectors, labels.tolist(), strict=True):
        logits = []
        for identity, direction in enumerate(directions):
            cosine = float(vector @ direction / direction.norm())
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
    memory.add(kept.clone().requires_grad_(), kept_labels)
    assert not memory.filled()[0].requires_grad  # a later step would reach into an earlier one
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


def random_rows(rows: int, dimensions: int, seed: int) -> torch.Tensor:
    torch.manual_seed(seed)
    return 2 * torch.randn(rows, dimensions)


def test_distances_agree_with_plain_loops_and_have_a_slope_where_they_are_zero() -> None:
    vectors = torch.cat([random_rows(4, 3, 0), random_rows(4, 3, 0)[:1]]).requires_grad_()
    rows = vectors.detach().tolist()
    expected = [[math.dist(one, other) for other in rows] for one in rows]
    found = pairwise_distances(vectors)
    assert torch.allclose(found, torch.tensor(expected), atol=2e-3)
    assert torch.allclose(
        pairwise_distances(vectors, squared=True), torch.tensor(expected) ** 2, atol=1e-4
    )
    found.sum().backward()
    assert vectors.grad is not None
    assert bool(torch.isfinite(vectors.grad).all())


@pytest.mark.parametrize("margin", [None, 0.2, 5.0], ids=["soft", "0.2", "5"])
def test_batch_hard_triplets_agree_with_plain_loops(margin: float | None) -> None:
    vectors, labels = random_rows(9, 4, 6), [0, 0, 0, 1, 1, 2, 2, 2, 3]
    rows = vectors.tolist()
    losses = []
    for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
        own = [math.dist(row, rows[j]) for j in range(9) if labels[j] == label and j != i]
        others = [math.dist(row, rows[j]) for j in range(9) if labels[j] != label]
        if not own:
            continue
        gap = max(own) - min(others)
        losses.append(math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin))
    assert len(losses) == 8
    found = batch_hard_triplet_loss(vectors, torch.tensor(labels), margin)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_semihard_triplets_agree_with_plain_loops(seed: int) -> None:
    vectors, labels = units(10, 3, seed), [0, 0, 0, 1, 1, 2, 2, 2, 3, 1]
    rows = vectors.tolist()
    losses, without = [], 0
    for i in range(10):
        for j in range(10):
            if i == j or labels[i] != labels[j]:
                continue
            apart = math.dist(rows[i], rows[j]) ** 2
            others = [math.dist(rows[i], rows[k]) ** 2 for k in range(10) if labels[k] != labels[i]]
            farther = [other for other in others if other > apart]
            without += not farther
            nearest = min(farther) if farther else max(others)
            losses.append(max(0.0, apart - nearest + 0.2))
    found = semihard_triplet_loss(vectors, torch.tensor(labels), 0.2)
    assert float(found) == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    assert losses
    assert seed != 0 or without, "one of the seeds should show pairs without a semi-hard row"


@pytest.mark.parametrize("loss", [batch_hard_triplet_loss, semihard_triplet_loss])
@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2]], ids=["one label", "all alone"])
def test_triplets_that_cannot_be_made_cost_nothing(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], labels: list[int]
) -> None:
    vectors = units(3, 4, 7).requires_grad_()
    found = loss(vectors, torch.tensor(labels))
    found.backward()
    assert float(found.detach()) == 0.0
    assert vectors.grad is not None
    assert float(vectors.grad.abs().sum()) == 0.0


@pytest.mark.parametrize("loss", [batch_hard_triplet_loss, semihard_triplet_loss])
def test_one_character_told_as_two_is_pushed_apart_from_itself(
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> None:
    """The fault of a batch with one character twice as "different": triplets must notice."""
    angles = torch.tensor([0.0, 0.3, 0.05, 0.35, 3.0, 3.1])
    vectors = torch.stack([angles.cos(), angles.sin()], 1)
    right, wrong = torch.tensor([0, 0, 0, 0, 1, 1]), torch.tensor([0, 0, 2, 2, 1, 1])
    # Told rightly all others are farther than its own; told as two, its nearest other is itself.
    assert float(loss(vectors, wrong)) > float(loss(vectors, right)) + 0.05


def test_attributes_agree_with_plain_loops() -> None:
    torch.manual_seed(8)
    loss = AttributeLoss(4, (3, 2))
    vectors, wanted = random_rows(5, 4, 8), [[0, 1], [2, 0], [1, 1], [2, 1], [0, 0]]
    total = 0.0
    for vector, values in zip(vectors.tolist(), wanted, strict=True):
        for reader, value in zip(loss.readers, values, strict=True):
            weights, shifts = reader.weight.tolist(), reader.bias.tolist()
            logits = [
                sum(w * v for w, v in zip(row, vector, strict=True)) + shift
                for row, shift in zip(weights, shifts, strict=True)
            ]
            total += math.log(sum(math.exp(logit) for logit in logits)) - logits[value]
    found = float(loss(vectors, torch.tensor(wanted)).detach())
    assert found == pytest.approx(total / 10, rel=1e-4)
