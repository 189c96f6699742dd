"""How well likenesses find the same label again: one implementation of each figure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.face import Vectors
from core.likeness import COSINE, Likeness

Block: TypeAlias = tuple[Vectors, NDArray[np.bool_], NDArray[np.bool_]]
"""The likenesses of some pairs, which of them count, and which are of one label."""

_MOST_KEPT: Final = 2**26
"""The likenesses of so many pairs are kept and sorted, 4 bytes each; those of more are counted."""

_BITS: Final = 16
"""Half of those of a likeness, by which likenesses are counted at a time."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Leave-one-out figures of a labelled set: each picture asks, all others answer.

    Attributes:
        precision_at_1: Share of pictures whose nearest other shows the same label, 0..1.
        precision_at_5: Mean share of the nearest five that show the same label.
        mean_average_precision: Over the whole ranking; pictures alone with their label do not ask.
        equal_error_rate: Over all pairs: the rate at which as many different pairs pass a
            threshold as same pairs fail it.
        threshold: The likeness where those two rates meet.
        pictures: How many asked.
    """

    precision_at_1: float
    precision_at_5: float
    mean_average_precision: float
    equal_error_rate: float
    threshold: float
    pictures: int


def retrieval(
    vectors: Vectors, labels: NDArray[np.int64], likeness: Likeness = COSINE
) -> Retrieval:
    """Measure vectors ``(n, d)``, of unit length where cosines compare them, with labels ``(n,)``.

    Equally like ones keep the order of the rows.

    Raises:
        ValueError: The lengths differ, or no label has two pictures.
    """
    if len(vectors) != len(labels):
        raise ValueError(f"{len(vectors)} vectors cannot have {len(labels)} labels.")
    labels = np.asarray(labels)
    _, number, counts = np.unique(labels, return_inverse=True, return_counts=True)
    asking = np.flatnonzero(counts[number] > 1)
    if not len(asking):
        raise ValueError("No label has two pictures, so nothing can be found again.")
    figures = []
    for start in range(0, len(asking), 512):
        rows = asking[start : start + 512]
        alike = likeness.between(vectors[rows], vectors)
        alike[np.arange(len(rows)), rows] = -np.inf
        order = np.argsort(-alike, axis=1, kind="stable")[:, :-1]
        hits = number[order] == number[rows][:, None]
        figures.append(precisions(hits, hits.sum(1)))
    rate, threshold = equal_error_rate(vectors, labels, likeness)
    first, five, average = np.concatenate(figures).mean(0).tolist()
    return Retrieval(first, five, average, rate, threshold, len(asking))


def precisions(hits: NDArray[np.bool_], right: NDArray[np.int64]) -> NDArray[np.float64]:
    """Precision at 1, at 5 and on average, of each ranking of all that can answer.

    Where fewer than five can answer, precision at 5 is that of all of them. Average precision as
    in Manning et al., *Introduction to Information Retrieval*, 8.4.

    Args:
        hits: ``(n, answers)``, whether each answer is right, best first; False, behind all
            others, for what a search did not find.
        right: ``(n,)``, how many right ones there are, at least 1.

    Returns:
        ``(n, 3)``, 0..1.
    """
    precision = hits.cumsum(1) / np.arange(1, hits.shape[1] + 1)
    averages = (precision * hits).sum(1) / right
    return np.stack([hits[:, 0].astype(float), hits[:, :5].mean(1), averages], 1)


def pair_likenesses(
    vectors: Vectors, labels: NDArray[np.int64], likeness: Likeness = COSINE
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sorted likenesses of all pairs of one label, and of all pairs of two labels."""
    count = len(vectors)
    return sorted_by_kind(_blocks(vectors, labels, likeness), count * (count - 1) // 2)


def _blocks(vectors: Vectors, labels: NDArray[np.int64], likeness: Likeness) -> Iterator[Block]:
    count = len(vectors)
    for start in range(0, count, 512):
        rows = np.arange(start, min(start + 512, count))
        alike = likeness.between(vectors[rows], vectors)
        after = np.arange(count)[None, :] > rows[:, None]
        yield alike, after, labels[rows][:, None] == labels[None, :]


def sorted_by_kind(
    blocks: Iterable[Block], pairs: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The likenesses of pairs of one label, and of pairs of two labels, each sorted.

    Each takes no more than its four bytes.

    Args:
        blocks: Of all pairs.
        pairs: How many count in all blocks together.
    """
    found = np.empty(pairs, np.float32)
    same, different = 0, pairs  # those of one label from the front, the others from the back
    for of_one, of_two in map(_by_kind, blocks):
        found[same : same + len(of_one)] = of_one
        found[different - len(of_two) : different] = of_two
        same, different = same + len(of_one), different - len(of_two)
    found[:same].sort()
    found[different:].sort()
    return found[:same], found[different:]


def _by_kind(block: Block) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The likenesses that count of pairs of one label, and of pairs of two."""
    alike, counted, one_label = block
    return alike[counted & one_label], alike[counted & ~one_label]


def equal_error_rate(
    vectors: Vectors, labels: NDArray[np.int64], likeness: Likeness = COSINE
) -> tuple[float, float]:
    """The equal error rate over all pairs, and the likeness where it lies.

    A pair counts as the same label where its likeness reaches the threshold. Of all thresholds
    that a pair's likeness gives, the one where the rates of false accepts and of false rejects
    lie closest is taken, and the mean of the two is the rate.

    Raises:
        ValueError: There is no pair of one label, or none of two.
    """
    count = len(vectors)
    return equal_error_of_blocks(
        lambda: _blocks(vectors, labels, likeness), count * (count - 1) // 2
    )


def equal_error_of_blocks(blocks: Callable[[], Iterable[Block]], pairs: int) -> tuple[float, float]:
    """`equal_error_rate` of pairs that are compared some at a time.

    Of however many pairs, it takes 256 MiB at most beside what one block does.

    Args:
        blocks: Compares all pairs, the same way each time: twice where they are many.
        pairs: How many count in all blocks together.

    Raises:
        ValueError: There is no pair of one label, or none of two.
    """
    if pairs <= _MOST_KEPT:
        return equal_error_of(*sorted_by_kind(blocks(), pairs))
    return equal_error_counted(blocks)


def equal_error_of(
    same: NDArray[np.float32], different: NDArray[np.float32]
) -> tuple[float, float]:
    """`equal_error_rate` of pairs whose likeness is known already.

    Args:
        same: Of all pairs of one label, sorted; larger is more alike, -inf like nothing.
        different: Of all pairs of two labels, sorted.

    Raises:
        ValueError: One of the two is empty.
    """
    if not len(same) or not len(different):
        raise ValueError("An equal error rate needs pairs of one label and pairs of two.")

    def rates(threshold: np.float32) -> tuple[float, float]:
        """Of false rejects and of false accepts."""
        rejected = np.searchsorted(same, threshold, side="left") / len(same)
        accepted = 1 - np.searchsorted(different, threshold, side="left") / len(different)
        return float(rejected), float(accepted)

    def apart(threshold: np.float32) -> float:
        rejected, accepted = rates(threshold)
        return rejected - accepted

    # It grows from each likeness to the next larger one: they lie closest where it passes zero.
    around = []
    for likenesses in (same, different):
        place = bisect_left(likenesses, 0.0, key=apart)
        around += [likenesses[max(0, place - 1)], likenesses[min(place, len(likenesses) - 1)]]
    best = min(sorted(around), key=lambda threshold: abs(apart(threshold)))
    rejected, accepted = rates(best)
    return (rejected + accepted) / 2, float(best)


def equal_error_counted(blocks: Callable[[], Iterable[Block]]) -> tuple[float, float]:
    """`equal_error_of`, to the last bit, of pairs too many to be kept.

    They are counted by the first half of their bits, and where the two rates may meet, once more
    by the second half.

    Args:
        blocks: Compares all pairs, the same way both times.

    Raises:
        ValueError: There is no pair of one label, or none of two.
    """
    coarse = np.zeros((2, 2**_BITS), np.int64)  # of pairs of one label, of pairs of two
    for block in blocks():
        for kind, likenesses in enumerate(_by_kind(block)):
            coarse[kind] += np.bincount(_in_order(likenesses) >> _BITS, minlength=2**_BITS)
    total = coarse.sum(1)
    if not total.all():
        raise ValueError("An equal error rate needs pairs of one label and pairs of two.")
    up_to = coarse.cumsum(1)
    rejected, accepted = up_to[0] / total[0], 1 - up_to[1] / total[1]
    crossing = int(np.argmax(rejected >= accepted))
    near: set[int] = set()  # where the likenesses of either kind next to the crossing lie
    for counts in coarse:
        there = np.flatnonzero(counts)
        place = int(np.searchsorted(there, crossing))
        near.update(there[max(0, place - 1) : place + 2].tolist())
    fine = {first: np.zeros((2, 2**_BITS), np.int64) for first in sorted(near)}
    for block in blocks():
        for kind, likenesses in enumerate(_by_kind(block)):
            numbers = _in_order(likenesses)
            for first, both in fine.items():
                second = numbers[numbers >> _BITS == first] & (2**_BITS - 1)
                both[kind] += np.bincount(second, minlength=2**_BITS)
    thresholds, below = [], []
    for first, both in fine.items():
        there = np.flatnonzero(both.any(0))
        thresholds.append((first << _BITS) + there)
        smaller = up_to[:, [first]] - coarse[:, [first]] + both.cumsum(1) - both
        below.append(smaller[:, there])
    of_one, of_two = np.concatenate(below, 1)
    rejected, accepted = of_one / total[0], 1 - of_two / total[1]
    best = int(np.argmin(np.abs(rejected - accepted)))
    threshold = _numbered(np.concatenate(thresholds)[best])
    return float((rejected[best] + accepted[best]) / 2), threshold


_SIGN: Final = 2**31


def _in_order(likenesses: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Whole numbers of 32 bits, larger where the likenesses are; equal ones have the same."""
    bits = (np.asarray(likenesses, np.float32) + np.float32(0)).view(np.uint32)  # no -0
    return np.where(bits >= _SIGN, ~bits, bits | np.uint32(_SIGN))


def _numbered(number: np.int64) -> float:
    """The likeness that `_in_order` gives a number."""
    bits = int(number) - _SIGN if number >= _SIGN else 2**32 - 1 - int(number)
    return float(np.uint32(bits).view(np.float32))


def threshold_at(
    vectors: Vectors, labels: NDArray[np.int64], false_accepts: float
) -> tuple[float, float]:
    """The cosine that at most a share of the different pairs reach, and the share of same pairs.

    Args:
        vectors: ``(n, d)`` of unit length.
        labels: ``(n,)``.
        false_accepts: Largest share of pairs of two labels at or above the threshold, 0..1.

    Returns:
        The threshold, -1..1, and the share of pairs of one label at or above it, which is not a
        number where there are none. The threshold is -1 where every different pair may pass. It
        is never above 1: where more of them than that share have a cosine of 1, these pass.

    Raises:
        ValueError: The share lies outside of 0..1, or there is no pair of two labels.
    """
    if not 0 <= false_accepts <= 1:
        raise ValueError(f"A share of pairs lies between 0 and 1, which {false_accepts} does not.")
    same, different = pair_likenesses(vectors, labels)
    if not len(different):
        raise ValueError("A threshold needs pairs of two labels.")
    allowed = int(len(different) * false_accepts)
    threshold = -1.0
    if allowed < len(different):
        above = float(np.nextafter(different[len(different) - 1 - allowed], np.float32(2)))
        threshold = min(max(above, -1.0), 1.0)  # rounded, cosines end a bit beyond
    if not len(same):
        return threshold, float("nan")
    return threshold, float(1 - np.searchsorted(same, threshold, side="left") / len(same))
