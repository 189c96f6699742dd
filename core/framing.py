"""Squares of pictures, cut out and scaled as networks look at them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, TypeAlias

import cv2
import numpy as np

from core.face import Pixels
from core.picture import OWN_LIMITS

Box: TypeAlias = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in pixels."""

Square: TypeAlias = tuple[int, int, int, int]
"""``(x0, y0, x1, y1)`` in whole pixels; it may reach over the picture's edge."""

_TIMES_AS_LARGE: Final = 4


@dataclass(frozen=True, slots=True)
class Framing:
    """How much of a picture is seen of a face in it.

    Attributes:
        margin: A face's box is widened by this share of its longer side on every side.
        lift: And moved up by this share: a box holds brow to chin, the hair is above it.
    """

    margin: float
    lift: float = 0.0

    def square(self, box: Box) -> Square:
        """What is seen of the face in `box`; its sides are equal, and at least one pixel."""
        x0, y0, x1, y1 = box
        longer = max(x1 - x0, y1 - y0)
        side = max(1, round(longer * (1 + 2 * self.margin)))
        left = round((x0 + x1) / 2 - side / 2)
        top = round((y0 + y1) / 2 - self.lift * longer - side / 2)
        return left, top, left + side, top + side


HEADS: Final = Framing(margin=0.55, lift=0.4)
"""As the shipped face networks see a face, around a box from brow to chin, hair and all. Heads that
others learn from are cut so, and extractors look so, unless another framing is named."""


def framed(pixels: Pixels, box: Box | None, framing: Framing, side: int) -> Pixels:
    """What a network sees of a face.

    Args:
        pixels: ``(height, width, 3)``.
        box: The face in it; None where the picture is a face crop already: then the whole of it is
            seen, made square by repeating its edges.
        framing: Of the square around the box.
        side: Of the result, in pixels.

    Returns:
        ``(side, side, 3)``.
    """
    square = whole_square(pixels) if box is None else framing.square(box)
    return cut_square(pixels, square, side)


def cut_square(pixels: Pixels, square: Square, side: int) -> Pixels:
    """A square of a picture, ``(side, side, 3)``; what lies outside repeats the picture's edge.

    Args:
        pixels: ``(height, width, 3)``.
        square: With equal sides, in pixels of the picture.
        side: Of the result.
    """
    return resized(crop(*holdable(pixels, square)), side)


def holdable(pixels: Pixels, square: Square) -> tuple[Pixels, Square]:
    """A picture and a square of it that fits into memory, both as they are in most cases.

    A square that is many times as large as its picture, as around a strip, would not: then both
    are made smaller.

    Args:
        pixels: ``(height, width, 3)``.
        square: With equal sides, in pixels of the picture.

    Returns:
        The picture, and the square in its pixels: one of no more than four times the pixels of the
        picture that was given, or of those that a picture of one's own may have.
    """
    height, width = pixels.shape[:2]
    left, top, reach = square[0], square[1], square[2] - square[0]
    if reach**2 <= max(_TIMES_AS_LARGE * height * width, OWN_LIMITS.pixels):
        return pixels, square
    scale = math.sqrt(OWN_LIMITS.pixels) / reach
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    smaller = cv2.resize(np.ascontiguousarray(pixels), size, interpolation=cv2.INTER_AREA)
    left, top, reach = round(left * scale), round(top * scale), round(reach * scale)
    return np.asarray(smaller, np.uint8), (left, top, left + reach, top + reach)


def whole_square(pixels: Pixels) -> Square:
    """The square around a whole picture, whose shorter side it reaches over."""
    height, width = pixels.shape[:2]
    longest = max(height, width)
    left, top = (width - longest) // 2, (height - longest) // 2
    return left, top, left + longest, top + longest


def crop(pixels: Pixels, square: Square) -> Pixels:
    """Cut ``(x0, y0, x1, y1)`` out of a picture; what lies outside repeats the picture's edge.

    Args:
        pixels: ``(height, width, 3)``.
        square: In pixels of the picture, ``x`` along the width and ``y`` along the height.

    Returns:
        ``(y1 - y0, x1 - x0, 3)``.

    Raises:
        ValueError: The rectangle is empty.
    """
    x0, y0, x1, y1 = square
    if x1 <= x0 or y1 <= y0:
        raise ValueError(f"Cannot cut an empty rectangle: {square}.")
    height, width = pixels.shape[:2]
    if x0 >= 0 and y0 >= 0 and x1 <= width and y1 <= height:
        return pixels[y0:y1, x0:x1]
    # What the picture shows of the rectangle, at least the line that is nearest, and where it lies.
    seen = pixels[
        np.clip(y0, 0, height - 1) : np.clip(y1, 1, height),
        np.clip(x0, 0, width - 1) : np.clip(x1, 1, width),
    ]
    rows, columns = seen.shape[:2]
    top = int(np.clip(-y0, 0, y1 - y0 - rows))
    left = int(np.clip(-x0, 0, x1 - x0 - columns))
    cut: Pixels = np.empty((y1 - y0, x1 - x0, pixels.shape[2]), np.uint8)
    middle = cut[top : top + rows]
    middle[:, left : left + columns] = seen
    middle[:, :left] = seen[:, :1]
    middle[:, left + columns :] = seen[:, -1:]
    cut[:top] = middle[0]
    cut[top + rows :] = middle[-1]
    return cut


def resized(pixels: Pixels, side: int) -> Pixels:
    """A picture of any size as ``(side, side, 3)``."""
    height, width = pixels.shape[:2]
    if (height, width) == (side, side):
        return np.ascontiguousarray(pixels)
    # INTER_AREA averages what falls into a pixel, without which small pictures of large ones
    # shimmer; for enlarging it would give blocks.
    how = cv2.INTER_AREA if height >= side and width >= side else cv2.INTER_LINEAR
    changed = cv2.resize(np.ascontiguousarray(pixels), (side, side), interpolation=how)
    return np.asarray(changed, np.uint8)
