"""Smooth shapes on a picture: filled outlines, brush strokes, gradients, all antialiased."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

Points: TypeAlias = NDArray[np.float64]
"""``(n, 2)``, x to the right and y downwards."""

Colour: TypeAlias = tuple[int, int, int]
"""Red, green and blue, 0..255."""

SUPERSAMPLING: Final = 3
STEPS: Final = 14
"""Straight pieces for one bend of a curve."""


def colour(code: str) -> Colour:
    """A colour from its six hexadecimal digits, such as ``ff8800``."""
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """`one` with a `share` of `other` in it, 0..1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def darker(tone: Colour, share: float) -> Colour:
    """Towards a deep violet, as shadows are painted, not towards black."""
    return mixed(tone, (38, 18, 52), share)


def lighter(tone: Colour, share: float) -> Colour:
    """Towards a warm white."""
    return mixed(tone, (255, 252, 244), share)


def points(*pairs: tuple[float, float]) -> Points:
    """Corner after corner."""
    return np.array(pairs, dtype=np.float64)


def smooth(through: ArrayLike, closed: bool = False) -> Points:
    """A curve through all points (Catmull-Rom)."""
    nodes = np.asarray(through, dtype=np.float64)
    if closed:
        padded = np.concatenate([nodes[-1:], nodes, nodes[:2]])
    else:
        padded = np.concatenate([2 * nodes[:1] - nodes[1:2], nodes, 2 * nodes[-1:] - nodes[-2:-1]])
    t = np.linspace(0, 1, STEPS, endpoint=False)[:, None]
    pieces = []
    for a, b, c, d in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(
            0.5
            * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
        )
    if not closed:
        pieces.append(nodes[-1:])
    return np.concatenate(pieces)


def path(start: tuple[float, float], *bends: tuple[float, float, float, float]) -> Points:
    """Bends with sharp corners between them: each is ``(control x, control y, end x, end y)``."""
    t = np.linspace(0, 1, STEPS + 1)[1:, None]
    pieces = [np.array([start], dtype=np.float64)]
    for control_x, control_y, end_x, end_y in bends:
        begin = pieces[-1][-1]
        control, end = np.array([control_x, control_y]), np.array([end_x, end_y])
        pieces.append((1 - t) ** 2 * begin + 2 * (1 - t) * t * control + t**2 * end)
    return np.concatenate(pieces)


def ellipse(
    centre: tuple[float, float],
    radii: tuple[float, float],
    degrees: tuple[float, float] = (0.0, 360.0),
    turned: float = 0.0,
) -> Points:
    """An ellipse or a piece of its line; 0 degrees is to the right, 90 downwards."""
    angle = np.radians(np.linspace(*degrees, 48))
    x, y = radii[0] * np.cos(angle), radii[1] * np.sin(angle)
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    return np.stack([centre[0] + c * x - s * y, centre[1] + s * x + c * y], axis=1)


def mirrored(shape: Points) -> Points:
    """The same on the other side of ``x = 0``."""
    return np.asarray(shape * np.array([-1.0, 1.0]))


def brush(line: Points, width: float, taper: tuple[float, float]) -> Points:
    """The outline of a brush stroke along `line`.

    Args:
        line: ``(n, 2)``, n at least 2.
        width: At the thickest place.
        taper: Share of the width that is left at the beginning and at the end, 0..1.
    """
    along = np.gradient(line, axis=0)
    length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1) / length[:, None]
    t = np.linspace(0, 1, len(line))
    swell = np.sin(np.pi * np.clip(t, 0, 1)) ** 0.6
    ends = taper[0] + (taper[1] - taper[0]) * t
    half = 0.5 * width * (ends + (1 - ends) * swell)
    return np.concatenate([line + across * half[:, None], (line - across * half[:, None])[::-1]])


def _fill_mask(mask: Image.Image, shape: Points) -> None:
    ImageDraw.Draw(mask).polygon(shape.ravel().tolist(), fill=255)


class Canvas:
    """A picture in the making; all lengths are in pixels of the finished picture."""

    def __init__(self, width: int, height: int, ground: Colour = (255, 255, 255)) -> None:
        self.width, self.height = width, height
        size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self._image = Image.new("RGB", size, ground)

    def _mask(self, shape: Points) -> tuple[Image.Image, tuple[int, int, int, int]] | None:
        """The shape as a mask, and the rectangle it covers; None outside of the picture."""
        scaled = shape * SUPERSAMPLING
        left, top = np.floor(scaled.min(axis=0)).astype(int) - 1
        right, bottom = np.ceil(scaled.max(axis=0)).astype(int) + 2
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self._image.width), min(bottom, self._image.height)
        if right <= left or bottom <= top:
            return None
        mask = Image.new("L", (right - left, bottom - top))
        _fill_mask(mask, scaled - (left, top))
        return mask, (left, top, right, bottom)

    def fill(
        self,
        shape: Points,
        top: Colour,
        bottom: Colour | None = None,
        *,
        inside: Points | None = None,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Fill a closed shape.

        Args:
            shape: ``(n, 2)``.
            top: Colour, or the upper end of a gradient.
            bottom: The gradient's lower end.
            inside: A second shape; what lies outside of it stays as it is.
            opacity: 0..1.
            blur: Radius by which the edge is softened.
        """
        made = self._mask(shape)
        if made is None:
            return
        mask, (left, upper, right, lower) = made
        if blur:
            spread = round(3 * blur * SUPERSAMPLING)
            left, upper = max(left - spread, 0), max(upper - spread, 0)
            right = min(right + spread, self._image.width)
            lower = min(lower + spread, self._image.height)
            mask = Image.new("L", (right - left, lower - upper))
            _fill_mask(mask, shape * SUPERSAMPLING - (left, upper))
            mask = mask.filter(ImageFilter.BoxBlur(blur * SUPERSAMPLING))
        if inside is not None:
            limit = Image.new("L", mask.size)
            _fill_mask(limit, inside * SUPERSAMPLING - (left, upper))
            mask = ImageChops.multiply(mask, limit)
        if opacity < 1:
            mask = mask.point([round(value * opacity) for value in range(256)])
        if bottom is None:
            self._image.paste(top, (left, upper, right, lower), mask)
            return
        ramp = np.linspace(0, 1, lower - upper)[:, None, None]
        column = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
        tones = Image.fromarray(column.astype(np.uint8)).resize(mask.size, Image.Resampling.NEAREST)
        self._image.paste(tones, (left, upper), mask)

    def stroke(
        self,
        line: Points,
        tone: Colour,
        width: float,
        *,
        taper: tuple[float, float] = (0.25, 0.25),
        inside: Points | None = None,
        opacity: float = 1.0,
    ) -> None:
        """Draw a line with a brush that presses hardest in the middle."""
        self.fill(brush(line, width, taper), tone, inside=inside, opacity=opacity)

    def outlined(
        self, shape: Points, top: Colour, bottom: Colour | None, line: Colour, width: float
    ) -> None:
        """Fill a closed shape and draw its outline with an even line."""
        self.fill(shape, top, bottom)
        closed = np.concatenate([shape, shape[:1]])
        made = [tuple(pair) for pair in (closed * SUPERSAMPLING).tolist()]
        pen = ImageDraw.Draw(self._image)
        pen.line(made, fill=line, width=max(1, round(width * SUPERSAMPLING)), joint="curve")

    def finished(self) -> Image.Image:
        """The picture in its final size."""
        return self._image.reduce(SUPERSAMPLING)
