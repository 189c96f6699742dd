"""Losses that pull vectors of one identity together and push others apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class AngularMarginLoss(nn.Module):
    """Additive angular margin (Deng et al., 2018, "ArcFace", arXiv:1801.07698)."""

    def __init__(
        self,
        dimensions: int,
        identities: int,
        margin: float = 0.3,
        scale: float = 32.0,
    ) -> None:
        super().__init__()
        self.directions = nn.Parameter(torch.randn(identities, dimensions) * 0.05)
        self.margin = margin
        self.scale = scale

    def forward(self, vectors: Tensor, labels: Tensor) -> Tensor:
        """Mean loss of ``(n, dimensions)`` unit vectors and ``(n,)`` identities 0..identities-1."""
        cosines = vectors @ functional.normalize(self.directions, dim=1).T
        own = cosines.gather(1, labels[:, None]).squeeze(1).clamp(-1 + 1e-6, 1 - 1e-6)
        angle = torch.acos(own)
        # Past pi - margin the cosine would rise again; there it falls on in a straight line.
        pushed = torch.where(
            angle < math.pi - self.margin,
            torch.cos(angle + self.margin),
            own - self.margin * math.sin(self.margin),
        )
        logits = cosines.scatter(1, labels[:, None], pushed[:, None].to(cosines.dtype))
        return functional.cross_entropy(self.scale * logits, labels)


class VectorMemory:
    """The last `size` vectors and their labels, as further company for a small batch.

    Cross-batch memory (arXiv:1912.06798): the network changes slowly, so that vectors of recent
    batches still say where others lie.
    """

    def __init__(self, size: int, dimensions: int, device: torch.device | str = "cpu") -> None:
        self.vectors = torch.zeros(size, dimensions, device=device)
        self.labels = torch.full((size,), -1, dtype=torch.long, device=device)
        self.next = 0

    def add(self, vectors: Tensor, labels: Tensor) -> None:
        """Overwrite the oldest rows."""
        if not len(self.labels):
            return
        vectors, labels = vectors[-len(self.labels) :], labels[-len(self.labels) :]
        rows = (self.next + torch.arange(len(labels), device=labels.device)) % len(self.labels)
        self.vectors[rows] = vectors.detach().float()
        self.labels[rows] = labels
        self.next = int((self.next + len(labels)) % len(self.labels))

    def filled(self) -> tuple[Tensor, Tensor]:
        """Vectors and labels of the rows in use."""
        used = self.labels >= 0
        return self.vectors[used], self.labels[used]


def contrastive_loss(
    vectors: Tensor,
    labels: Tensor,
    memory: VectorMemory | None = None,
    temperature: float = 0.1,
) -> Tensor:
    """Supervised contrastive loss (arXiv:2004.11362, the mean outside of the logarithm).

    Rows of one label attract, all others repel; a row never meets itself. Rows of the memory
    count as company, and are not trained. Rows without any other of their label add nothing.

    Args:
        vectors: ``(n, d)`` of unit length.
        labels: ``(n,)``, not negative.
        memory: Further rows.
        temperature: Divides the cosines.
    """
    company, company_labels = vectors, labels
    if memory is not None:
        kept, kept_labels = memory.filled()
        company = torch.cat([vectors, kept])
        company_labels = torch.cat([labels, kept_labels])
    logits = vectors @ company.T / temperature
    itself = torch.zeros_like(logits, dtype=torch.bool)
    itself.fill_diagonal_(True)
    logits = logits.masked_fill(itself, -torch.inf)
    same = (labels[:, None] == company_labels[None, :]) & ~itself
    log_share = logits - logits.logsumexp(1, keepdim=True)
    positives = same.sum(1)
    of_same = torch.where(same, log_share, torch.zeros_like(log_share)).sum(1)
    per_row = -of_same / positives.clamp(min=1)
    counted = positives > 0
    if not bool(counted.any()):
        return vectors.sum() * 0.0
    return per_row[counted].mean()


def pairwise_distances(vectors: Tensor, *, squared: bool = False) -> Tensor:
    """Euclidean distances ``(n, n)`` of rows ``(n, d)``.

    A square root has no slope at zero: a distance of zero stays one, with a slope of zero.
    """
    products = vectors @ vectors.T
    lengths = products.diagonal()
    found = (lengths[:, None] - 2 * products + lengths[None, :]).clamp(min=0.0)
    if squared:
        return found
    zero = found <= 1e-12
    return torch.sqrt(found + zero * 1e-12) * ~zero


def batch_hard_triplet_loss(vectors: Tensor, labels: Tensor, margin: float | None = None) -> Tensor:
    """Batch-hard triplets (Hermans et al. 2017, arXiv:1703.07737, equations 5 and 6).

    Every row with the farthest of its own label and the nearest of any other, by Euclidean
    distance. Rows that are alone with their label, or have no other label beside them, add
    nothing.

    Args:
        vectors: ``(n, d)``, of any length.
        labels: ``(n,)``.
        margin: By how much the nearest other must be farther away; None: the soft margin
            ``log(1 + exp(x))``.
    """
    distances = pairwise_distances(vectors)
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    farthest = distances.masked_fill(~same | itself, -torch.inf).amax(1)
    nearest = distances.masked_fill(same, torch.inf).amin(1)
    counted = torch.isfinite(farthest) & torch.isfinite(nearest)
    if not bool(counted.any()):
        return vectors.sum() * 0.0
    gap = farthest[counted] - nearest[counted]
    per_row = functional.softplus(gap) if margin is None else functional.relu(gap + margin)
    return per_row.mean()


def semihard_triplet_loss(vectors: Tensor, labels: Tensor, margin: float = 0.2) -> Tensor:
    """FaceNet's triplets (Schroff et al. 2015, arXiv:1503.03832, section 3.2).

    For every pair of one label, the nearest row of another label that is still farther away
    than the pair is apart (semi-hard); where there is none, the farthest of other labels, by
    squared Euclidean distance. Pairs without any row of another label add nothing.

    Args:
        vectors: ``(n, d)`` of unit length.
        labels: ``(n,)``.
        margin: By how much the other label must be farther away, in squared distance.
    """
    distances = pairwise_distances(vectors, squared=True)
    same = labels[:, None] == labels[None, :]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchor, positive = torch.nonzero(same & ~itself, as_tuple=True)
    counted = (~same).any(1)[anchor]
    anchor, positive = anchor[counted], positive[counted]
    if not len(anchor):
        return vectors.sum() * 0.0
    apart = distances[anchor, positive]
    others = distances[anchor].masked_fill(same[anchor], torch.inf)
    semihard = others.masked_fill(others <= apart[:, None], torch.inf).amin(1)
    farthest = distances[anchor].masked_fill(same[anchor], -torch.inf).amax(1)
    negative = torch.where(torch.isfinite(semihard), semihard, farthest)
    return functional.relu(apart - negative + margin).mean()


class AttributeLoss(nn.Module):
    """Mean cross-entropy of several attributes, each read from the vector by a layer of its own."""

    def __init__(self, dimensions: int, classes: tuple[int, ...]) -> None:
        """
        Args:
            dimensions: Length of the vectors.
            classes: How many values each attribute has.
        """
        super().__init__()
        self.readers = nn.ModuleList(nn.Linear(dimensions, count) for count in classes)

    def forward(self, vectors: Tensor, attributes: Tensor) -> Tensor:
        """Mean loss of ``(n, dimensions)`` and ``(n, len(classes))`` values."""
        losses = [
            functional.cross_entropy(reader(vectors), attributes[:, place])
            for place, reader in enumerate(self.readers)
        ]
        return torch.stack(losses).mean()
