"""Annoy's trees over the rows of an index, and how many of their nodes a search looks into."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
from annoy import AnnoyIndex

from core.look import Look
from core.neighbourhood import Between
from core.rows import METRIC, Neighbour, Rows

SEED: Final = 20_170_330
RECALL_TARGET: Final = 0.99
RECALL_AT: Final = 10
RECALL_SAMPLE: Final = 200
ROWS_TOGETHER: Final = 1000
"""Rows that Annoy is given without a look at what else there is to do."""


def build_trees(rows: Rows, trees: int, path: Path, between: Between = lambda: None) -> AnnoyIndex:
    """Annoy's trees over the joined vectors of all rows, written to `path` and opened from there.

    Args:
        rows: What is searched.
        trees: How many.
        path: Of the file, which is memory-mapped while the index is open.
        between: Called again and again, but not while Annoy builds, which is one call; what it
            raises ends the work.
    """
    joined = rows.joined()
    index = AnnoyIndex(joined.shape[1], METRIC)
    index.set_seed(SEED)
    for number, row in enumerate(joined):
        if not number % ROWS_TOGETHER:
            between()
        index.add_item(number, row)
    between()
    index.build(trees, n_jobs=1)  # with more, the trees depend on which thread comes first
    index.save(str(path))
    return index


def choose_search_k(
    rows: Rows, trees: int, weights: tuple[float, float], between: Between = lambda: None
) -> tuple[dict[Look, int], dict[Look, float]]:
    """For each look the smallest `search_k`, by doubling, that reaches the target.

    A look that does not reach it within half as many nodes as there are rows is left out: from
    there on exact search is the faster one.
    """
    search_k: dict[Look, int] = {}
    recall: dict[Look, float] = {}
    for look in Look:
        sample = rows.sample_queries(look, weights, RECALL_SAMPLE, SEED)
        exact = []
        for query, without in sample:
            between()
            exact.append(rows.nearest_exactly(query, RECALL_AT, without))
        nodes = 10 * trees
        while sample and nodes <= len(rows) // 2:
            shares = []
            for truth, (query, without) in zip(exact, sample, strict=True):
                between()
                found = rows.nearest_by_trees(query, RECALL_AT, without, nodes)
                shares.append(_share(truth, found))
            reached = float(np.mean(shares))
            if reached >= RECALL_TARGET:
                search_k[look], recall[look] = nodes, reached
                break
            nodes *= 2
    return search_k, recall


def _share(truth: tuple[Neighbour, ...], found: tuple[Neighbour, ...]) -> float:
    wanted = {neighbour.picture.sha256 for neighbour in truth}
    return len(wanted & {neighbour.picture.sha256 for neighbour in found}) / max(1, len(wanted))
