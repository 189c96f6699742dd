"""Pictures without a face, drawn anew from a seed wherever they are wanted.

No file travels, and everybody measures on the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from core.face import Pixels
from core.faceless import Faceless, Kind

_Colour: TypeAlias = tuple[int, int, int]
_Painter: TypeAlias = Callable[[np.random.Generator, int, int], Pixels]

SIZES: Final = ((320, 240), (240, 320), (384, 384), (480, 270))
"""Width and height of what is drawn, in pixels."""


def drawn(seed: int = 0, each: int = 6) -> tuple[Faceless, ...]:
    """Textures, landscapes and still lifes; the same seed draws the same pictures.

    Args:
        seed: Decides every picture.
        each: Pictures of each motif; there are 17 motifs.
    """
    pictures = []
    for kind, painters in _PAINTERS.items():
        for painter in painters:
            motif = painter.__name__.lstrip("_").replace("_", " ")
            for number in range(each):
                # A generator of its own keeps a picture what it is when others are added.
                rng = np.random.default_rng([seed, number, *motif.encode()])
                width, height = SIZES[number % len(SIZES)]
                pictures.append(
                    Faceless(f"{motif} {number}", kind, painter(rng, width, height).copy())
                )
    return tuple(pictures)


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> _Colour:
    red, green, blue = rng.integers(low, high, 3).tolist()
    return red, green, blue


def _near(rng: np.random.Generator, colour: _Colour, by: int = 25) -> _Colour:
    """A colour that differs by at most `by` in each channel."""
    changed = np.clip(np.array(colour) + rng.integers(-by, by + 1, 3), 0, 255)
    red, green, blue = changed.tolist()
    return red, green, blue


def _plain(width: int, height: int, colour: _Colour) -> Pixels:
    return np.full((height, width, 3), colour, np.uint8)


def _blend(one: _Colour, other: _Colour, share: NDArray[np.float64]) -> Pixels:
    """From `one` where `share` is 0 to `other` where it is 1; `share` is ``(height, width)``."""
    mixed = np.array(one) + (np.array(other) - np.array(one)) * np.clip(share, 0, 1)[..., None]
    return np.asarray(mixed.astype(np.uint8))


def _grid(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x and the y of each pixel, ``(height, width)``."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x, y


def _polygon(pixels: Pixels, corners: Sequence[tuple[float, float]], colour: _Colour) -> None:
    points = np.array(corners).round().astype(np.int32)
    cv2.fillPoly(pixels, [points], colour, cv2.LINE_AA)


def _rectangle(
    pixels: Pixels, low: tuple[float, float], high: tuple[float, float], colour: _Colour
) -> None:
    first, last = (round(low[0]), round(low[1])), (round(high[0]), round(high[1]))
    cv2.rectangle(pixels, first, last, colour, -1)


def _disc(pixels: Pixels, x: float, y: float, radius: float, colour: _Colour) -> None:
    _oval(pixels, (x, y), (radius, radius), colour)


def _oval(
    pixels: Pixels,
    centre: tuple[float, float],
    radii: tuple[float, float],
    colour: _Colour,
    turned: float = 0.0,
) -> None:
    middle = (round(centre[0]), round(centre[1]))
    axes = (max(1, round(radii[0])), max(1, round(radii[1])))
    cv2.ellipse(pixels, middle, axes, turned, 0, 360, colour, -1, cv2.LINE_AA)


def _noise(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """From single pixels to clouds, grey or coloured."""
    cell = int(rng.choice([1, 2, 6, 24, 60]))
    channels = int(rng.choice([1, 3]))
    shape = (-(-height // cell), -(-width // cell), channels)
    small = np.broadcast_to(rng.integers(0, 256, shape), (*shape[:2], 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def _stripes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    x, y = _grid(width, height)
    angle = rng.uniform(0, np.pi)
    along = x * np.cos(angle) + y * np.sin(angle)
    share = (along / rng.uniform(6, 60) % 1 < rng.uniform(0.3, 0.7)).astype(np.float64)
    return _blend(_colour(rng), _colour(rng), share)


def _checks(rng: np.random.Generator, width: int, height: int) -> Pixels:
    x, y = _grid(width, height)
    side = rng.uniform(8, 50)
    share = (x // side + y // side) % 2
    if rng.random() < 0.5:  # tartan
        share = ((x // side % 2) + (y // side % 2)) / 2
    return _blend(_colour(rng), _colour(rng), share)


def _gradient(rng: np.random.Generator, width: int, height: int) -> Pixels:
    x, y = _grid(width, height)
    angle = rng.uniform(0, 2 * np.pi)
    share = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle) + 0.5
    if rng.random() < 0.4:
        middle = rng.uniform(0.2, 0.8, 2)
        share = 1.5 * np.hypot(x / width - middle[0], y / height - middle[1])
    return _blend(_colour(rng), _colour(rng), share)


def _dots(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _plain(width, height, _colour(rng))
    step = int(rng.integers(12, 70))
    colour = _colour(rng)
    for row, y in enumerate(range(0, height + step, step)):
        for x in range(0, width + step, step):
            _disc(pixels, x + row % 2 * step / 2, y, step * 0.28, colour)
    return pixels


def _weave(rng: np.random.Generator, width: int, height: int) -> Pixels:
    x, y = _grid(width, height)
    side = rng.uniform(5, 20)
    over = (x // side + y // side) % 2 == 0
    thread = np.abs(np.sin(np.pi * np.where(over, x, y) / side))
    return _blend(_colour(rng, 0, 120), _colour(rng, 120), 0.2 + 0.8 * thread)


def _bricks(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _plain(width, height, _colour(rng, 120, 230))
    tall = int(rng.integers(10, 40))
    colour = _colour(rng)
    for row, top in enumerate(range(0, height, tall)):
        for left in range(-2 * tall, width, 2 * tall):
            x = left + row % 2 * tall
            low, high = (x + 2, top + 2), (x + 2 * tall - 2, top + tall - 2)
            _rectangle(pixels, low, high, _near(rng, colour))
    return pixels


def _sky(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Blue, dusk or night, with a sun or a moon and clouds."""
    _, y = _grid(width, height)
    tops = ((60, 130, 220), (90, 60, 130), (10, 15, 50))
    bottoms = ((200, 225, 245), (250, 170, 110), (50, 60, 110))
    time = int(rng.integers(3))
    pixels = _blend(tops[time], bottoms[time], y / height)
    size = rng.uniform(0.05, 0.13) * height
    glow = (255, 240, 190)
    _disc(pixels, rng.uniform(0, width), rng.uniform(0, 0.5) * height, size, glow)
    for _ in range(int(rng.integers(0, 5))):
        x, y0 = rng.uniform(0, width), rng.uniform(0, 0.5) * height
        white = _near(rng, (235, 235, 240), 15)
        for _ in range(5):
            reach = height * rng.uniform(0.04, 0.1)
            place = (x + rng.normal(0, reach * 1.5), y0 + rng.normal(0, reach / 3))
            _oval(pixels, place, (reach * 1.6, reach), white)
    return pixels


def _ground(
    rng: np.random.Generator, pixels: Pixels, level: float, colour: _Colour, rough: float
) -> None:
    """Fill what lies under a wavy line at `level`, a share of the height."""
    height, width = pixels.shape[:2]
    x = np.linspace(0, 1, 60)
    line = level + sum(
        rough / n * np.sin(2 * np.pi * n * rng.uniform(0.4, 1.2) * x + rng.uniform(0, 6.3))
        for n in (1, 2, 4)
    )
    outline = list(zip((x * width).tolist(), (line * height).tolist(), strict=True))
    _polygon(pixels, [*outline, (width, height), (0, height)], colour)


def _hills(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _sky(rng, width, height)
    colour = _colour(rng, 40, 160)
    for level in np.linspace(0.4, 0.85, int(rng.integers(2, 6))):
        _ground(rng, pixels, float(level), _near(rng, colour, 40), 0.05)
    return pixels


def _sea(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _sky(rng, width, height)
    water = _colour(rng, 20, 150)
    level = int(rng.uniform(0.4, 0.7) * height)
    pixels[level:] = water
    for _ in range(120):
        x, y = int(rng.integers(width)), int(rng.integers(level, height))
        light = _near(rng, (200, 220, 240), 30)
        cv2.line(pixels, (x, y), (x + int(rng.integers(5, 40)), y), light, 1, cv2.LINE_AA)
    if rng.random() < 0.6:
        mast, reach = rng.uniform(0.2, 0.8) * width, 0.12 * width
        deck = [(mast - reach, level), (mast + reach, level)]
        keel = [
            (mast + 0.6 * reach, level + 0.4 * reach),
            (mast - 0.6 * reach, level + 0.4 * reach),
        ]
        _polygon(pixels, [*deck, *keel], _colour(rng, 0, 120))
        sail = [(mast, level - 1.6 * reach), (mast, level - 3), (mast + reach, level - 3)]
        _polygon(pixels, sail, _colour(rng, 180))
    return pixels


def _tree(rng: np.random.Generator, pixels: Pixels, x: float, foot: float, size: float) -> None:
    stem = size * 0.06
    _rectangle(pixels, (x - stem, foot - size), (x + stem, foot), _near(rng, (95, 65, 40)))
    leaves = _near(rng, (50, 120, 50), 45)
    if rng.random() < 0.5:
        for share in (0.4, 0.7, 1.0):
            top, wide = foot - size * (0.5 + share), size * 0.45 * (1.3 - share)
            corners = [(x, top), (x + wide, top + size * 0.6), (x - wide, top + size * 0.6)]
            _polygon(pixels, corners, leaves)
        return
    for _ in range(12):
        place = (x + rng.normal(0, size * 0.22), foot - size + rng.normal(0, size * 0.2))
        _disc(pixels, *place, size * rng.uniform(0.12, 0.25), _near(rng, leaves, 18))


def _forest(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _sky(rng, width, height)
    _ground(rng, pixels, 0.65, _near(rng, (90, 140, 70), 40), 0.03)
    feet = np.sort(rng.uniform(0.68, 1.0, int(rng.integers(4, 14)))) * height
    for foot in feet.tolist():
        _tree(rng, pixels, rng.uniform(0, width), foot, (foot / height) ** 2 * height * 0.45)
    return pixels


def _village(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _sky(rng, width, height)
    _ground(rng, pixels, 0.7, _near(rng, (110, 150, 80), 30), 0.02)
    for place in range(int(rng.integers(2, 5))):
        wide, tall = rng.uniform(0.14, 0.24) * width, rng.uniform(0.16, 0.3) * height
        x, foot = (place + rng.uniform(0, 0.6)) * width / 4, rng.uniform(0.78, 0.92) * height
        top = foot - tall
        _rectangle(pixels, (x, top), (x + wide, foot), _colour(rng, 150))
        roof = [(x - 6, top), (x + wide + 6, top), (x + wide / 2, top - tall * 0.6)]
        _polygon(pixels, roof, _near(rng, (150, 60, 40), 40))
        pane = _colour(rng)
        for column in (0.2, 0.62):
            low = (x + wide * column, top + tall * 0.2)
            _rectangle(pixels, low, (low[0] + wide * 0.18, low[1] + tall * 0.25), pane)
        low, high = (x + wide * 0.42, foot - tall * 0.4), (x + wide * 0.6, foot)
        _rectangle(pixels, low, high, _near(rng, (90, 60, 40)))
    return pixels


def _city(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _sky(rng, width, height)
    x = 0.0
    while x < width:
        wide, tall = rng.uniform(0.08, 0.2) * width, rng.uniform(0.3, 0.8) * height
        top = height - tall
        wall = _colour(rng, 20, 130)
        _rectangle(pixels, (x, top), (x + wide, height), wall)
        light = _near(rng, (240, 220, 140), 15)
        for row in np.arange(top + 8, height, 14):
            for column in np.arange(x + 5, x + wide - 8, 11):
                if rng.random() < 0.5:
                    _rectangle(pixels, (column, row), (column + 5, row + 7), light)
        x += wide + rng.uniform(0, 6)
    return pixels


def _table(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """A wall, and in front of it the top of a table."""
    pixels = _plain(width, height, _colour(rng, 120))
    pixels[int(rng.uniform(0.55, 0.75) * height) :] = _near(rng, (130, 90, 60), 50)
    return pixels


def _places(rng: np.random.Generator, width: int, height: int) -> list[tuple[float, float, float]]:
    """Where things lie: centre and size, the farther and smaller ones first."""
    count = int(rng.integers(1, 6))
    sizes = np.sort(rng.uniform(0.1, 0.26, count)) * min(width, height)
    return [
        (rng.uniform(0.15, 0.85) * width, rng.uniform(0.35, 0.8) * height, size)
        for size in sizes.tolist()
    ]


def _roses(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _plain(width, height, _colour(rng, 100))
    for x, y, size in _places(rng, width, height):
        stem = (round(x + rng.normal(0, size)), height)
        cv2.line(pixels, (round(x), round(y)), stem, (60, 120, 60), 4, cv2.LINE_AA)
        petal = _colour(rng, 90)
        for ring in np.linspace(1.0, 0.15, 6).tolist():
            start = rng.uniform(0, 6.3)
            for turn in (start + np.arange(5) * 2 * np.pi / 5).tolist():
                place = (x + np.cos(turn) * size * ring / 2, y + np.sin(turn) * size * ring / 2)
                _disc(pixels, *place, size * ring * 0.55, _near(rng, petal, 28))
    return pixels


def _daisies(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _plain(width, height, _near(rng, (70, 140, 70), 40))
    for x, y, size in _places(rng, width, height):
        petal = _colour(rng, 150)
        for turn in np.arange(0, 360, 30).tolist():
            angle = np.radians(turn)
            place = (x + np.cos(angle) * size * 0.6, y + np.sin(angle) * size * 0.6)
            _oval(pixels, place, (size * 0.42, size * 0.15), petal, turn)
        _disc(pixels, x, y, size * 0.28, _near(rng, (240, 190, 40)))
    return pixels


def _balls(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _table(rng, width, height)
    for x, y, size in _places(rng, width, height):
        colour = _colour(rng, 60)
        _oval(pixels, (x, y + size * 0.95), (size, size * 0.2), (70, 60, 60))
        for share in np.linspace(0, 1, 12).tolist():
            shade = tuple(round(c * (0.5 + 0.5 * share)) for c in colour)
            middle = (x - size * 0.3 * share, y - size * 0.3 * share)
            _disc(pixels, *middle, size * (1 - share * 0.85), (shade[0], shade[1], shade[2]))
        if rng.random() < 0.5:  # a seam, as on a ball of leather
            axes = (round(size * 0.9), round(size * 0.35))
            turned = rng.uniform(0, 180)
            cv2.ellipse(
                pixels, (round(x), round(y)), axes, turned, 0, 180, (30, 30, 30), 2, cv2.LINE_AA
            )
    return pixels


def _shoes(rng: np.random.Generator, width: int, height: int) -> Pixels:
    pixels = _table(rng, width, height)
    for x, y, size in _places(rng, width, height):
        colour = _colour(rng)
        for step in (0.0, 0.9):
            left = x + step * size
            _oval(pixels, (left, y + size * 0.35), (size, size * 0.14), (40, 35, 35))
            _oval(pixels, (left + size * 0.3, y + size * 0.12), (size * 0.7, size * 0.28), colour)
            _oval(pixels, (left - size * 0.55, y - size * 0.1), (size * 0.38, size * 0.5), colour)
            for lace in (0.0, 0.14, 0.28):
                start = (round(left - size * (0.2 - lace)), round(y - size * (0.2 - lace)))
                end = (start[0] + round(size * 0.2), start[1] + round(size * 0.12))
                cv2.line(pixels, start, end, (245, 245, 245), 2, cv2.LINE_AA)
    return pixels


_FINGERS: Final = ((-1.25, 0.9), (-0.5, 1.2), (-0.15, 1.35), (0.18, 1.3), (0.5, 1.1))
"""Where each points, in radians from the middle of the hand, and how long it is in palms."""


def _hands(rng: np.random.Generator, width: int, height: int) -> Pixels:
    """Palms with five fingers, in the colours that skin is drawn in."""
    pixels = _table(rng, width, height)
    for x, y, size in _places(rng, width, height):
        skin = _near(rng, (240, 200, 170), 15) if rng.random() < 0.7 else _colour(rng, 60)
        line = tuple(round(c * 0.6) for c in skin)
        turned = rng.uniform(-0.8, 0.8)
        for finger, reach in _FINGERS:
            angle = turned + finger
            tip = (x + np.sin(angle) * size * reach, y - np.cos(angle) * size * reach)
            start, end = (round(x), round(y)), (round(tip[0]), round(tip[1]))
            wide = max(3, round(size * 0.26))
            outline = (line[0], line[1], line[2])
            cv2.line(pixels, start, end, outline, wide + 3, cv2.LINE_AA)
            cv2.line(pixels, start, end, skin, wide, cv2.LINE_AA)
        _oval(pixels, (x, y + size * 0.1), (size * 0.48, size * 0.55), skin, np.degrees(turned))
    return pixels


_PAINTERS: Final[dict[Kind, tuple[_Painter, ...]]] = {
    Kind.TEXTURE: (_noise, _stripes, _checks, _gradient, _dots, _weave, _bricks),
    Kind.LANDSCAPE: (_hills, _sea, _forest, _village, _city),
    Kind.STILL_LIFE: (_roses, _daisies, _balls, _shoes, _hands),
}
