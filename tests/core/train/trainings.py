"""Trainings compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


def assert_same_training(one: Path, other: Path, weights: str) -> None:
    """Both folders have the same weights to the last bit, and the same curves but for the time."""
    found, expected = load_file(one / weights), load_file(other / weights)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    curves = [(folder / "curve.csv").read_text().splitlines() for folder in (one, other)]
    losses = [[line.split(",")[:3] for line in curve] for curve in curves]
    assert losses[0] == losses[1]
