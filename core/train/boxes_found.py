"""Boxes found in many pictures, kept while they are found: a training that is stopped looks at
none of them twice."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from core.progress import Progress
from core.train.session import write_tensors

Proposed: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes ``(k, 4)`` of a picture, in its pixels, and their scores ``(k,)``."""

_AT_ONCE: Final = 16
_SECONDS_UNTIL_KEPT: Final = 60.0


def boxes_found(
    look: Callable[[range], list[Proposed]],
    count: int,
    cache: Path,
    key: str,
    told: Progress = lambda done, total: None,
) -> list[Proposed]:
    """What is found in each of `count` pictures.

    Args:
        look: Finds the boxes in the pictures of some numbers.
        count: Of the pictures.
        cache: File of the boxes; written every minute, and read where it is of the same key.
        key: Changes when the pictures do, or who looks.
        told: Called after each look.
    """
    found = _read(cache, key)
    kept, kept_at = len(found), time.monotonic()
    for start in range(kept, count, _AT_ONCE):
        found += look(range(start, min(start + _AT_ONCE, count)))
        told(len(found), count)
        if len(found) == count or time.monotonic() - kept_at >= _SECONDS_UNTIL_KEPT:
            _write(cache, key, found)
            kept_at = time.monotonic()
    return found


def _write(path: Path, key: str, found: Sequence[Proposed]) -> None:
    tensors = {
        "boxes": np.concatenate([boxes for boxes, _ in found]),
        "scores": np.concatenate([scores for _, scores in found]),
        "counts": np.array([len(scores) for _, scores in found], np.int64),
    }
    write_tensors(path, tensors, {"key": key})


def _read(path: Path, key: str) -> list[Proposed]:
    """What `_write` kept under the same key; nothing where the file is damaged."""
    if not path.is_file():
        return []
    # What is kept can be found anew, so that damage is no reason to stop.
    try:
        with safe_open(path, framework="np") as file:
            if file.metadata()["key"] != key:
                return []
            boxes, scores, counts = (file.get_tensor(n) for n in ("boxes", "scores", "counts"))
    except (OSError, SafetensorError, KeyError, TypeError):
        return []
    there = int(counts.sum())
    if boxes.shape != (there, 4) or scores.shape != (there,):
        return []
    ends = np.cumsum(counts)[:-1]
    return list(zip(np.split(boxes, ends), np.split(scores, ends), strict=True))
