"""The folder that a training writes into: what lies in it, that it holds no other one's results,
and that nobody else writes there meanwhile."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from core.files import alone, remove_left_over
from core.models import DEFAULT_DETECTOR, ONE_TRAINING

_P = ParamSpec("_P")
_R = TypeVar("_R")

METRICS: Final = "metrics.json"
"""Figures of a finished training."""

CURVE: Final = "curve.csv"
"""Of a training on boxed pictures, a line an epoch; others have theirs in `METRICS`."""

EXTRACTOR_CHECKPOINT: Final = "checkpoint.pt"

PRETRAINING_CHECKPOINT: Final = "pretraining.pt"

DETECTOR_CHECKPOINT: Final = "checkpoint.safetensors"
"""Of a detector of either stage."""

WEIGHTS: Final = ONE_TRAINING
"""Of an extractor's network."""

TRUNK: Final = "trunk.safetensors"
"""Of a training without labels: what an extractor's network can begin with."""

LEARNED: Final = "learned.safetensors"
"""What the labelled pictures of an extractor's training are known again by, and all those of a
training without labels; what the training learned that it began with is among them. See
`core.train.copies.Prints`."""

DETECTOR_WEIGHTS: Final = "detector.safetensors"
"""Of a detector's first stage; see `core.train.detector_weights`."""

REFINER_WEIGHTS: Final = "refiner.safetensors"
"""The same of its second stage."""

TAUGHT: Final = "taught.safetensors"
"""Boxes of pictures that nobody boxed; see `core.train.boxes_found`."""

DETECTOR: Final = DEFAULT_DETECTOR
"""Folder of the detector that comes out of a training, named as the one that it may replace."""

_FINISHED: Final = (METRICS, WEIGHTS, TRUNK, DETECTOR)
_LARGE: Final = ("*.pt", "*.safetensors")
_BEGUN: Final = (EXTRACTOR_CHECKPOINT, PRETRAINING_CHECKPOINT, DETECTOR_CHECKPOINT)


def why_taken(out: Path, checkpoint: str, resume: bool) -> str | None:
    """Why a training would replace what a folder holds, and what to do; None: it would not.

    Args:
        out: The folder; it may be missing.
        checkpoint: Name of the file that a training of this kind goes on from.
        resume: Whether it is to go on.
    """
    finished, kept = is_finished(out), (out / checkpoint).exists()
    if not finished and not _holds(out, _BEGUN):
        return None
    if resume:
        if kept:
            return None
        return (
            f"{out} holds a training that cannot be gone on with: it is of another kind, or its"
            f" {checkpoint} is missing; choose another folder for the result with --out."
        )
    what = "a finished training" if finished else "a training that was begun"
    if not kept:
        return f"{out} holds {what}; choose another folder for the result with --out."
    if finished:
        return (
            f"{out} holds {what}; choose another folder for the result with --out, or keep this one"
            " with --resume."
        )
    return (
        f"{out} holds {what}; go on with it with --resume, or choose another folder for the result"
        " with --out."
    )


def is_finished(out: Path) -> bool:
    """Whether a folder holds what a training leaves at its end."""
    return _holds(out, _FINISHED)


def _holds(out: Path, names: Sequence[str]) -> bool:
    return any((out / name).exists() for name in names)


def one_at_a_time(train: Callable[_P, _R]) -> Callable[_P, _R]:
    """A training that keeps others out of its folder `out` until it ends.

    What it writes there comes long after it began, so that a second one would find nothing yet.
    Checkpoints and weights that one before was killed within are removed.

    Raises:
        BlockingIOError: Another one is at work in that folder.
    """
    signature = inspect.signature(train)

    @wraps(train)
    def guarded(*arguments: _P.args, **options: _P.kwargs) -> _R:
        out = signature.bind(*arguments, **options).arguments["out"]
        with alone(out):
            for names in _LARGE:
                remove_left_over(out, names)
            return train(*arguments, **options)

    return guarded
