from __future__ import annotations

import numpy as np
import pytest

from core.train.samplers import BalancedBatches, Passes

LABELS = np.repeat(np.arange(9), [3, 40, 5, 8, 2, 12, 30, 4, 6])


def test_a_batch_holds_each_identity_once() -> None:
    """P x K: were one character drawn twice, its pictures would count as different ones."""
    batches = BalancedBatches(LABELS, identities=6, pictures=4, seed=1)
    for step in range(200):
        labels = LABELS[batches.draw(step)].reshape(6, 4)
        assert (labels == labels[:, :1]).all()
        assert len(set(labels[:, 0].tolist())) == 6


def test_pictures_repeat_only_where_there_are_too_few() -> None:
    batches = BalancedBatches(LABELS, identities=9, pictures=4, seed=1)
    for step in range(20):
        for group in batches.draw(step).reshape(9, 4):
            enough = np.count_nonzero(LABELS[group[0]] == LABELS) >= 4
            assert not enough or len(set(group.tolist())) == 4


def test_a_step_draws_the_same_again_and_another_step_something_else() -> None:
    first = BalancedBatches(LABELS, 4, 3, seed=5)
    again = BalancedBatches(LABELS, 4, 3, seed=5)
    assert (first.draw(17) == again.draw(17)).all()
    assert (first.draw(17) != first.draw(18)).any()
    assert (first.draw(17) != BalancedBatches(LABELS, 4, 3, seed=6).draw(17)).any()


def test_frequent_identities_come_oftener_but_not_in_proportion() -> None:
    batches = BalancedBatches(LABELS, 2, 1, seed=2)
    drawn = np.concatenate([LABELS[batches.draw(step)] for step in range(3000)])
    ratio = (drawn == 1).sum() / (drawn == 4).sum()
    assert 2.0 < ratio < 8.0  # pictures: 40 to 2


def test_too_few_identities_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be drawn"):
        BalancedBatches(LABELS, identities=10, pictures=2, seed=0)


def test_a_pass_shows_every_row_once() -> None:
    passes = Passes(rows=23, batch=5, seed=3)
    one = np.concatenate([passes.draw(step) for step in range(4)])
    assert len(set(one.tolist())) == 20
    two = np.concatenate([passes.draw(step) for step in range(4, 8)])
    assert len(set(two.tolist())) == 20
    assert (one != two).any()
    assert (Passes(23, 5, 3).draw(6) == passes.draw(6)).all()
    assert (Passes(23, 5, 4).draw(6) != passes.draw(6)).any()
