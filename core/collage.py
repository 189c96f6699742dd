"""An answer as one image: what was asked about on the left, its matches beside it, numbered."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, TypeAlias

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from core.face import Face, Pixels
from core.folder import READERS
from core.picture import OWN_LIMITS, Picture, Reduced, UnreadablePicture, read_reduced
from core.search import Answer, Match
from core.thumbnails import Thumbnail

Rectangle: TypeAlias = tuple[int, int, int, int]
"""``(x0, y0, x1, y1)`` in pixels of the collage; ``x1`` and ``y1`` lie just outside."""

Colour: TypeAlias = tuple[int, int, int]

_Box: TypeAlias = tuple[float, float, float, float] | None
"""A match's face."""

MAX_BYTES: Final = 10 * 2**20
TILE: Final = 320

_MARGIN = 24
_GAP = 14
_SEED_GAP = 30
_ROW_GAP = 26
_BAR_GAP = 8
_BAR = 5
_CORNER = 10
_CORNER_SIDE = _CORNER + 2
_NARROWEST, _WIDEST = 0.62, 1.6
_FACES_A_TILE = 3.6
_WHOLE_FROM = 1.4

_GROUND: Colour = (24, 25, 30)
_TRACK: Colour = (46, 48, 57)
_ACCENT: Colour = (255, 196, 107)
_SHADE: Colour = (12, 12, 16)
_QUALITIES = (90, 82, 72, 60, 45)

_drawing = ThreadPoolExecutor(READERS, thread_name_prefix="tile")
"""Shared by all answers, so that few pictures are decoded at a time, however many are asked for."""


@dataclass(frozen=True, slots=True)
class RowLayout:
    """Where one row of an answer stands.

    Attributes:
        seed: The asked-about picture, whole, its aspect kept.
        tiles: Its matches in order, `TILE` pixels square.
    """

    seed: Rectangle
    tiles: tuple[Rectangle, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything stands in a collage.

    Attributes:
        width: Of the collage, in pixels.
        height: Of the collage, in pixels.
        rows: One a row of the answer.
    """

    width: int
    height: int
    rows: tuple[RowLayout, ...]


def layout(answer: Answer) -> Layout:
    """Place an answer's pictures.

    Up to four matches stand in one line, more in two or three, so that the collage stays legible
    in the width of a chat; the asked-about picture is as high as all lines of its row.
    """
    most = max((len(row.matches) for row in answer.rows), default=0)
    lines = 1 if most <= 4 else 2 if most <= 8 else 3
    columns = math.ceil(most / lines)
    step = TILE + _BAR_GAP + _BAR + _GAP
    row_height = (lines - 1) * step + TILE
    frame_width, seed_width, seed_height = _seed_size(answer.picture, row_height)
    left = _MARGIN + frame_width + _SEED_GAP
    rows = []
    top = _MARGIN
    for row in answer.rows:
        x = _MARGIN + (frame_width - seed_width) // 2
        y = top + (row_height - seed_height) // 2
        tiles = []
        for place in range(len(row.matches)):
            line, column = divmod(place, columns)
            tile_x, tile_y = left + column * (TILE + _GAP), top + line * step
            tiles.append((tile_x, tile_y, tile_x + TILE, tile_y + TILE))
        rows.append(RowLayout((x, y, x + seed_width, y + seed_height), tuple(tiles)))
        top += row_height + _BAR_GAP + _BAR + _ROW_GAP
    right = left + columns * (TILE + _GAP) - _GAP if columns else left - _SEED_GAP
    return Layout(right + _MARGIN, top - _ROW_GAP + _MARGIN, tuple(rows))


def _seed_size(picture: Picture, row_height: int) -> tuple[int, int, int]:
    """Width of the frame, and width and height of the picture inside it."""
    aspect = picture.width / picture.height
    frame_width = round(row_height * min(_WIDEST, max(_NARROWEST, aspect)))
    if aspect > _WIDEST:
        return frame_width, frame_width, max(1, round(frame_width / aspect))
    return frame_width, max(1, round(row_height * aspect)), row_height


def draw(
    answer: Answer,
    gallery: Path,
    max_bytes: int = MAX_BYTES,
) -> bytes:
    """Draw an answer.

    A gallery picture that is gone since it was indexed, or damaged and without a thumbnail, stays
    an empty tile with its number. Where a thumbnail is kept, a picture that was damaged or replaced
    under its name is shown as it was until the next build.

    Args:
        answer: What is drawn.
        gallery: Folder of the matches' paths.
        max_bytes: The file is made smaller, first in quality, then in size, until it fits.

    Returns:
        A JPEG file without metadata.
    """
    place = layout(answer)
    tiles = _tiles(answer, gallery)
    canvas = Image.new("RGB", (place.width, place.height), _GROUND)
    number = 0
    for row, where in zip(answer.rows, place.rows, strict=True):
        canvas.paste(_seed(answer.picture, row.face, where.seed), where.seed[:2])
        _round_corners(canvas, where.seed)
        for match, tile in zip(row.matches, where.tiles, strict=True):
            number += 1
            canvas.paste(tiles[match.path, match.box], tile[:2])
            _round_corners(canvas, tile)
            badge = _badge(number)
            canvas.paste(badge, (tile[0] + 10, tile[1] + 10), badge)
            _bar(canvas, tile, match)
    return _encoded(canvas, max_bytes)


def _seed(picture: Picture, face: Face | None, where: Rectangle) -> Image.Image:
    width, height = where[2] - where[0], where[3] - where[1]
    seed = _resized(picture.pixels, width, height)
    if face is not None:
        x_scale, y_scale = width / picture.width, height / picture.height
        x0, y0, x1, y1 = face.box
        _outline(seed, (x0 * x_scale, y0 * y_scale, x1 * x_scale, y1 * y_scale))
    return seed


def _resized(pixels: Pixels, width: int, height: int) -> Image.Image:
    how = cv2.INTER_AREA if width < pixels.shape[1] else cv2.INTER_CUBIC
    return Image.fromarray(np.asarray(cv2.resize(pixels, (width, height), interpolation=how)))


def _outline(image: Image.Image, box: tuple[float, float, float, float]) -> None:
    """A thin bright line on a darker one, so that it shows on any picture."""
    pen = ImageDraw.Draw(image)
    x0, y0 = (max(2, round(value)) for value in box[:2])
    x1 = max(x0 + 4, min(image.width - 3, round(box[2])))
    y1 = max(y0 + 4, min(image.height - 3, round(box[3])))
    radius = min(6, (x1 - x0) // 2, (y1 - y0) // 2)
    pen.rounded_rectangle((x0 - 1, y0 - 1, x1 + 1, y1 + 1), radius + 1, outline=_SHADE, width=4)
    pen.rounded_rectangle((x0, y0, x1, y1), radius, outline=_ACCENT, width=2)


def _tiles(answer: Answer, gallery: Path) -> dict[tuple[str, _Box], Image.Image]:
    """Every tile of an answer, by path and face; each picture is decoded once."""
    matches: dict[str, list[Match]] = {}
    for row in answer.rows:
        for match in row.matches:
            matches.setdefault(match.path, []).append(match)
    drawn = _drawing.map(lambda path: _tiles_of(gallery / path, matches[path]), matches)
    return {
        (path, box): tile
        for path, tiles in zip(matches, drawn, strict=True)
        for box, tile in tiles.items()
    }


def _tiles_of(path: Path, matches: Sequence[Match]) -> dict[_Box, Image.Image]:
    """Every tile of one picture, by face."""
    boxes = {match.box for match in matches}
    try:
        # Twice the side: the square around a face is at most so much smaller than the picture
        # before it gets visibly soft, and JPEG decodes at such sizes in a third of the time.
        side = 2 * TILE if any(boxes) else TILE
        reduced = _reduced(path, matches[0].thumbnail, side)
    except UnreadablePicture:
        return dict.fromkeys(boxes, Image.new("RGB", (TILE, TILE), _TRACK))
    return {box: _tile(reduced, box) for box in boxes}


def _reduced(path: Path, thumbnail: Thumbnail | None, side: int) -> Reduced:
    if thumbnail is not None and os.path.exists(path):  # else its owner removed it
        with suppress(UnreadablePicture):
            return thumbnail.read(side)
    return read_reduced(path, side, OWN_LIMITS)


def _tile(reduced: Reduced, box: _Box) -> Image.Image:
    image = reduced.image
    scaled = None
    if box is not None:
        scaled = tuple(value * reduced.scale for value in box)
    if scaled is None and max(image.size) > _WHOLE_FROM * min(image.size):
        return _whole(image)
    x0, y0, x1, _ = _view(image.size, scaled)
    left, top, side = int(x0), int(y0), max(1, int(x1 - x0))
    return _resized(np.asarray(image)[top : top + side, left : left + side], TILE, TILE)


def _whole(image: Image.Image) -> Image.Image:
    """All of a wide or high picture, where nobody knows which part of it counts, on a ground of
    its own colours."""
    pixels = np.asarray(image)
    scale = TILE / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    coarse = Image.blend(_resized(pixels, 6, 6), Image.new("RGB", (6, 6), _GROUND), 0.78)
    tile = _resized(np.asarray(coarse), TILE, TILE)
    place = (TILE - width) // 2, (TILE - height) // 2
    tile.paste(_resized(pixels, width, height), place)
    return tile


def _view(size: tuple[int, int], box: Sequence[float] | None) -> tuple[float, float, float, float]:
    """The square of a picture that its tile shows: the face with the figure around it.

    The face stands above the middle, as in a portrait. Without a face a picture that is a little
    wide shows its middle, and one that is a little high what is just above, where heads are.
    """
    width, height = size
    side = float(min(size))
    if box is None:
        x, y = (width - side) / 2, (height - side) / 5
        return x, y, x + side, y + side
    x0, y0, x1, y1 = box
    face = max(x1 - x0, y1 - y0)
    side = min(side, max(face * _FACES_A_TILE, TILE / 2))
    x = min(max(0.0, (x0 + x1) / 2 - side / 2), width - side)
    y = min(max(0.0, (y0 + y1) / 2 - side * 0.45), height - side)
    return x, y, x + side, y + side


@cache
def _corner_mask(width: int, height: int) -> Image.Image:
    """255 outside of a rectangle with rounded corners; drawn large for smooth edges.

    Only asked for up to twice `_CORNER_SIDE`, for all masks are kept.
    """
    finer = 4
    mask = Image.new("L", (width * finer, height * finer), 255)
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, width * finer - 1, height * finer - 1), _CORNER * finer, fill=0
    )
    return mask.resize((width, height), Image.Resampling.BOX)


def _round_corners(canvas: Image.Image, where: Rectangle) -> None:
    x0, y0, x1, y1 = where
    width, height = min(x1 - x0, 2 * _CORNER_SIDE), min(y1 - y0, 2 * _CORNER_SIDE)
    mask = _corner_mask(width, height)
    column, line = width // 2, height // 2
    for left, right, x in ((0, column, x0), (column, width, x1 - width + column)):
        for top, bottom, y in ((0, line, y0), (line, height, y1 - height + line)):
            place = (x, y, x + right - left, y + bottom - top)
            canvas.paste(_GROUND, place, mask.crop((left, top, right, bottom)))


@cache
def _badge(number: int) -> Image.Image:
    """The number on a dark, slightly transparent ground."""
    finer = 4
    font = ImageFont.load_default(21 * finer)
    text = str(number)
    x0, y0, x1, y1 = font.getbbox(text)
    height = 34 * finer
    width = max(height, round(x1 - x0) + 18 * finer)
    badge = Image.new("RGBA", (width, height), (*_SHADE, 0))
    pen = ImageDraw.Draw(badge)
    pen.rounded_rectangle((0, 0, width - 1, height - 1), 9 * finer, fill=(*_SHADE, 205))
    pen.text(
        ((width - (x0 + x1)) / 2, (height - (y0 + y1)) / 2), text, font=font, fill=(255, 255, 255)
    )
    return badge.resize((width // finer, height // finer), Image.Resampling.BOX)


def _bar(canvas: Image.Image, tile: Rectangle, match: Match) -> None:
    x0, _, x1, bottom = tile
    top = bottom + _BAR_GAP
    pen = ImageDraw.Draw(canvas)
    pen.rounded_rectangle((x0, top, x1 - 1, top + _BAR - 1), _BAR // 2, fill=_TRACK)
    length = round((x1 - x0) * min(1.0, max(0.0, match.similarity)))
    if length >= _BAR:
        pen.rounded_rectangle((x0, top, x0 + length - 1, top + _BAR - 1), _BAR // 2, fill=_ACCENT)


def _encoded(canvas: Image.Image, max_bytes: int) -> bytes:
    """JPEG of at most `max_bytes`, as good as fits.

    Raises:
        ValueError: Not even a thumbnail fits.
    """
    image = canvas
    while min(image.size) >= 16:
        for quality in _QUALITIES:
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality, subsampling=0 if quality >= 82 else 2)
            if file.tell() <= max_bytes:
                return file.getvalue()
        image = image.resize(
            (image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.LANCZOS
        )
    raise ValueError(f"No collage fits into {max_bytes} bytes.")
