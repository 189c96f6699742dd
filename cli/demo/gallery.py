"""The demo's gallery: every character in several pictures, the same ones each time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from cli.demo.canvas import Canvas
from cli.demo.characters import CHARACTERS, Character
from cli.demo.portrait import Portrait
from cli.demo.pose import Mood, Pose
from cli.demo.scenes import SCENES
from core.progress import Progress

SEED: Final = 7
PICTURES_EACH: Final = 6
ASKED_NUMBER: Final = 48
"""The number of the picture that asks; it is not part of the gallery."""

SIZES: Final = ((480, 480), (420, 560), (560, 420), (480, 600), (600, 480), (512, 512))

# How somebody is framed: half the head's width and its middle, as shares of the picture's
# shorter side, of its width and of its height.
FRAMINGS: Final = (
    (0.27, 0.5, 0.48), (0.19, 0.42, 0.42), (0.145, 0.6, 0.36), (0.23, 0.58, 0.5),
    (0.17, 0.36, 0.46), (0.3, 0.5, 0.52),
)  # fmt: skip

MOODS: Final[tuple[Mood, ...]] = (
    "smile", "cheer", "calm", "shy", "surprise", "wink", "laugh", "cross"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Drawn:
    """A gallery on disk and a picture to ask it with.

    Attributes:
        gallery: ``<character>/<picture>``.
        asked: A picture of one of the characters that the gallery does not hold.
        pictures: How many the gallery holds.
    """

    gallery: Path
    asked: Path
    pictures: int


def picture(who: Character, number: int) -> Image.Image:
    """One character in the pose, place and framing that belong to `number`."""
    index = CHARACTERS.index(who)
    random = np.random.default_rng([SEED, index, number])
    width, height = SIZES[(number + index) % len(SIZES)]
    canvas = Canvas(width, height)
    light = SCENES[(3 * index + number) % len(SCENES)](canvas, random)
    share, x, y = FRAMINGS[(number + 2 * index) % len(FRAMINGS)]
    side = min(width, height)
    pose = Pose(
        x=x * width + random.uniform(-0.03, 0.03) * side,
        y=y * height + random.uniform(-0.03, 0.03) * side,
        head=share * side * random.uniform(0.94, 1.06),
        tilt=float(random.uniform(-16, 16)),
        turn=float(random.uniform(-1, 1)),
        nod=float(random.uniform(-0.6, 0.6)),
        mood=MOODS[(number + 3 * index) % len(MOODS)],
        light=light,
    )
    Portrait(canvas, who, pose).draw()
    return canvas.finished()


def _plan(gallery: Path, asked: Path) -> Iterator[tuple[Character, int, Path]]:
    for who in CHARACTERS:
        for number in range(1, PICTURES_EACH + 1):
            yield who, number, gallery / who.name / f"{number}.jpg"
    yield CHARACTERS[0], ASKED_NUMBER, asked


def draw_gallery(folder: Path, progress: Progress | None = None) -> Drawn:
    """Draw the gallery into ``folder/gallery`` and the asking picture beside it.

    Args:
        folder: Made if it is not there; pictures of an earlier run are drawn over.
        progress: Told how many pictures are drawn, and of how many.
    """
    gallery, asked = folder / "gallery", folder / "asked.jpg"
    plan = list(_plan(gallery, asked))
    for done, (who, number, place) in enumerate(plan, start=1):
        place.parent.mkdir(parents=True, exist_ok=True)
        picture(who, number).save(place, quality=92)
        if progress is not None:
            progress(done, len(plan))
    return Drawn(gallery, asked, len(plan) - 1)
