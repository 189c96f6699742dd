"""How somebody is seen in a picture, and what all parts of a drawing share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cli.demo.canvas import Colour, colour, mixed

Mood: TypeAlias = Literal["calm", "smile", "laugh", "cheer", "surprise", "cross", "shy", "wink"]

WHITE: Final = colour("fffdfb")
INK: Final = colour("2c1830")
LINE: Final = 0.034
"""Width of outlines, in heads."""


@dataclass(frozen=True, slots=True)
class Pose:
    """How somebody is seen.

    Attributes:
        x: Middle of the head, in pixels.
        y: The same, downwards.
        head: Half the width of the head, in pixels.
        tilt: Of the head, in degrees; positive leans to the right.
        turn: -1 looks to the left, 1 to the right.
        nod: -1 looks up, 1 down.
        mood: What the face says.
        light: Warm or cool light over everything, mixed into all tones.
    """

    x: float
    y: float
    head: float
    tilt: float = 0.0
    turn: float = 0.0
    nod: float = 0.0
    mood: Mood = "calm"
    light: tuple[Colour, float] = ((255, 255, 255), 0.0)


def lit(pose: Pose, tone: Colour) -> Colour:
    """A tone in the light of the pose."""
    light, share = pose.light
    return mixed(tone, light, share)
