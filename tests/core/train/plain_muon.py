"""Muon's arithmetic, step by step, which both trainings' optimisers are held against."""

from __future__ import annotations

import numpy as np


def plain_orthogonal(matrix: np.ndarray) -> np.ndarray:
    """Five steps of Newton and Schulz towards the nearest matrix of orthogonal rows."""
    x = matrix / np.linalg.norm(matrix)
    for _ in range(5):
        square = x @ x.T
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x
