"""Attributes of a drawn face that can be had without anybody naming them: colours.

Who labels hundreds of characters by hair and eye colour? Here both are estimated from the crop:
the colour that most of the region has in which hair, or eyes, usually lie, among the colours that
people have names for.
"""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Pixels

COLOURS: Final = (
    "black",
    "grey",
    "white",
    "brown",
    "red",
    "orange",
    "yellow",
    "green",
    "cyan",
    "blue",
    "violet",
    "pink",
)
"""Names of the colours; an estimate is an index into them."""

TASKS: Final = ("hair", "eyes")

_SIDE: Final = 48
# In shares of the crop's side, (top, bottom, left, right): in crops that hold the hair, the face
# fills the middle of the lower half.
_HAIR: Final = ((0.2, 0.52, 0.26, 0.74),)
_EYES: Final = ((0.58, 0.76, 0.26, 0.46), (0.58, 0.76, 0.54, 0.74))

_SKIN_HUE: Final = (8.0, 44.0)
# Degrees of the hue circle at which the next name begins.
_HUES: Final = (
    (18, "red"),
    (42, "orange"),
    (70, "yellow"),
    (160, "green"),
    (195, "cyan"),
    (255, "blue"),
    (295, "violet"),
    (345, "pink"),
    (361, "red"),
)


def estimated(crops: Pixels) -> NDArray[np.int64]:
    """Hair and eye colour of face crops.

    Args:
        crops: ``(n, side, side, 3)``.

    Returns:
        ``(n, 2)``, hair and eyes, each an index into `COLOURS`.
    """
    found = np.empty((len(crops), len(TASKS)), np.int64)
    for row, crop in enumerate(crops):
        small = cv2.resize(np.ascontiguousarray(crop), (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        rgb = small.astype(np.float32) / 255
        hsv = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV), np.float32)
        hair, eyes = _region(hsv, _HAIR), _region(hsv, _EYES)
        # A page's white and skin are in both regions, and are neither hair nor eyes; where
        # nothing else is there, hair is white or blond, and eyes are closed.
        found[row, 0] = _most_common(hair[~_is_skin(hair) & ~_is_paper(hair)], hair)
        coloured = ~_is_skin(eyes) & ~_is_paper(eyes) & (eyes[:, 1] > 0.2) & (eyes[:, 2] > 0.2)
        found[row, 1] = _most_common(eyes[coloured], eyes)
    return found


def _region(
    hsv: NDArray[np.float32], rectangles: tuple[tuple[float, float, float, float], ...]
) -> NDArray[np.float32]:
    parts = []
    for rectangle in rectangles:
        top, bottom, left, right = (round(share * _SIDE) for share in rectangle)
        parts.append(hsv[top:bottom, left:right].reshape(-1, 3))
    return np.concatenate(parts)


def _is_skin(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    hue, saturation, value = pixels.T
    low, high = _SKIN_HUE
    skin: NDArray[np.bool_] = (
        (hue > low) & (hue < high) & (saturation > 0.06) & (saturation < 0.42) & (value > 0.75)
    )
    return skin


def _is_paper(pixels: NDArray[np.float32]) -> NDArray[np.bool_]:
    paper: NDArray[np.bool_] = (pixels[:, 1] < 0.05) & (pixels[:, 2] > 0.96)
    return paper


def _most_common(pixels: NDArray[np.float32], otherwise: NDArray[np.float32]) -> int:
    if len(pixels) < 0.05 * len(otherwise):
        pixels = otherwise
    return int(np.bincount(_names(pixels), minlength=len(COLOURS)).argmax())


def _names(pixels: NDArray[np.float32]) -> NDArray[np.int64]:
    """The colour of each pixel ``(n, 3)``: hue in degrees, saturation and value in 0..1."""
    hue, saturation, value = pixels.T
    starts = np.array([start for start, _ in _HUES])
    names = np.array([COLOURS.index(name) for _, name in _HUES])
    found = names[np.searchsorted(starts, hue, side="right").clip(max=len(names) - 1)]
    dark_warm = np.isin(found, [COLOURS.index("orange"), COLOURS.index("yellow")]) & (value < 0.6)
    found = np.where(dark_warm, COLOURS.index("brown"), found)
    pale = saturation < 0.15
    found = np.where(pale, COLOURS.index("grey"), found)
    found = np.where(pale & (value > 0.8), COLOURS.index("white"), found)
    return np.where(value < 0.25, COLOURS.index("black"), found)
