"""Neck, shoulders and what is worn on them: one method an outfit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cli.demo.canvas import (
    Canvas,
    Colour,
    Points,
    colour,
    darker,
    ellipse,
    lighter,
    mirrored,
    path,
    points,
    smooth,
)
from cli.demo.characters import Character, Outfit
from cli.demo.pose import INK, LINE, WHITE, Pose, lit


class Body:
    """Draws everything below the chin; ``(0, 0)`` lies at the chin, 1 is half a head's width."""

    def __init__(self, canvas: Canvas, who: Character, pose: Pose) -> None:
        self.canvas, self.who, self.pose = canvas, who, pose
        self.skin = lit(pose, who.skin)
        self.cloth, self.trim = lit(pose, who.cloth), lit(pose, who.trim)

    def _below(self, shape: Points) -> Points:
        """From heads below the chin to pixels: the body follows the head's tilt a little."""
        pose = self.pose
        angle = np.radians(0.2 * pose.tilt)
        c, s = np.cos(angle), np.sin(angle)
        x, y = shape[:, 0] - 0.06 * pose.turn, shape[:, 1]
        turned = np.stack([c * x - s * y, s * x + c * y + 0.9], axis=1)
        return np.asarray(turned * pose.head + np.array([pose.x, pose.y]))

    def _cloth(self, shape: Points, top: Colour, bottom: Colour | None = None) -> Points:
        placed = self._below(shape)
        self.canvas.outlined(placed, top, bottom, darker(top, 0.6), LINE * self.pose.head)
        return placed

    def _seam(self, line: Points, tone: Colour, width: float = 0.03) -> None:
        self.canvas.stroke(self._below(line), tone, width * self.pose.head)

    def _both(self, shape: Points, top: Colour, bottom: Colour | None = None) -> None:
        for one in (shape, mirrored(shape)):
            self._cloth(one, top, bottom)

    def draw(self) -> None:
        """Neck, body and clothes."""
        neck = smooth(
            [
                (-0.3, -0.5),
                (-0.29, 0.1),
                (-0.52, 0.42),
                (0, 0.75),
                (0.52, 0.42),
                (0.29, 0.1),
                (0.3, -0.5),
            ],
            closed=True,
        )
        torso = smooth(
            [
                (-0.36, 0.28),
                (-0.95, 0.45),
                (-1.42, 0.82),
                (-1.6, 1.7),
                (-1.75, 3.2),
                (-1.8, 7.0),
                (1.8, 7.0),
                (1.75, 3.2),
                (1.6, 1.7),
                (1.42, 0.82),
                (0.95, 0.45),
                (0.36, 0.28),
                (0.0, 0.5),
            ],
            closed=True,
        )
        cloth = self.cloth
        self._cloth(torso, cloth, darker(cloth, 0.25))
        placed_neck = self._cloth(neck, darker(self.skin, 0.08), self.skin)
        shadow = self._below(ellipse((0.03, -0.12), (0.42, 0.36)))
        self.canvas.fill(shadow, darker(self.skin, 0.36), inside=placed_neck, opacity=0.8)
        for side in (-1.0, 1.0):
            fold = smooth([(1.02, 1.35), (1.12, 1.9), (1.08, 2.9)]) * np.array([side, 1.0])
            self._seam(fold, darker(cloth, 0.4), 0.035)
        outfits: dict[Outfit, Callable[[], None]] = {
            "sailor": self._sailor,
            "hoodie": self._hoodie,
            "kimono": self._kimono,
            "coat": self._coat,
            "cloak": self._cloak,
            "cardigan": self._cardigan,
            "striped": self._striped,
            "jacket": self._jacket,
            "scarf": self._scarf,
            "fur": self._fur,
        }
        outfits[self.who.outfit]()
        if "bell" in self.who.ornaments:
            self._bell()

    def _sailor(self) -> None:
        trim = self.trim
        collar = path(
            (-0.36, 0.2),
            (-0.9, 0.4, -1.2, 0.66),
            (-0.9, 1.0, -0.1, 1.45),
            (-0.3, 0.9, -0.36, 0.2),
        )
        self._both(collar, trim, darker(trim, 0.2))
        stripe = smooth([(-1.08, 0.68), (-0.75, 0.98), (-0.2, 1.3)])
        for one in (stripe, mirrored(stripe)):
            self._seam(one, WHITE, 0.045)
        bow = colour("d8354c")
        self._both(path((0, 1.4), (0.3, 1.05, 0.62, 1.2), (0.6, 1.7, 0, 1.4)), bow)
        self._both(path((0.02, 1.42), (0.2, 1.9, 0.42, 2.2), (0.0, 2.0, 0.02, 1.42)), bow)
        self._cloth(ellipse((0, 1.4), (0.12, 0.12)), darker(bow, 0.12))

    def _hoodie(self) -> None:
        cloth, trim = self.cloth, self.trim
        hood = smooth(
            [(-0.32, 0.1), (-0.95, 0.1), (-1.12, 0.5), (-0.6, 0.86), (0, 1.12), (-0.2, 0.7)],
            closed=True,
        )
        self._both(hood, darker(cloth, 0.14), darker(cloth, 0.3))
        for side in (-1.0, 1.0):
            cord = smooth([(0.14, 1.0), (0.2, 1.4), (0.15, 1.85)]) * np.array([side, 1.0])
            self._seam(cord, trim, 0.07)
        self._cloth(
            path(
                (-0.8, 2.5),
                (0, 2.3, 0.8, 2.5),
                (0.9, 3.2, 1.0, 3.3),
                (0, 3.4, -1.0, 3.3),
                (-0.9, 3.2, -0.8, 2.5),
            ),
            darker(cloth, 0.1),
        )

    def _kimono(self) -> None:
        cloth, trim = self.cloth, self.trim
        under = path(
            (-0.4, 0.2), (-0.2, 0.7, 0.25, 1.3), (0.1, 0.9, 0.44, 0.2), (0, 0.9, -0.4, 0.2)
        )
        self._cloth(under, WHITE)
        band = path(
            (0.42, 0.15),
            (0.62, 0.4, 0.66, 0.5),
            (0.3, 1.5, -0.7, 2.3),
            (-0.9, 2.2, -0.95, 2.1),
            (0.1, 1.2, 0.42, 0.15),
        )
        self._cloth(mirrored(band), trim, darker(trim, 0.2))
        self._cloth(band, trim, darker(trim, 0.2))
        self._cloth(
            path(
                (-1.65, 2.3),
                (0, 2.15, 1.65, 2.3),
                (1.7, 2.8, 1.75, 3.1),
                (0, 3.2, -1.75, 3.1),
                (-1.7, 2.8, -1.65, 2.3),
            ),
            darker(trim, 0.1),
        )
        for x, y in ((-1.15, 1.25), (1.2, 1.5), (-1.3, 1.95), (0.95, 0.95)):
            for k in range(5):
                angle = 2 * np.pi * k / 5
                petal = ellipse((x + 0.1 * np.cos(angle), y + 0.1 * np.sin(angle)), (0.08, 0.08))
                self.canvas.fill(self._below(petal), lighter(cloth, 0.65))

    def _coat(self) -> None:
        cloth, trim = self.cloth, self.trim
        self._cloth(
            path((-0.4, 0.2), (-0.1, 0.9, 0, 1.9), (0.1, 0.9, 0.4, 0.2), (0, 0.6, -0.4, 0.2)),
            lighter(cloth, 0.82),
        )
        flap = path(
            (0.3, -0.12),
            (0.75, -0.05, 0.85, 0.2),
            (0.95, 0.8, 0.75, 1.3),
            (0.3, 1.5, 0.02, 2.1),
            (0.1, 1.0, 0.3, -0.12),
        )
        self._both(flap, lighter(cloth, 0.08), cloth)
        for side in (-1.0, 1.0):
            edge = smooth([(0.84, 0.25), (0.88, 0.75), (0.7, 1.24)]) * np.array([side, 1.0])
            self._seam(edge, trim, 0.05)
            for y in (2.4, 3.0):
                self._cloth(ellipse((side * 0.42, y), (0.1, 0.1)), trim)

    def _cloak(self) -> None:
        cloth, trim = self.cloth, self.trim
        self._cloth(
            path((-0.42, 0.2), (-0.2, 0.8, 0, 1.2), (0.2, 0.8, 0.42, 0.2), (0, 0.7, -0.42, 0.2)),
            colour("f4ead0"),
        )
        flap = path(
            (0.36, 0.1), (0.9, 0.25, 1.2, 0.62), (0.8, 1.1, 0.0, 1.35), (0.3, 0.8, 0.36, 0.1)
        )
        self._both(flap, darker(cloth, 0.1), darker(cloth, 0.25))
        self._seam(smooth([(0, 1.4), (0.05, 2.4), (-0.05, 4)]), darker(cloth, 0.45), 0.04)
        self._cloth(path((0, 1.12), (0.24, 1.2, 0, 1.6), (-0.24, 1.2, 0, 1.12)), trim)

    def _cardigan(self) -> None:
        trim = self.trim
        self._cloth(
            path((-0.55, 0.3), (-0.35, 1.4, 0, 2.6), (0.35, 1.4, 0.55, 0.3), (0, 0.8, -0.55, 0.3)),
            WHITE,
            darker(WHITE, 0.1),
        )
        wing = path(
            (0.3, 0.12),
            (0.62, 0.3, 0.7, 0.5),
            (0.5, 0.9, 0.36, 1.0),
            (0.15, 0.8, 0.02, 0.62),
            (0.2, 0.4, 0.3, 0.12),
        )
        self._both(wing, WHITE, darker(WHITE, 0.08))
        self._cloth(
            path(
                (-0.12, 0.72),
                (0, 0.66, 0.12, 0.72),
                (0.12, 0.9, 0.08, 0.95),
                (0.2, 1.6, 0.0, 2.1),
                (-0.2, 1.6, -0.08, 0.95),
                (-0.12, 0.9, -0.12, 0.72),
            ),
            trim,
            darker(trim, 0.2),
        )

    def _striped(self) -> None:
        trim = self.trim
        chest = self._below(
            smooth(
                [
                    (-1.35, 0.75),
                    (-1.6, 1.8),
                    (-1.75, 4),
                    (1.75, 4),
                    (1.6, 1.8),
                    (1.35, 0.75),
                    (0.5, 0.45),
                    (0, 0.8),
                    (-0.5, 0.45),
                ],
                closed=True,
            )
        )
        for k in range(7):
            y = 0.85 + 0.5 * k
            stripe = path(
                (-2, y), (0, y + 0.25, 2, y), (2, y + 0.1, 2, y + 0.2), (0, y + 0.45, -2, y + 0.2)
            )
            self.canvas.fill(self._below(stripe), trim, inside=chest)
        rim = path(
            (-0.55, 0.36), (0, 1.0, 0.55, 0.36), (0.6, 0.42, 0.62, 0.46), (0, 1.2, -0.62, 0.46)
        )
        self._cloth(rim, trim)

    def _jacket(self) -> None:
        cloth, trim = self.cloth, self.trim
        self._cloth(
            path(
                (-0.5, 0.3),
                (-0.5, 1.6, -0.45, 4),
                (0, 4.1, 0.45, 4),
                (0.5, 1.6, 0.5, 0.3),
                (0, 0.9, -0.5, 0.3),
            ),
            trim,
            darker(trim, 0.2),
        )
        flap = path(
            (0.36, 0.14),
            (0.9, 0.3, 0.95, 0.62),
            (0.8, 0.9, 0.62, 1.2),
            (0.5, 2.4, 0.5, 4.2),
            (0.3, 4.2, 0.42, 4.2),
            (0.42, 1.6, 0.36, 0.14),
        )
        self._both(flap, darker(cloth, 0.08), darker(cloth, 0.18))

    def _scarf(self) -> None:
        trim = self.trim
        self._cloth(
            path(
                (0.1, 0.6),
                (0.8, 1.2, 0.95, 2.6),
                (0.65, 2.7, 0.42, 2.65),
                (0.3, 1.6, -0.1, 0.9),
                (0, 0.7, 0.1, 0.6),
            ),
            darker(trim, 0.12),
            darker(trim, 0.3),
        )
        self._cloth(
            smooth(
                [
                    (-0.75, 0.05),
                    (-0.85, 0.4),
                    (-0.5, 0.78),
                    (0.1, 0.9),
                    (0.7, 0.7),
                    (0.88, 0.35),
                    (0.72, 0.05),
                    (0.35, 0.32),
                    (-0.35, 0.32),
                ],
                closed=True,
            ),
            trim,
            darker(trim, 0.15),
        )
        self._seam(smooth([(-0.75, 0.28), (0, 0.62), (0.76, 0.26)]), darker(trim, 0.4), 0.035)
        self._seam(smooth([(-0.5, 0.62), (0, 0.78), (0.5, 0.66)]), darker(trim, 0.4), 0.03)

    def _fur(self) -> None:
        cloth, trim = self.cloth, self.trim
        angle = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        out = np.where(np.sin(angle) > -0.3, 1 + 0.1 * (np.arange(36) % 2), 1.0)
        drop = 0.5 * np.exp(-3 * np.cos(angle) ** 2) * (np.sin(angle) < 0)
        ring = np.stack(
            [1.05 * out * np.cos(angle), 0.62 + 0.42 * out * np.sin(angle) + drop], axis=1
        )
        self._cloth(smooth(ring, closed=True), trim, darker(trim, 0.16))
        self._seam(smooth([(0, 0.95), (0.02, 2), (0, 4)]), darker(cloth, 0.45), 0.04)
        for y in (1.5, 2.1, 2.7):
            self._cloth(ellipse((0.16, y), (0.08, 0.08)), colour("e8d9a0"))

    def _bell(self) -> None:
        band = smooth([(-0.33, 0.12), (0, 0.34), (0.33, 0.12)])
        self._seam(band, lit(self.pose, colour("b0294a")), 0.12)
        self._cloth(ellipse((0, 0.42), (0.16, 0.16)), lit(self.pose, colour("f6c945")))
        self._seam(points((-0.1, 0.44), (0, 0.47), (0.1, 0.44)), INK, 0.04)
