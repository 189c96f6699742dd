"""One character in one pose: head, hair, face, clothes and ornaments.

Lengths are in heads: 1 is half the width of a head, ``(0, 0)`` lies between the cheeks, the chin
at ``y = 1``. What lies nearer to the viewer moves further when the head turns, which is all that
is needed to make a flat drawing look round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cli.demo.canvas import (
    Canvas,
    Colour,
    Points,
    colour,
    darker,
    ellipse,
    lighter,
    mirrored,
    mixed,
    path,
    points,
    smooth,
)
from cli.demo.characters import Character
from cli.demo.clothes import Body
from cli.demo.pose import INK, LINE, WHITE, Pose, lit


class Portrait:
    """Draws one character in one pose on a canvas."""

    def __init__(self, canvas: Canvas, who: Character, pose: Pose) -> None:
        self.canvas, self.who, self.pose = canvas, who, pose
        self.skin = lit(self.pose, who.skin)
        self.hair = lit(self.pose, who.hair_tone)
        self.hair_line = darker(self.hair, 0.62)
        self.skin_line = darker(self.skin, 0.6)

    def draw(self) -> None:
        """Everything, from the back to the front."""
        self._back_hair()
        Body(self.canvas, self.who, self.pose).draw()
        self._ears()
        self._face()
        self._front_hair()
        # Drawn over the hair, so that a fringe does not hide what the face says.
        for side in (-1.0, 1.0):
            self._brow(side)
        self._ornaments()

    # Geometry

    def _at(self, shape: Points, depth: float | NDArray[np.float64] = 0.0) -> Points:
        """From heads to pixels; `depth` says how far in front of the neck a shape lies."""
        pose = self.pose
        squeezed = shape[:, 0] * (1 - 0.07 * abs(pose.turn))
        x = squeezed + pose.turn * depth
        y = shape[:, 1] + 0.8 * pose.nod * depth
        c, s = np.cos(np.radians(pose.tilt)), np.sin(np.radians(pose.tilt))
        # The head leans over its neck, not over its own middle.
        pivot = 0.9
        turned = np.stack([c * x - s * (y - pivot), pivot + s * x + c * (y - pivot)], axis=1)
        return np.asarray(turned * pose.head + np.array([pose.x, pose.y]))

    def _shape(
        self,
        shape: Points,
        top: Colour,
        bottom: Colour | None = None,
        depth: float | NDArray[np.float64] = 0.0,
        line: Colour | None = None,
    ) -> Points:
        placed = self._at(shape, depth)
        self.canvas.outlined(placed, top, bottom, line or darker(top, 0.6), LINE * self.pose.head)
        return placed

    def _line(
        self,
        line: Points,
        tone: Colour,
        width: float,
        depth: float = 0.0,
        *,
        taper: tuple[float, float] = (0.2, 0.2),
        inside: Points | None = None,
        opacity: float = 1.0,
    ) -> None:
        self.canvas.stroke(
            self._at(line, depth),
            tone,
            width * self.pose.head,
            taper=taper,
            inside=inside,
            opacity=opacity,
        )

    # Hair

    def _lock(self, shape: Points, depth: float, lines: int = 3) -> Points:
        """A mass of hair with a few strands drawn into it."""
        tone = self.hair
        placed = self._shape(shape, tone, darker(tone, 0.22), depth, self.hair_line)
        low, high = shape.min(axis=0), shape.max(axis=0)
        for i in range(lines):
            x = low[0] + (high[0] - low[0]) * (i + 0.8) / (lines + 0.6)
            sway = 0.1 * np.sin(2.1 * i + low[0])
            strand = smooth([(x, low[1]), (x + sway, (low[1] + high[1]) / 2), (x - sway, high[1])])
            self._line(strand, darker(tone, 0.3), 0.03, depth, inside=placed, opacity=0.75)
        return placed

    def _back_hair(self) -> None:
        cut = self.who.hair
        behind = -0.1
        if cut in {"princess", "straight"}:
            length = 3.3 if cut == "princess" else 2.7
            side = [(-0.6, -1.1), (-1.14, -0.4), (-1.22, 0.8), (-1.3, length - 0.3)]
            shape = smooth(
                [
                    *side,
                    (-0.7, length),
                    (0, length - 0.15),
                    (0.7, length),
                    *[(-x, y) for x, y in reversed(side)],
                ],
                closed=True,
            )
            self._lock(shape, behind, 7)
        elif cut == "wavy":
            side = [
                (-0.6, -1.15),
                (-1.2, -0.4),
                (-1.18, 0.3),
                (-1.52, 0.9),
                (-1.34, 1.5),
                (-1.7, 2.1),
                (-1.4, 2.8),
            ]
            shape = smooth(
                [*side, (-0.6, 2.5), (0, 2.75), (0.6, 2.5), *[(-x, y) for x, y in side[::-1]]],
                closed=True,
            )
            self._lock(shape, behind, 8)
        elif cut == "twin tails":
            tail = smooth(
                [
                    (-0.95, -0.85),
                    (-1.7, -1.0),
                    (-2.25, -0.1),
                    (-2.3, 1.2),
                    (-1.85, 2.6),
                    (-1.72, 1.6),
                    (-1.5, 2.2),
                    (-1.35, 1.0),
                    (-1.3, 0.0),
                ],
                closed=True,
            )
            for one in (tail, mirrored(tail)):
                self._lock(one, behind, 4)
            self._lock(ellipse((0, -0.15), (1.12, 1.1)), behind, 0)
        elif cut == "ponytail":
            tail = smooth(
                [
                    (0.2, -1.15),
                    (1.1, -1.5),
                    (1.95, -0.7),
                    (2.0, 0.6),
                    (1.6, 1.9),
                    (1.5, 0.9),
                    (1.25, 1.3),
                    (1.2, 0.2),
                    (0.8, -0.6),
                ],
                closed=True,
            )
            self._lock(tail, behind - 0.1, 4)
            self._lock(ellipse((0, -0.15), (1.08, 1.1)), behind, 0)
        elif cut == "bob":
            side = [(-0.6, -1.15), (-1.18, -0.4), (-1.28, 0.4), (-1.16, 1.02), (-0.7, 1.12)]
            shape = smooth([*side, (0, 0.9), *[(-x, y) for x, y in side[::-1]]], closed=True)
            self._lock(shape, behind, 5)
        elif cut == "buns":
            for x in (-0.98, 0.98):
                self._lock(ellipse((x, -1.22), (0.52, 0.5)), behind, 2)
            angle = np.linspace(0, 2 * np.pi, 28, endpoint=False)
            curls = 1.17 + 0.07 * (np.arange(28) % 2)
            shape = smooth(
                np.stack([curls * np.cos(angle), 0.0 + curls * 1.05 * np.sin(angle)], axis=1),
                closed=True,
            )
            self._lock(shape, behind, 0)
        else:
            self._lock(ellipse((0, -0.1), (1.06, 1.05)), behind, 0)

    def _fringe(self, crown: Points, tips: Points, valleys: Points, depth: float) -> Points:
        """Hair in front: over the crown, and down in locks from the right to the left."""
        bends: list[tuple[float, float, float, float]] = []
        x, y = crown[-1]
        for (tip_x, tip_y), (valley_x, valley_y) in zip(tips, valleys, strict=True):
            bends.append((x + 0.1 * (tip_x - x), y + 0.6 * (tip_y - y), tip_x, tip_y))
            bends.append(
                (
                    tip_x + 0.35 * (valley_x - tip_x),
                    tip_y + 0.6 * (valley_y - tip_y),
                    valley_x,
                    valley_y,
                )
            )
            x, y = valley_x, valley_y
        shape = np.concatenate([crown, path((float(crown[-1, 0]), float(crown[-1, 1])), *bends)])
        tone = self.hair
        face = self._at(self._outline())
        shadow = shape + np.array([0.02, 0.1])
        self.canvas.fill(self._at(shadow, depth), darker(self.skin, 0.28), inside=face, opacity=0.8)
        placed = self._shape(shape, lighter(tone, 0.1), darker(tone, 0.08), depth, self.hair_line)
        self._shine(placed, depth)
        for (tip_x, tip_y), (valley_x, _) in zip(tips, valleys, strict=True):
            root = (0.35 * tip_x, -1.12)
            strand = smooth([(0.75 * tip_x + 0.25 * root[0], tip_y - 0.5), (tip_x, tip_y - 0.02)])
            self._line(
                strand,
                darker(tone, 0.25),
                0.03,
                depth,
                taper=(0.0, 0.5),
                inside=placed,
                opacity=0.7,
            )
            parting = smooth([(0.5 * valley_x, -0.95), (0.85 * valley_x, -0.6), (valley_x, -0.3)])
            self._line(
                parting, self.hair_line, 0.03, depth, taper=(0.0, 1.0), inside=placed, opacity=0.8
            )
        return placed

    def _shine(self, placed: Points, depth: float) -> None:
        """The bright ring that lacquered hair shows."""
        upper = smooth([(-0.98, -0.42), (-0.55, -0.78), (0, -0.88), (0.55, -0.78), (0.98, -0.42)])
        teeth = np.linspace(0.98, -0.98, 23)
        arc = -0.88 + 0.46 * (teeth / 0.98) ** 2
        high = (0.11 + 0.1 * (np.arange(23) % 2)) * (1 - (teeth / 0.98) ** 4)
        lower = np.stack([teeth, arc + high], axis=1)
        shape = np.concatenate([upper, lower])
        self.canvas.fill(
            self._at(shape, depth), lighter(self.hair, 0.55), inside=placed, opacity=0.6
        )

    def _front_hair(self) -> None:
        cut = self.who.hair
        front = 0.1
        round_crown = smooth(
            [
                (-1.08, 0.25),
                (-1.13, -0.35),
                (-0.85, -0.98),
                (0, -1.3),
                (0.85, -0.98),
                (1.13, -0.35),
                (1.08, 0.25),
            ]
        )
        if cut in {"princess", "straight", "bob"}:
            long = {"princess": 1.15, "straight": 1.35, "bob": 0.78}[cut]
            tips = points(
                (1.06, long),
                (0.52, -0.1),
                (0.16, -0.08),
                (-0.2, -0.08),
                (-0.55, -0.1),
                (-1.06, long),
            )
            if cut == "straight":
                tips = points(
                    (1.04, long),
                    (0.62, -0.16),
                    (0.3, -0.04),
                    (-0.14, 0.1),
                    (-0.5, -0.14),
                    (-1.04, long),
                )
            valleys = points(
                (0.76, -0.28),
                (0.34, -0.2),
                (-0.02, -0.2),
                (-0.38, -0.2),
                (-0.76, -0.28),
                (-1.08, 0.25),
            )
            self._fringe(round_crown, tips, valleys, front)
        elif cut == "twin tails":
            tips = points(
                (0.98, 0.75),
                (0.58, -0.1),
                (0.12, 0.05),
                (-0.3, -0.1),
                (-0.64, -0.05),
                (-0.98, 0.75),
            )
            valleys = points(
                (0.76, -0.25),
                (0.36, -0.3),
                (-0.05, -0.28),
                (-0.46, -0.3),
                (-0.78, -0.2),
                (-1.08, 0.25),
            )
            self._fringe(round_crown, tips, valleys, front)
        elif cut == "wavy":
            tips = points((1.15, 1.35), (0.74, -0.12), (-0.72, -0.08), (-1.15, 1.35))
            valleys = points((0.86, -0.15), (0.1, -0.78), (-0.86, -0.12), (-1.08, 0.25))
            self._fringe(round_crown, tips, valleys, front)
        elif cut == "buns":
            angle = np.radians(np.linspace(172, 368, 25))
            radius = 1.14 + 0.07 * (np.arange(25) % 2)
            crown = smooth(
                np.stack([radius * np.cos(angle), 1.12 * radius * np.sin(angle)], axis=1)
            )
            tips = points(
                (1.04, 0.4),
                (0.74, -0.18),
                (0.42, -0.3),
                (0.08, -0.34),
                (-0.28, -0.3),
                (-0.66, -0.18),
                (-1.04, 0.4),
            )
            valleys = points(
                (0.86, -0.35),
                (0.58, -0.5),
                (0.26, -0.56),
                (-0.1, -0.56),
                (-0.46, -0.5),
                (-0.82, -0.35),
                (float(crown[0, 0]), float(crown[0, 1])),
            )
            self._fringe(crown, tips, valleys, front)
        else:
            self._short_front(cut, front)

    def _short_front(self, cut: str, front: float) -> None:
        if cut == "ponytail":
            crown = smooth(
                [
                    (-1.05, 0.3),
                    (-1.12, -0.35),
                    (-0.85, -1.0),
                    (0, -1.32),
                    (0.85, -1.0),
                    (1.12, -0.35),
                    (1.05, 0.3),
                ]
            )
            tips = points((0.98, 0.6), (0.6, -0.12), (-0.3, 0.06), (-0.68, -0.04), (-1.0, 0.7))
            valleys = points((0.8, -0.3), (0.1, -0.5), (-0.56, -0.3), (-0.86, -0.2), (-1.05, 0.3))
        else:
            spikes = 9 if cut == "spiky" else 11
            reach = 0.46 if cut == "spiky" else 0.2
            angle = np.radians(np.linspace(176, 364, 2 * spikes + 1))
            out = np.where(np.arange(2 * spikes + 1) % 2 == 1, 1.16 + reach, 1.12)
            # Spikes lean to one side, as if the wind came from the left.
            lean = np.where(np.arange(2 * spikes + 1) % 2 == 1, 0.12, 0.0)
            crown = np.stack(
                [out * np.cos(angle + lean), 1.08 * out * np.sin(angle + lean)], axis=1
            )
            if cut == "spiky":
                tips = points(
                    (1.0, 0.42),
                    (0.66, -0.1),
                    (0.3, 0.08),
                    (-0.08, -0.12),
                    (-0.46, 0.05),
                    (-0.8, -0.1),
                    (-1.0, 0.42),
                )
            else:
                tips = points(
                    (1.0, 0.55),
                    (0.7, 0.0),
                    (0.36, -0.1),
                    (0.02, 0.2),
                    (-0.36, 0.05),
                    (-0.72, 0.12),
                    (-1.0, 0.55),
                )
            valleys = points(
                (0.82, -0.3),
                (0.48, -0.36),
                (0.12, -0.4),
                (-0.26, -0.4),
                (-0.62, -0.36),
                (-0.88, -0.3),
                (float(crown[0, 0]), float(crown[0, 1])),
            )
        self._fringe(crown, tips, valleys, front)

    # Face

    def _outline(self) -> Points:
        """The line of the face; the chin leads where the head turns."""
        right = [
            (0.55, -0.85),
            (0.9, -0.35),
            (0.95, 0.1),
            (0.86, 0.46),
            (0.6, 0.78),
            (0.26, 0.98),
        ]
        shape = smooth(
            [(0, -1.0), *right, (0, 1.03), *[(-x, y) for x, y in right[::-1]]], closed=True
        )
        lead = 0.12 * np.clip(shape[:, 1], 0, 1)
        shape = shape.copy()
        shape[:, 0] += self.pose.turn * lead
        return shape

    def _ears(self) -> None:
        elf = "elf ears" in self.who.ornaments
        for side in (-1.0, 1.0):
            if elf:
                ear = path((0.84, -0.05), (1.25, -0.5, 1.85, -0.62), (1.62, 0.05, 0.84, 0.4))
                inner = path((0.95, 0.0), (1.25, -0.32, 1.6, -0.46), (1.42, 0.0, 0.95, 0.25))
            else:
                ear = smooth(
                    [(0.86, -0.08), (1.08, -0.1), (1.12, 0.16), (0.98, 0.4), (0.82, 0.36)],
                    closed=True,
                )
                inner = smooth([(0.94, 0.02), (1.04, 0.04), (1.0, 0.26)], closed=True)
            placing = np.array([side, 1.0])
            self._shape(ear * placing, self.skin, darker(self.skin, 0.1), -0.06, self.skin_line)
            self.canvas.fill(self._at(inner * placing, -0.06), darker(self.skin, 0.2))

    def _face(self) -> None:
        face = self._shape(
            self._outline(), lighter(self.skin, 0.08), darker(self.skin, 0.05), 0.0, self.skin_line
        )
        mood, skin = self.pose.mood, self.skin
        blush = mixed(skin, (236, 84, 96), 0.6)
        strong = 0.75 if mood in {"shy", "laugh", "cheer"} else 0.38
        for side in (-1.0, 1.0):
            cheek = self._at(ellipse((side * 0.56, 0.5), (0.19, 0.1)), 0.16)
            self.canvas.fill(cheek, blush, inside=face, opacity=strong, blur=0.05 * self.pose.head)
            if mood == "shy":
                for k in range(3):
                    x = side * 0.56 + 0.08 * (k - 1)
                    self._line(
                        points((x + 0.03, 0.45), (x, 0.5), (x - 0.03, 0.55)),
                        darker(blush, 0.15),
                        0.022,
                        0.16,
                        inside=face,
                    )
        nose = smooth([(0.02, 0.36), (0.07, 0.44), (0.0, 0.47)])
        self._line(nose, darker(skin, 0.42), 0.03, 0.26, taper=(0.1, 0.6))
        self._mouth()
        for side in (-1.0, 1.0):
            self._eye(side, face)

    def _mouth(self) -> None:
        mood, ink = self.pose.mood, darker(self.skin, 0.68)
        y, depth = 0.71, 0.2
        if mood in {"laugh", "cheer"}:
            wide = 0.27 if mood == "laugh" else 0.22
            deep = 0.27 if mood == "laugh" else 0.2
            shape = path(
                (-wide, y - 0.07),
                (0, y - 0.02, wide, y - 0.07),
                (wide * 0.75, y + deep, 0, y + deep),
                (-wide * 0.75, y + deep, -wide, y - 0.07),
            )
            placed = self._shape(shape, colour("8e2740"), None, depth, ink)
            tongue = self._at(ellipse((0, y + deep), (wide * 0.6, deep * 0.5)), depth)
            self.canvas.fill(tongue, colour("ef8d8f"), inside=placed)
            teeth = self._at(
                path((-wide, y - 0.1), (0, y - 0.04, wide, y - 0.1), (0, y + 0.06, -wide, y - 0.1)),
                depth,
            )
            self.canvas.fill(teeth, WHITE, inside=placed)
        elif mood == "surprise":
            self._shape(ellipse((0, y + 0.02), (0.08, 0.11)), colour("8e2740"), None, depth, ink)
        else:
            bend = {"calm": 0.03, "smile": 0.11, "wink": 0.12, "shy": 0.07, "cross": -0.08}[mood]
            half = 0.14 if mood in {"calm", "cross", "shy"} else 0.2
            line = smooth([(-half, y - bend / 2), (0, y + bend / 2), (half, y - bend / 2)])
            self._line(line, ink, 0.045, depth, taper=(0.35, 0.35))
            if mood != "cross":
                lip = smooth([(-0.06, y + 0.1), (0, y + 0.115), (0.06, y + 0.1)])
                self._line(lip, darker(self.skin, 0.3), 0.025, depth, opacity=0.6)

    def _eye(self, side: float, face: Points) -> None:
        mood, pose = self.pose.mood, self.pose
        depth = 0.2
        # The eye on the far side is seen at an angle.
        narrow = 1 - 0.22 * max(0.0, side * pose.turn)
        place = np.array([side * 0.44, 0.16])
        size = np.array([side * narrow, 1.0])
        lash = mixed(INK, self.hair_line, 0.35)

        def put(shape: Points) -> Points:
            return np.asarray(shape * size + place)

        closed = mood == "laugh" or (mood == "wink" and side > 0)
        if closed:
            arc = smooth([(-0.25, 0.1), (-0.12, -0.06), (0.02, -0.09), (0.17, -0.02), (0.27, 0.1)])
            self._line(put(arc), lash, 0.085, depth, taper=(0.3, 0.5))
            for k in (0.0, 0.09):
                hair = points((0.2 + k, 0.0 + k / 2), (0.27 + k, -0.04 + k / 2), (0.33 + k, -0.1))
                self._line(put(hair), lash, 0.03, depth, taper=(0.8, 0.0))
            return
        tall = self.who.eye_height * {"surprise": 1.18, "cross": 0.82, "shy": 0.9}.get(mood, 1.0)
        upper = smooth(
            [
                (-0.26, 0.1),
                (-0.19, -0.14 * tall),
                (-0.02, -0.26 * tall),
                (0.16, -0.2 * tall),
                (0.28, 0.0),
            ]
        )
        lower = smooth(
            [
                (0.28, 0.0),
                (0.21, 0.2 * tall),
                (0.0, 0.27 * tall),
                (-0.18, 0.22 * tall),
                (-0.26, 0.1),
            ]
        )
        white = self._at(put(np.concatenate([upper, lower])), depth)
        self.canvas.fill(white, darker(WHITE, 0.12), WHITE, inside=face)
        iris = lit(self.pose, self.who.eyes)
        # Looking at the viewer, both eyes turn a little towards the nose.
        gaze = 0.05 * pose.turn
        middle = (gaze * side - 0.025, 0.02 + 0.02 * pose.nod)
        radii = (0.172, 0.235 * tall)
        ring = self._at(put(ellipse(middle, radii)), depth)
        self.canvas.fill(ring, darker(iris, 0.72), darker(iris, 0.4), inside=white)
        inner = self._at(put(ellipse(middle, (radii[0] * 0.84, radii[1] * 0.86))), depth)
        self.canvas.fill(inner, darker(iris, 0.45), lighter(iris, 0.25), inside=white)
        glow = put(ellipse((middle[0], middle[1] + 0.12 * tall), (0.1, 0.085 * tall)))
        self.canvas.fill(self._at(glow, depth), lighter(iris, 0.5), inside=inner, opacity=0.75)
        pupil = put(ellipse((middle[0], middle[1] - 0.01), (0.07, 0.11 * tall)))
        self.canvas.fill(self._at(pupil, depth), darker(iris, 0.85), inside=white)
        shade = np.concatenate([upper, (upper + np.array([0.0, 0.1]))[::-1]])
        self.canvas.fill(self._at(put(shade), depth), INK, inside=white, opacity=0.3)
        # Highlights come from one light, so they do not change sides with the eye.
        for dx, dy, rx, ry in ((-0.075, -0.1, 0.062, 0.08), (0.08, 0.12, 0.03, 0.04)):
            spot = ellipse((0, 0), (rx, ry * tall))
            spot = spot + place + np.array([middle[0] * side + dx, middle[1] + dy * tall])
            self.canvas.fill(self._at(spot, depth), WHITE)
        self._line(put(lower[6:-16]), lash, 0.028, depth, taper=(0.6, 0.0), opacity=0.85)
        tip = np.array([[0.34, -0.06]])
        self._line(put(np.concatenate([upper[8:], tip])), lash, 0.095, depth, taper=(0.1, 0.15))
        crease = smooth([(-0.16, -0.27 * tall), (0.02, -0.36 * tall), (0.2, -0.29 * tall)])
        self._line(put(crease), darker(self.skin, 0.45), 0.022, depth)

    def _brow(self, side: float) -> None:
        mood = self.pose.mood
        inner, outer = {
            "cross": (0.13, -0.05),
            "surprise": (-0.1, -0.06),
            "shy": (-0.09, 0.06),
            "cheer": (-0.05, 0.0),
            "laugh": (-0.06, 0.02),
        }.get(mood, (0.0, 0.02))
        y = -0.33
        line = smooth([(0.2, y + inner), (0.42, y - 0.07 + (inner + outer) / 3), (0.68, y + outer)])
        heavy = 0.085 if self.who.eye_height < 0.9 else 0.055
        tone = darker(self.hair, 0.45)
        self._line(line * np.array([side, 1.0]), tone, heavy, 0.16, taper=(0.7, 0.1))

    # Ornaments

    def _ornaments(self) -> None:
        draw = {
            "ribbons": self._ribbons,
            "plaster": self._plaster,
            "flower": self._flower,
            "earring": self._earring,
            "circlet": self._circlet,
            "glasses": self._glasses,
            "cat ears": self._cat_ears,
            "hoops": self._hoops,
            "scar": self._scar,
            "snowflake": self._snowflake,
        }
        for ornament in self.who.ornaments:
            if ornament in draw:
                draw[ornament]()

    def _ribbons(self) -> None:
        tone = lit(self.pose, colour("d8354c"))
        wing = path((0, 0), (0.25, -0.4, 0.5, -0.28), (0.5, 0.2, 0, 0))
        for side in (-1.0, 1.0):
            middle = np.array([side * 1.05, -0.82])
            for one in (wing, mirrored(wing), wing * np.array([0.7, -1.2])):
                self._shape(one + middle, tone, darker(tone, 0.15), 0.0)
            self._shape(ellipse((side * 1.05, -0.82), (0.1, 0.1)), darker(tone, 0.1), None, 0.0)

    def _plaster(self) -> None:
        tone = lit(self.pose, colour("f6ead8"))
        shape = path(
            (-0.2, 0.36),
            (0, 0.3, 0.2, 0.36),
            (0.26, 0.41, 0.2, 0.47),
            (0, 0.41, -0.2, 0.47),
            (-0.26, 0.41, -0.2, 0.36),
        )
        self._shape(shape, tone, None, 0.26)

    def _flower(self) -> None:
        tone = lit(self.pose, colour("fb6f92"))
        x, y = 0.86, -0.62
        for k in range(5):
            angle = 2 * np.pi * k / 5 + 0.3
            petal = ellipse(
                (x + 0.19 * np.cos(angle), y + 0.19 * np.sin(angle)),
                (0.19, 0.14),
                turned=float(np.degrees(angle)),
            )
            self._shape(petal, lighter(tone, 0.3), tone, 0.08)
        self._shape(ellipse((x, y), (0.09, 0.09)), colour("ffd24a"), None, 0.08)
        for k in range(3):
            thread = smooth([(x + 0.1 * k, y + 0.25), (x + 0.06 + 0.1 * k, y + 0.9)])
            self._line(thread, lit(self.pose, self.who.trim), 0.05, 0.04, taper=(0.6, 0.6))

    def _earring(self) -> None:
        self._shape(
            path((1.02, 0.4), (1.1, 0.55, 1.02, 0.74), (0.94, 0.55, 1.02, 0.4)),
            lit(self.pose, colour("ffd24a")),
            None,
            -0.04,
        )

    def _hoops(self) -> None:
        gold = lit(self.pose, colour("f3bf3a"))
        for side in (-1.0, 1.0):
            ring = self._at(ellipse((side * 1.06, 0.62), (0.2, 0.22)), -0.04)
            self.canvas.stroke(ring, darker(gold, 0.5), 0.1 * self.pose.head, taper=(1, 1))
            self.canvas.stroke(ring, gold, 0.055 * self.pose.head, taper=(1, 1))

    def _circlet(self) -> None:
        gold = lit(self.pose, colour("e6c35c"))
        arc = smooth([(-0.98, -0.38), (-0.5, -0.52), (0, -0.5), (0.5, -0.52), (0.98, -0.38)])
        self._line(arc, darker(gold, 0.45), 0.085, 0.12, taper=(0.9, 0.9))
        self._line(arc, gold, 0.05, 0.12, taper=(0.9, 0.9))
        leaf = path((0, -0.5), (0.3, -0.72, 0.5, -0.66), (0.3, -0.48, 0, -0.5))
        for one in (leaf, mirrored(leaf)):
            self._shape(one, lit(self.pose, colour("7fbf5a")), None, 0.13)
        self._shape(ellipse((0, -0.46), (0.09, 0.12)), lit(self.pose, colour("4fd0c4")), None, 0.14)

    def _glasses(self) -> None:
        frame = lit(self.pose, colour("3a2a35"))
        for side in (-1.0, 1.0):
            ring = self._at(ellipse((side * 0.45, 0.18), (0.37, 0.34)), 0.26)
            self.canvas.fill(ring, WHITE, opacity=0.12)
            self.canvas.stroke(ring, frame, 0.055 * self.pose.head, taper=(1, 1))
            arm = points((side * 0.81, 0.12), (side * 0.93, 0.1), (side * 1.02, 0.08))
            self._line(arm, frame, 0.05, 0.1, taper=(1, 0.6))
        bridge = smooth([(-0.09, 0.15), (0, 0.1), (0.09, 0.15)])
        self._line(bridge, frame, 0.05, 0.26, taper=(1, 1))

    def _cat_ears(self) -> None:
        ear = path(
            (0.28, -1.14),
            (0.6, -1.75, 0.98, -1.92),
            (1.18, -1.3, 1.02, -0.68),
            (0.7, -1.0, 0.28, -1.14),
        )
        inner = path(
            (0.52, -1.14),
            (0.7, -1.5, 0.9, -1.68),
            (1.0, -1.25, 0.92, -0.88),
            (0.7, -1.05, 0.52, -1.14),
        )
        for one, other in ((ear, inner), (mirrored(ear), mirrored(inner))):
            self._shape(one, self.hair, darker(self.hair, 0.1), 0.02, self.hair_line)
            self.canvas.fill(self._at(other, 0.02), lit(self.pose, colour("f6b6b8")))

    def _scar(self) -> None:
        line = points((0.3, -0.5), (0.38, -0.1), (0.44, 0.3), (0.52, 0.62))
        self._line(smooth(line), mixed(self.skin, (170, 50, 60), 0.6), 0.06, 0.2, taper=(0.2, 0.2))

    def _snowflake(self) -> None:
        middle = np.array([-0.8, -0.55])
        for k in range(6):
            angle = np.pi * k / 3
            arm = points((0, 0), (0.13, 0), (0.26, 0))
            twig = points((0.15, 0), (0.2, 0.05), (0.24, 0.09))
            turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
            for one in (arm, twig, twig * np.array([1.0, -1.0])):
                placed = one @ turn + middle
                self._line(
                    placed, darker(lit(self.pose, colour("4a7fd8")), 0.3), 0.085, 0.12, taper=(1, 1)
                )
            for one in (arm, twig, twig * np.array([1.0, -1.0])):
                self._line(one @ turn + middle, WHITE, 0.045, 0.12, taper=(1, 1))
