"""A picture that a detector learns from, and how it is turned, scaled and cut with its boxes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Pixels


@dataclass(frozen=True, slots=True)
class Sample:
    """A decoded picture with its boxes.

    Attributes:
        pixels: ``(height, width, 3)``.
        boxes: ``(n, 4)`` in its pixels.
        kinds: ``(n,)``: 1 a face, -1 perhaps one; None: all are faces.
        zoom: How much larger than it is stored the picture is shown, before any change.
    """

    pixels: Pixels
    boxes: NDArray[np.float32]
    kinds: NDArray[np.float32] | None = None
    zoom: float = 1.0


def warped(
    pixels: Pixels,
    affine: NDArray[np.float64],
    size: tuple[int, int],
    *,
    blur: int = 1,
    fill: int | None = None,
) -> Pixels:
    """A picture under an affine change, its content where boxes under the same change come to lie.

    Args:
        pixels: ``(height, width, 3)``.
        affine: ``(2, 3)``, from points of the picture to points of the result, both counted from
            the edge of the first pixel.
        size: Width and height of the result.
        blur: Side of the square of pixels whose mean is taken first, against jagged edges.
        fill: Level of what lies outside of the picture; None: its edge is repeated.
    """
    middle = np.array([0.5, 0.5])
    if blur > 1:
        pixels = np.asarray(cv2.blur(pixels, (blur, blur)), np.uint8)
        # The mean of an even number of pixels is put half a pixel after their middle.
        middle -= 0.5 * (blur % 2 == 0)
    # OpenCV puts pixel centres at whole numbers, boxes count from the pixel's edge.
    offset = affine[:, :2] @ middle + affine[:, 2] - 0.5
    done = cv2.warpAffine(
        pixels,
        np.concatenate([affine[:, :2], offset[:, None]], 1),
        size,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if fill is None else cv2.BORDER_CONSTANT,
        borderValue=(fill or 0,) * 3,
    )
    return np.asarray(done, np.uint8)
