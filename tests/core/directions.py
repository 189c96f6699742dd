"""Vectors of unit length."""

from __future__ import annotations

import numpy as np

from core.face import Vectors


def unit(generator: np.random.Generator, *shape: int) -> Vectors:
    """Drawn, ``(*shape)``, every direction as likely as any other."""
    rows = generator.normal(size=shape)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True), np.float32)


def whitened(vectors: Vectors, matrix: Vectors) -> Vectors:
    """``(n, d)`` by a matrix ``(d, k)`` -> ``(n, k)`` of unit length."""
    found = vectors @ matrix
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)
