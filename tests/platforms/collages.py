"""Whether a collage shows what it should, judged by its pixels alone."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from core.collage import Layout, layout
from core.face import Face, Pixels
from core.look import Look
from core.picture import Picture
from core.search import Answer, Match, Row
from tests.core.fakes import HAIR

_LINE = re.compile(r"^(\d+)\. (.+) · (\d+)%$", re.MULTILINE)


@dataclass(frozen=True)
class Named:
    """A line below a collage."""

    number: int
    name: str
    percent: int


def named_in(caption: str) -> list[Named]:
    """The numbered names of a caption."""
    return [Named(int(n), name, int(p)) for n, name, p in _LINE.findall(caption)]


def check_collage(
    data: bytes, caption: str, asked: Pixels, *, rows: int = 1, count: int = 4
) -> None:
    """Hold an answer about a drawn picture against what it must be.

    The collage has the size that so many rows and matches need; the asked-about picture stands at
    the left of every row; tile *n* shows a head with the hair of the *n*-th name of the caption;
    within a row, similarities fall.

    Raises:
        AssertionError: It is not so.
    """
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    assert not image.getexif()
    pixels = np.asarray(image.convert("RGB"))
    place = _places(asked, rows, count)
    assert pixels.shape == (place.height, place.width, 3)
    names = named_in(caption)
    assert [named.number for named in names] == list(range(1, rows * count + 1)), caption
    for number, row in enumerate(place.rows):
        assert difference(_cut(pixels, row.seed), asked) < 12
        in_row = names[number * count : (number + 1) * count]
        percents = [named.percent for named in in_row]
        assert percents == sorted(percents, reverse=True), caption
        for named, tile in zip(in_row, row.tiles, strict=True):
            assert hair_in(_cut(pixels, tile)) == named.name, (named, caption)


def check_seed(data: bytes, asked: Pixels, *, tolerance: float = 12) -> None:
    """The asked-about picture stands at the left of the collage, as high as the tiles.

    Raises:
        AssertionError: It does not.
    """
    pixels = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    seed = _places(asked, 1, 4).rows[0].seed
    assert difference(_cut(pixels, seed), asked) < tolerance


def seeds_in(collage: Pixels, asked: Pixels, *, rows: int, count: int) -> list[Pixels]:
    """What stands at the left of each row, where so many rows and matches put it.

    Raises:
        AssertionError: The collage has another size than they need.
    """
    place = _places(asked, rows, count)
    assert collage.shape == (place.height, place.width, 3)
    return [_cut(collage, row.seed) for row in place.rows]


def difference(shown: Pixels, original: Pixels) -> float:
    """Mean absolute difference of two pictures at the size of the first, in levels of 255.

    What is drawn upon the shown one, such as the box around a face, adds a little.
    """
    height, width = shown.shape[:2]
    resized = cv2.resize(original, (width, height), interpolation=cv2.INTER_AREA)
    return float(np.abs(shown.astype(np.int16) - resized.astype(np.int16)).mean())


def hair_in(pixels: Pixels) -> str:
    """Whose hair, of `tests.core.fakes.HAIR`, covers most of a picture."""
    areas = {
        name: int((np.abs(pixels.astype(np.int16) - np.array(colour)).max(2) < 24).sum())
        for name, colour in HAIR.items()
    }
    return max(areas, key=lambda name: areas[name])


def _places(asked: Pixels, rows: int, count: int) -> Layout:
    match = Match("any", None, 0.5, None)
    face = Face((0.0, 0.0, 1.0, 1.0), 1.0)
    picture = Picture(asked, "0" * 64)
    return layout(
        Answer(picture, Look.BOTH, rows, tuple(Row(face, (match,) * count) for _ in range(rows)))
    )


def _cut(pixels: Pixels, where: tuple[int, int, int, int]) -> Pixels:
    x0, y0, x1, y1 = where
    return pixels[y0:y1, x0:x1]
