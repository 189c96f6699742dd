"""Faces turned upright and scaled alike by five points."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Landmarks, Pixels

REFERENCE_SIDE: Final = 112

REFERENCE: Final[Landmarks] = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
"""Where the five points lie in a square of 112 pixels: the template that ArcFace's weights were
trained on (InsightFace, ``face_align.py``), which is SphereFace's of 96 x 112 moved by 8 pixels."""


def aligned(pixels: Pixels, points: Landmarks, side: int = REFERENCE_SIDE) -> Pixels:
    """The face of a picture, turned, scaled and moved until its points lie on the reference.

    Args:
        pixels: ``(height, width, 3)``.
        points: In pixels of the picture.
        side: Of the result, in pixels; the reference is scaled to it.

    Returns:
        ``(side, side, 3)``; what lies outside of the picture repeats its edge.

    Raises:
        ValueError: All points are the same.
    """
    target = np.array(REFERENCE) * (side / REFERENCE_SIDE)
    warped = cv2.warpAffine(
        np.ascontiguousarray(pixels),
        similarity_transform(np.array(points, np.float64), target),
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(warped, np.uint8)


def similarity_transform(
    source: NDArray[np.float64], target: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The turn, scale and shift that take `source` nearest to `target` in the least squares.

    There is no mirror image among them. Closed form in complex numbers: where both are taken
    from their means, the best factor is ``sum(target * conj(source)) / sum(|source|^2)``, whose
    length is the scale and whose angle is the turn; for the plane this is Umeyama 1991
    (doi:10.1109/34.88573).

    Args:
        source: ``(n, 2)``, ``x`` and ``y``.
        target: ``(n, 2)``.

    Returns:
        ``(2, 3)``, such that ``matrix @ [x, y, 1]`` is the point's new place.

    Raises:
        ValueError: All points of `source` are the same.
    """
    before = source[:, 0] + 1j * source[:, 1]
    after = target[:, 0] + 1j * target[:, 1]
    around = before - before.mean()
    spread = float(np.sum(np.abs(around) ** 2))
    if spread <= 0:
        raise ValueError("A face cannot be aligned by points that are all the same.")
    factor = np.sum((after - after.mean()) * around.conj()) / spread
    shift = after.mean() - factor * before.mean()
    return np.array(
        [
            [factor.real, -factor.imag, shift.real],
            [factor.imag, factor.real, shift.imag],
        ]
    )
