"""The retrieval figures, computed a second time in plain loops."""

from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest

import core.retrieval
from core.likeness import COSINE, MANHATTAN, Likeness
from core.retrieval import (
    equal_error_counted,
    equal_error_of,
    equal_error_rate,
    pair_likenesses,
    retrieval,
    threshold_at,
)


def unit_rows(rng: np.random.Generator, rows: int, dimensions: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def plain_likeness(one: np.ndarray, other: np.ndarray, likeness: Likeness) -> float:
    if likeness is COSINE:
        return float(np.dot(one, other))
    return -sum(abs(a - b) for a, b in zip(one.tolist(), other.tolist(), strict=True))


def plain_figures(
    vectors: np.ndarray, labels: np.ndarray, likeness: Likeness
) -> tuple[float, float, float]:
    first, five, averages = [], [], []
    for asked in range(len(vectors)):
        others = [row for row in range(len(vectors)) if row != asked]
        alike = {row: plain_likeness(vectors[asked], vectors[row], likeness) for row in others}
        ranking = sorted(others, key=lambda row: -alike[row])
        hits = [labels[row] == labels[asked] for row in ranking]
        if not any(hits):
            continue
        first.append(1.0 if hits[0] else 0.0)
        five.append(sum(hits[:5]) / min(5, len(hits)))
        found, precisions = 0, []
        for place, hit in enumerate(hits, start=1):
            if hit:
                found += 1
                precisions.append(found / place)
        averages.append(sum(precisions) / len(precisions))
    return tuple(sum(values) / len(values) for values in (first, five, averages))


@pytest.mark.parametrize(
    ("seed", "pictures", "names"), [(0, 60, 6), (1, 60, 6), (2, 60, 6), (3, 5, 2), (4, 4, 2)]
)
@pytest.mark.parametrize("likeness", [COSINE, MANHATTAN])
def test_figures_agree_with_plain_loops(
    seed: int, pictures: int, names: int, likeness: Likeness
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(pictures) % names)
    vectors = unit_rows(rng, pictures, 5)
    if likeness is MANHATTAN:
        vectors *= rng.uniform(0.2, 3, (pictures, 1)).astype(np.float32)
    found = retrieval(vectors, labels, likeness)
    first, five, average = plain_figures(vectors, labels, likeness)
    assert found.precision_at_1 == pytest.approx(first)
    assert found.precision_at_5 == pytest.approx(five)
    assert found.mean_average_precision == pytest.approx(average)


def test_perfectly_separated_labels_score_one() -> None:
    labels = np.repeat(np.arange(4), 7)
    vectors = np.eye(4, dtype=np.float32)[labels]
    found = retrieval(vectors, labels)
    assert (found.precision_at_1, found.precision_at_5) == (1.0, 1.0)
    assert found.mean_average_precision == 1.0
    assert found.equal_error_rate == 0.0


def test_a_picture_never_answers_itself() -> None:
    """With two pictures of opposite directions each, only the picture itself would be right."""
    labels = np.array([0, 0, 1, 1])
    vectors = np.array([[1, 0], [-1, 0], [0.9, 0.1], [-0.9, 0.1]], np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    assert retrieval(vectors, labels).precision_at_1 == 0.0


def test_a_label_with_one_picture_does_not_ask_but_answers() -> None:
    labels = np.array([0, 0, 1])
    vectors = np.array([[1, 0], [0, 1], [1, 0]], np.float32)
    found = retrieval(vectors, labels)
    assert found.pictures == 2
    assert found.precision_at_1 == 0.5  # the lone picture stands before the right one once


def test_nothing_to_find_again_is_an_error() -> None:
    with pytest.raises(ValueError, match="two pictures"):
        retrieval(np.eye(3, dtype=np.float32), np.arange(3))
    with pytest.raises(ValueError, match="labels"):
        retrieval(np.eye(3, dtype=np.float32), np.array([0, 0]))


def plain_equal_error(same: list[float], different: list[float]) -> tuple[float, float]:
    """Rate and threshold, counted again for each likeness that there is."""
    found = []
    for threshold in sorted({*same, *different}):
        rejected = sum(likeness < threshold for likeness in same) / len(same)
        accepted = sum(likeness >= threshold for likeness in different) / len(different)
        found.append((abs(rejected - accepted), threshold, (rejected + accepted) / 2))
    _, threshold, rate = min(found)
    return rate, threshold


@pytest.mark.parametrize("seed", [3, 4])
def test_equal_error_rate_agrees_with_plain_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, 40)
    vectors = unit_rows(rng, 40, 4) + 0.6 * np.eye(4, dtype=np.float32)[labels]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [
        (np.float32(vectors[a] @ vectors[b]), labels[a] == labels[b])
        for a, b in itertools.combinations(range(40), 2)
    ]
    same = [float(cosine) for cosine, alike in pairs if alike]
    different = [float(cosine) for cosine, alike in pairs if not alike]
    rate, threshold = equal_error_rate(vectors, labels)
    expected, at = plain_equal_error(same, different)
    assert rate == pytest.approx(expected, abs=1e-6)
    assert threshold == pytest.approx(at, abs=1e-6)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("of_one_label", [1, 2, 9])
def test_every_likeness_is_a_threshold_also_of_few_pairs_and_of_ties(
    seed: int, of_one_label: int
) -> None:
    rng = np.random.default_rng(seed)
    same = rng.integers(3, 16, of_one_label).astype(np.float32)
    different = rng.integers(0, 12, 22).astype(np.float32)
    different[:seed] = -np.inf  # like nothing
    expected = plain_equal_error(same.tolist(), different.tolist())
    assert equal_error_of(np.sort(same), np.sort(different)) == pytest.approx(expected)


def of_all_thresholds(same: np.ndarray, different: np.ndarray) -> tuple[float, float]:
    """The equal error rate by the rates at every likeness, each in float64."""
    thresholds = np.concatenate([same, different])
    thresholds.sort(kind="stable")
    rejected = np.searchsorted(same, thresholds, side="left") / len(same)
    accepted = 1 - np.searchsorted(different, thresholds, side="left") / len(different)
    best = int(np.argmin(np.abs(rejected - accepted)))
    return float((rejected[best] + accepted[best]) / 2), float(thresholds[best])


@pytest.mark.parametrize("levels", [2, 5, 40, 100_000])
@pytest.mark.parametrize("of_one_label", [1, 2, 3, 40, 500])
@pytest.mark.parametrize("of_two_labels", [1, 2, 7, 300])
def test_the_two_likenesses_around_the_crossing_give_the_rate_of_all_to_the_last_bit(
    levels: int, of_one_label: int, of_two_labels: int
) -> None:
    rng = np.random.default_rng(levels)
    for shift in (0.0, 0.1, 1.0):
        for nothing in (0, 1, 200):
            same, different = (
                np.float32(rng.integers(0, levels, count) / levels + moved)
                for count, moved in ((of_one_label, shift), (of_two_labels, 0.0))
            )
            same[nothing // 10 :][:nothing] = -np.inf
            different[:nothing] = -np.inf
            same.sort()
            different.sort()
            assert equal_error_of(same, different) == of_all_thresholds(same, different)
            assert equal_error_of(different, same) == of_all_thresholds(different, same)


@pytest.mark.parametrize("levels", [2, 5, 40, 100_000])
@pytest.mark.parametrize("of_one_label", [1, 2, 500])
@pytest.mark.parametrize("of_two_labels", [1, 7, 300])
def test_counted_pairs_have_the_rate_and_threshold_of_sorted_ones_to_the_last_bit(
    levels: int, of_one_label: int, of_two_labels: int
) -> None:
    rng = np.random.default_rng(levels)
    count = of_one_label + of_two_labels
    one_label = np.arange(count) < of_one_label
    for scale, shift in ((1, 0.0), (1, -0.3), (1e-7, 0.2), (3000, -2000)):
        for nothing in (0, 1, 200):
            alike = np.float32(scale * rng.integers(0, levels, count) / levels + shift)
            alike[rng.integers(0, count, nothing)] = -np.inf
            alike[rng.integers(0, count, 2)] = 0.0, -0.0
            expected = equal_error_of(np.sort(alike[one_label]), np.sort(alike[~one_label]))
            order = rng.permutation(count)
            blocks = [
                (alike[part], np.ones(len(part), bool), one_label[part])
                for part in np.array_split(order, 3)
            ]
            assert equal_error_counted(lambda blocks=blocks: blocks) == expected


@pytest.mark.parametrize("likeness", [COSINE, MANHATTAN])
def test_pairs_of_vectors_are_counted_where_they_are_too_many_to_be_kept(
    monkeypatch: pytest.MonkeyPatch, likeness: Likeness
) -> None:
    rng = np.random.default_rng(1)
    vectors, labels = unit_rows(rng, 700, 3), rng.integers(0, 5, 700)
    kept = equal_error_rate(vectors, labels, likeness)
    monkeypatch.setattr(core.retrieval, "_MOST_KEPT", 1000)
    assert equal_error_rate(vectors, labels, likeness) == kept
    with pytest.raises(ValueError, match="pairs of one label and pairs of two"):
        equal_error_rate(vectors, np.zeros(700, np.int64), likeness)


def test_pairs_take_hardly_more_memory_than_their_likenesses() -> None:
    count = 3000
    pairs = count * (count - 1) // 2
    vectors, labels = unit_rows(np.random.default_rng(0), count, 8), np.arange(count) % 7
    tracemalloc.start()
    equal_error_rate(vectors, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12 * pairs  # 4, and what is computed together


def test_two_pairs_of_one_label_between_many_of_two() -> None:
    """No likeness of the same pairs halves the different ones; between the two, one does."""
    same = np.array([1, 99], np.float32)
    different = np.array([*range(2, 17), *range(100, 107)], np.float32)
    rate, threshold = equal_error_of(same, different)
    assert (rate, threshold) == (0.5, 13.0)


def test_pairs_like_nothing_pass_no_threshold_that_another_pair_gives() -> None:
    nothing = np.full(3, -np.inf, np.float32)
    same, different = np.append(nothing[:1], np.float32(0.9)), np.append(nothing, np.float32(0.1))
    assert equal_error_of(same, different) == (pytest.approx(0.375), pytest.approx(0.1))
    assert equal_error_of(nothing, nothing) == (0.5, -np.inf)


def test_threshold_lets_at_most_the_allowed_share_pass() -> None:
    rng = np.random.default_rng(5)
    labels = np.repeat(np.arange(5), 20)
    vectors = unit_rows(rng, 100, 8)
    threshold, found = threshold_at(vectors, labels, 0.01)
    different = [
        float(vectors[a] @ vectors[b])
        for a, b in itertools.combinations(range(100), 2)
        if labels[a] != labels[b]
    ]
    same = [
        float(vectors[a] @ vectors[b])
        for a, b in itertools.combinations(range(100), 2)
        if labels[a] == labels[b]
    ]
    passing = sum(cosine >= threshold for cosine in different) / len(different)
    assert 0.008 < passing <= 0.01
    assert found == pytest.approx(sum(cosine >= threshold for cosine in same) / len(same), abs=2e-3)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.999, 1.0])
def test_the_threshold_follows_the_share_from_none_to_all(share: float) -> None:
    labels = np.repeat(np.arange(5), 20)
    vectors = unit_rows(np.random.default_rng(6), 100, 8)
    threshold, _ = threshold_at(vectors, labels, share)
    passing = (pair_likenesses(vectors, labels)[1] >= threshold).mean()
    assert share - 0.001 <= passing <= share


def test_every_different_pair_passes_where_all_may() -> None:
    vectors, labels = np.array([[1, 0], [1, 0], [-1, 0]], np.float32), np.array([0, 0, 1])
    assert threshold_at(vectors, labels, 1.0) == (-1.0, 1.0)


def test_no_threshold_lies_above_one() -> None:
    """Different pairs of one direction reach it all the same: nothing tells them apart."""
    alike = unit_rows(np.random.default_rng(7), 1, 3)[[0] * 20]
    for share in (0.0, 0.1):
        assert threshold_at(alike, np.arange(20) % 2, share) == (1.0, 1.0)


def test_a_threshold_needs_different_pairs_and_a_share() -> None:
    with pytest.raises(ValueError, match="pairs of two labels"):
        threshold_at(np.eye(3, dtype=np.float32), np.zeros(3, np.int64), 0.1)
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="between 0 and 1"):
            threshold_at(np.eye(3, dtype=np.float32), np.arange(3), share)


@pytest.mark.filterwarnings("error")
def test_without_same_pairs_there_is_a_threshold_and_no_share_of_them() -> None:
    threshold, share = threshold_at(np.eye(3, dtype=np.float32), np.arange(3), 0.0)
    assert 0 < threshold < 1e-6
    assert np.isnan(share)
