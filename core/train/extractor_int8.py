"""An extractor's convolutions in int8, beside its weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from core.face import Pixels
from core.models.extractor import (
    FACE_WEIGHTS,
    INT8,
    PICTURE_WEIGHTS,
    FamiliarExtractor,
    NetworkConfiguration,
    as_values,
    load_network,
    looks_at,
)
from core.models.packed import alike
from core.models.precision import fold_norms
from core.train.onnx_of_torch import of_trunks
from core.train.quantise import quantised
from core.train.spread import all_over

EXAMPLES: Final = 256
"""Squares of which the scales are taken, most."""


def networks_in_int8(
    folder: Path,
    extractor: FamiliarExtractor,
    faces: Sequence[Pixels],
    pictures: Sequence[Pixels],
) -> dict[str, bytes]:
    """The files that an extractor needs to compute in int8, by their paths from its folder.

    Args:
        folder: That it lies in.
        extractor: It, loaded.
        faces: Face crops ``(height, width, 3)`` such as it will see, at least one.
        pictures: Whole pictures, at least one.

    Returns:
        No files where it joins networks of different shapes.
    """
    configuration = extractor.configuration
    seen = (
        [extractor.prepare_face(face, None) for face in all_over(faces, EXAMPLES)],
        [extractor.prepare_picture(picture) for picture in all_over(pictures, EXAMPLES)],
    )
    described = (configuration.face, FACE_WEIGHTS), (configuration.picture, PICTURE_WEIGHTS)
    files = {}
    for name, (network, weights), squares in zip(INT8, described, seen, strict=True):
        made = _trunk(folder / weights, network, squares)
        if made is None:
            return {}
        files[name] = made
    return files


def _trunk(
    weights: Path, configuration: NetworkConfiguration, squares: Sequence[Pixels]
) -> bytes | None:
    network = load_network(weights, configuration).eval()
    fold_norms(network)
    members = alike(network)
    if not members:
        return None
    model = of_trunks(members, configuration.side, divided=configuration.divided)
    looks = looks_at(as_values(np.stack(squares)), configuration)
    return quantised(model, list(looks.numpy()))
