"""What a folder must not hold that a training is to write into: the results of another one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_FINISHED: Final = ("metrics.json", "weights.safetensors", "familiar-face")
_BEGUN: Final = ("checkpoint.pt", "checkpoint.safetensors")


def why_taken(out: Path, checkpoint: str, resume: bool) -> str | None:
    """Why a training would replace what a folder holds, and what to do; None: it would not.

    Args:
        out: The folder; it may be missing.
        checkpoint: Name of the file that a training of this kind goes on from.
        resume: Whether it is to go on.
    """
    finished, begun = (
        any((out / name).exists() for name in names) for names in (_FINISHED, _BEGUN)
    )
    if resume:
        if (out / checkpoint).exists() or not (finished or begun):
            return None
        return (
            f"{out} holds a training that cannot be gone on with: it is of another kind, or its"
            f" {checkpoint} is missing; choose another folder for the result with --out."
        )
    if finished:
        return (
            f"{out} holds a finished training; choose another folder for the result with --out, or"
            " keep this one with --resume."
        )
    if begun:
        return (
            f"{out} holds a training that was begun; go on with it with --resume, or choose"
            " another folder for the result with --out."
        )
    return None
