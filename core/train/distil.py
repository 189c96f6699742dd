"""Teaching a network what several together know: its vectors become theirs, or what fits of them.

A teacher says of any picture where it lies among all others, whether or not anybody knows whom it
shows; so pictures without labels teach as much as those with them (Hinton et al. 2015,
"Distilling the Knowledge in a Neural Network", arXiv:1503.02531; with changed pictures for the
pupil alone: Xie et al. 2020, "Noisy Student", arXiv:1911.04252).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from torch import Tensor

from core.face import Pixels, Vectors
from core.models import Extractor

_BATCH = 64


def taught_vectors(
    teachers: Sequence[Extractor], pictures: Pixels, cache: Path | None = None
) -> Vectors:
    """What teachers see in face crops: their vectors side by side, of unit length.

    Args:
        teachers: At least one; each has the same say in a cosine.
        pictures: ``(n, side, side, 3)``.
        cache: Folder of vectors; written, and read where the same teachers saw the same pictures
            before.

    Returns:
        ``(n, the teachers' dimensions together)``.
    """
    digest = hashlib.sha256(repr(pictures.shape).encode())
    for teacher in teachers:
        digest.update(bytes.fromhex(teacher.sha256))
    digest.update(np.ascontiguousarray(pictures).data)
    kept = None if cache is None else cache / f"{digest.hexdigest()[:16]}.safetensors"
    if kept is not None and kept.is_file():
        return np.asarray(load_file(kept)["vectors"], np.float32)
    rows = []
    for start in range(0, len(pictures), _BATCH):
        parts = []
        for teacher in teachers:
            squares = [
                teacher.prepare_face(pixels, None) for pixels in pictures[start : start + _BATCH]
            ]
            parts.append(teacher.embed_faces(np.stack(squares)))
        rows.append(np.concatenate(parts, 1) / np.float32(len(teachers) ** 0.5))
    vectors = np.ascontiguousarray(np.concatenate(rows))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".partial")
        save_file({"vectors": vectors}, partial)
        os.replace(partial, kept)
    return vectors


def distillation_loss(vectors: Tensor, wanted: Tensor) -> Tensor:
    """One less the mean cosine between ``(n, d)`` vectors and what they should be, 0..2.

    Both are of unit length. Where every vector is as wanted, so is every cosine between two.
    """
    return 1 - (vectors * wanted).sum(1).mean()
