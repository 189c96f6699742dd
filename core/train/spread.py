"""Some of many, evenly from the first to the last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Any = TypeVar("_Any")


def rows_all_over(there: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most `most` of so many, the first and the last among them."""
    return np.linspace(0, there - 1, min(there, most)).round().astype(np.int64)


def all_over(there: Sequence[_Any], most: int) -> list[_Any]:
    """The same of a sequence."""
    return [there[int(row)] for row in rows_all_over(len(there), most)]
