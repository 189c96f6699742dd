"""Where somebody is seen: ten backgrounds, each different every time it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from cli.demo.canvas import (
    Canvas,
    Colour,
    colour,
    darker,
    ellipse,
    lighter,
    mixed,
    points,
    smooth,
)

Light: TypeAlias = tuple[Colour, float]
"""A tone that lies over whoever stands in the scene, and how strongly, 0..1."""

Scene: TypeAlias = Callable[[Canvas, np.random.Generator], Light]
"""Paints over the whole canvas and tells the light."""

DAYLIGHT: Final[Light] = ((255, 255, 255), 0.0)


def _whole(canvas: Canvas, top: Colour, bottom: Colour) -> None:
    w, h = canvas.width, canvas.height
    canvas.fill(points((0, 0), (w, 0), (w, h), (0, h)), top, bottom)


def _box(canvas: Canvas, corners: tuple[float, float, float, float], tone: Colour) -> None:
    x0, y0, x1, y1 = corners
    canvas.fill(points((x0, y0), (x1, y0), (x1, y1), (x0, y1)), tone)


def _ridge(
    canvas: Canvas, random: np.random.Generator, level: float, height: float, tone: Colour
) -> None:
    """Hills from the left to the right edge, down to the bottom."""
    w, h = canvas.width, canvas.height
    x = np.linspace(-0.1, 1.1, 8) * w
    y = (level + height * random.uniform(-1, 1, 8)) * h
    line = smooth(np.stack([x, y], axis=1))
    ground = np.concatenate([line, points((1.1 * w, h + 2), (-0.1 * w, h + 2))])
    canvas.fill(ground, tone, darker(tone, 0.25))


def _cloud(canvas: Canvas, x: float, y: float, size: float, tone: Colour) -> None:
    for dx, dy, radius in (
        (-0.9, 0.1, 0.45),
        (-0.3, -0.2, 0.62),
        (0.4, -0.1, 0.55),
        (0.95, 0.15, 0.4),
    ):
        canvas.fill(
            ellipse((x + dx * size, y + dy * size), (radius * size, radius * size)),
            lighter(tone, 0.4), tone, opacity=0.92,
        )  # fmt: skip
    canvas.fill(ellipse((x, y + 0.3 * size), (1.4 * size, 0.26 * size)), tone, opacity=0.92)


def sky(canvas: Canvas, random: np.random.Generator) -> Light:
    """A summer sky over hills."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("4fa3e3"), colour("d3effc"))
    for _ in range(5):
        _cloud(
            canvas, random.uniform(0, w), random.uniform(0.05, 0.55) * h,
            random.uniform(0.07, 0.16) * w, colour("f3f9fe"),
        )  # fmt: skip
    _ridge(canvas, random, 0.78, 0.04, colour("8fc98a"))
    _ridge(canvas, random, 0.88, 0.03, colour("63ab66"))
    return DAYLIGHT


def night(canvas: Canvas, random: np.random.Generator) -> Light:
    """Stars and a moon."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("141338"), colour("48407e"))
    for _ in range(90):
        radius = random.uniform(0.6, 2.0)
        star = ellipse((random.uniform(0, w), random.uniform(0, 0.85) * h), (radius, radius))
        canvas.fill(star, colour("fff6d6"), opacity=float(random.uniform(0.4, 1)))
    x, y, r = random.uniform(0.15, 0.85) * w, random.uniform(0.12, 0.3) * h, 0.1 * w
    canvas.fill(ellipse((x, y), (1.7 * r, 1.7 * r)), colour("fff0b8"), opacity=0.25, blur=0.4 * r)
    canvas.fill(ellipse((x, y), (r, r)), colour("fff4c9"), colour("f3dd9b"))
    for dx, dy, k in ((-0.3, -0.2, 0.2), (0.35, 0.25, 0.14), (0.1, -0.5, 0.1)):
        canvas.fill(ellipse((x + dx * r, y + dy * r), (k * r, k * r)), colour("e7cf8a"))
    _ridge(canvas, random, 0.9, 0.03, colour("231d49"))
    return colour("3b3a86"), 0.14


def room(canvas: Canvas, random: np.random.Generator) -> Light:
    """A wall with a window, a shelf of books and a plant."""
    w, h = canvas.width, canvas.height
    wall = [colour("f2dfc4"), colour("dfe6cf"), colour("e9d3da")][random.integers(3)]
    _whole(canvas, lighter(wall, 0.2), darker(wall, 0.12))
    x, y = random.uniform(-0.05, 0.45) * w, 0.08 * h
    _box(canvas, (x, y, x + 0.52 * w, y + 0.5 * h), colour("fffaf0"))
    pane = points(
        (x + 0.025 * w, y + 0.02 * h), (x + 0.495 * w, y + 0.02 * h),
        (x + 0.495 * w, y + 0.48 * h), (x + 0.025 * w, y + 0.48 * h),
    )  # fmt: skip
    canvas.fill(pane, colour("8fcbef"), colour("e4f5fb"))
    canvas.fill(
        ellipse((x + 0.2 * w, y + 0.52 * h), (0.35 * w, 0.14 * h)), colour("7fbf74"), inside=pane
    )
    _box(canvas, (x + 0.25 * w, y, x + 0.27 * w, y + 0.5 * h), colour("fffaf0"))
    _box(canvas, (x, y + 0.24 * h, x + 0.52 * w, y + 0.26 * h), colour("fffaf0"))
    shelf = x + 0.6 * w if x < 0.25 * w else x - 0.42 * w
    for row in range(3):
        level = (0.3 + 0.22 * row) * h
        at = shelf
        while at < shelf + 0.36 * w:
            thick = random.uniform(0.02, 0.045) * w
            tall = random.uniform(0.1, 0.16) * h
            tone = mixed(
                colour(["c6584b", "4b7fa8", "d9a441", "6f9a5d", "8a5f9e"][random.integers(5)]),
                wall, 0.25,
            )  # fmt: skip
            _box(canvas, (at, level - tall, at + thick - 1.5, level), tone)
            at += thick
        _box(
            canvas, (shelf - 0.02 * w, level, shelf + 0.4 * w, level + 0.018 * h), colour("9a6b43")
        )
    return colour("ffe2b0"), 0.05


def dots(canvas: Canvas, random: np.random.Generator) -> Light:
    """A printed pattern of dots."""
    w, h = canvas.width, canvas.height
    ground = [colour("fbd0d9"), colour("cfe8f6"), colour("e3d7f5"), colour("fdeab8")][
        random.integers(4)
    ]
    _whole(canvas, ground, mixed(ground, (255, 255, 255), 0.3))
    step, shift = w / random.uniform(6, 9), random.uniform(0, 1)
    for row in range(int(h / step) + 3):
        for column in range(int(w / step) + 3):
            middle = ((column - shift + 0.5 * (row % 2)) * step, (row - shift) * step)
            canvas.fill(ellipse(middle, (0.2 * step, 0.2 * step)), lighter(ground, 0.75))
    return DAYLIGHT


def stripes(canvas: Canvas, random: np.random.Generator) -> Light:
    """Rays from behind the head, as on a magazine's cover."""
    w, h = canvas.width, canvas.height
    one, other = [
        (colour("ffd166"), colour("ffbf3f")), (colour("8fd3c7"), colour("74c2b5")),
        (colour("f79a8e"), colour("f2857a")), (colour("a7b8f0"), colour("93a6e8")),
    ][random.integers(4)]  # fmt: skip
    _whole(canvas, one, one)
    far, start = 1.5 * max(w, h), random.uniform(0, 1)
    for k in range(12):
        a, b = 2 * np.pi * (k + start) / 12, 2 * np.pi * (k + 0.5 + start) / 12
        canvas.fill(
            points(
                (w / 2, 0.45 * h),
                (w / 2 + far * np.cos(a), 0.45 * h + far * np.sin(a)),
                (w / 2 + far * np.cos(b), 0.45 * h + far * np.sin(b)),
            ),
            other,
        )
    return DAYLIGHT


def sunset(canvas: Canvas, random: np.random.Generator) -> Light:
    """The sun going down over the sea."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("6d4a9c"), colour("ffb25a"))
    x = random.uniform(0.2, 0.8) * w
    canvas.fill(ellipse((x, 0.62 * h), (0.3 * w, 0.3 * w)), colour("ffe39a"), opacity=0.35, blur=14)
    canvas.fill(ellipse((x, 0.62 * h), (0.15 * w, 0.15 * w)), colour("fff0b3"), colour("ffc85c"))
    for _ in range(4):
        _cloud(
            canvas, random.uniform(0, w), random.uniform(0.08, 0.4) * h,
            random.uniform(0.06, 0.12) * w, colour("e58a8a"),
        )  # fmt: skip
    sea = points((0, 0.68 * h), (w, 0.68 * h), (w, h), (0, h))
    canvas.fill(sea, colour("d9706a"), colour("3d2f6b"))
    for _ in range(30):
        y = random.uniform(0.7, 1) * h
        middle = x + random.normal(0, 0.14 * w)
        half = random.uniform(0.02, 0.09) * w
        canvas.stroke(
            points((middle - half, y), (middle, y + 1), (middle + half, y)),
            colour("ffd58a"), 3, opacity=0.7,
        )  # fmt: skip
    return colour("ff9a5a"), 0.13


def forest(canvas: Canvas, random: np.random.Generator) -> Light:
    """Trunks, leaves and light between them."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("a9d8a0"), colour("4f8f5b"))
    for depth in range(3):
        tone = mixed(colour("bfe0b0"), colour("4a3a2e"), 0.25 + 0.3 * depth)
        for _ in range(4):
            x, half = random.uniform(0, w), (0.012 + 0.014 * depth) * w
            canvas.fill(
                points((x - half, 0), (x + half, 0), (x + 1.4 * half, h), (x - 1.4 * half, h)),
                tone, darker(tone, 0.2),
            )  # fmt: skip
    for _ in range(46):
        x, y = random.uniform(0, w), random.uniform(-0.1, 0.3) * h
        r = random.uniform(0.04, 0.09) * w
        green = mixed(colour("3e8a4a"), colour("a5d46a"), float(random.uniform()))
        canvas.fill(ellipse((x, y), (r, 0.7 * r)), green, darker(green, 0.2))
    for _ in range(12):
        r = random.uniform(0.01, 0.03) * w
        canvas.fill(
            ellipse((random.uniform(0, w), random.uniform(0.3, 1) * h), (r, r)),
            colour("fbffd0"), opacity=0.4,
        )  # fmt: skip
    return colour("8fd07a"), 0.06


def city(canvas: Canvas, random: np.random.Generator) -> Light:
    """Houses with lit windows in the evening."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("2b3767"), colour("e59bb0"))
    for depth in range(2):
        tone = [colour("5a5a90"), colour("33345f")][depth]
        x = -random.uniform(0, 0.1) * w
        while x < w:
            wide = random.uniform(0.12, 0.22) * w
            top = random.uniform(0.2 + 0.2 * depth, 0.5 + 0.15 * depth) * h
            _box(canvas, (x, top, x + wide, h), tone)
            for row in range(int((h - top) / (0.06 * h))):
                for column in range(3):
                    if random.uniform() < 0.5:
                        at = x + (0.16 + 0.27 * column) * wide
                        level = top + (0.02 + 0.06 * row) * h
                        _box(
                            canvas,
                            (at, level, at + 0.15 * wide, level + 0.03 * h),
                            colour("ffdf8e"),
                        )
            x += wide + random.uniform(0, 0.03) * w
    return colour("8a6bb0"), 0.1


def blossoms(canvas: Canvas, random: np.random.Generator) -> Light:
    """Petals drifting in spring."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("bfe3f5"), colour("fdeef2"))
    branch = smooth(
        [(-0.05 * w, 0.1 * h), (0.3 * w, 0.14 * h), (0.6 * w, 0.07 * h), (1.05 * w, 0.12 * h)]
    )
    canvas.stroke(branch, colour("6b4636"), 0.03 * w, taper=(1, 0.3))
    for _ in range(70):
        x = random.uniform(0, w)
        y = abs(random.normal(0.02, 0.13)) * h
        pink = mixed(colour("f9b4c8"), colour("fff0f4"), float(random.uniform()))
        canvas.fill(ellipse((x, y), (0.028 * w, 0.028 * w)), pink)
    for _ in range(26):
        x, y = random.uniform(0, w), random.uniform(0.2, 1) * h
        petal = ellipse((x, y), (0.018 * w, 0.01 * w), turned=float(random.uniform(0, 180)))
        canvas.fill(petal, colour("f7a8bf"))
    return colour("ffd9e4"), 0.05


def stage(canvas: Canvas, random: np.random.Generator) -> Light:
    """Spotlights and confetti."""
    w, h = canvas.width, canvas.height
    _whole(canvas, colour("2a1245"), colour("6d2a7d"))
    for k in range(4):
        x = (0.1 + 0.27 * k) * w
        lean = random.uniform(-0.25, 0.25) * w
        tone = colour(["ff6fae", "6fd3ff", "ffe26f", "9dff9a"][k])
        beam = points((x - 0.02 * w, -4), (x + 0.02 * w, -4),
                      (x + lean + 0.16 * w, h), (x + lean - 0.16 * w, h))  # fmt: skip
        canvas.fill(beam, tone, colour("6d2a7d"), opacity=0.35)
    for _ in range(34):
        long, narrow = random.uniform(0.012, 0.02) * w, random.uniform(0.004, 0.009) * w
        angle = random.uniform(0, np.pi)
        along = np.array([np.cos(angle), np.sin(angle)]) * long
        across = np.array([-np.sin(angle), np.cos(angle)]) * narrow
        middle = np.array([random.uniform(0, w), random.uniform(0, h)])
        tone = colour(["ff8fbd", "8fe1ff", "fff08f", "b5ffb0"][random.integers(4)])
        strip = (along + across, along - across, -along - across, -along + across)
        canvas.fill(np.stack(strip) + middle, tone, opacity=0.9)
    return colour("c05ab0"), 0.09


SCENES: Final[tuple[Scene, ...]] = (
    sky, room, night, dots, sunset, forest, stripes, city, blossoms, stage
)  # fmt: skip
