"""Strong changes of a detector's training pictures: bent forms, and pieces of other pictures.

What a network has learned of faces is mostly their form (docs/training-log/detector.md, "What the
first stage leans on"): bent, the same pictures show more forms. Pasted faces meet more surroundings
(Ghiasi et al., 2021, "Simple Copy-Paste", arXiv:2012.07177); pieces that show none are pasted in
the same way, so that an edge says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from core.boxes import touched
from core.face import Pixels
from core.train.detector_sample import Sample, warped

OFTEN: Final = 0.35
"""Probability of each change, where they are asked for."""

MOST_PIECES: Final = 3
"""Of other pictures, in one."""

_BEND = 0.18
_RIM = 16
_LEAST_SIDE = 2.0
_FACES = 0.6
_LEAST_SOURCE = 14.0
_LEAST_PIECE = 9.0
_MOST_PIECE = 0.45
_MOST_ENLARGED = 2.0
_MARGINS = (0.05, 0.45)
_SOFT = (0.05, 0.4)


def bent(
    pixels: Pixels, boxes: NDArray[np.float32], generator: np.random.Generator
) -> tuple[Pixels, NDArray[np.float32]]:
    """A picture drawn out here and pushed together there, as smoothly as rubber.

    Args:
        pixels: ``(height, width, 3)``.
        boxes: ``(n, 4)``, ``[x0, y0, x1, y1]`` in pixels. Each is taken as the ellipse in it.
        generator: Decides everything.

    Returns:
        The picture and its boxes; a box that would be bent to nothing stays where it was.
    """
    height, width = pixels.shape[:2]
    nodes = int(generator.integers(3, 7))
    deviation = generator.uniform(0.2, 1.0) * _BEND * min(height, width) / nodes
    rough = generator.normal(0.0, deviation, (nodes, nodes, 2)).astype(np.float32)
    field = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    out = cv2.remap(
        pixels,
        x + field[..., 0],
        y + field[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if not len(boxes):
        return np.asarray(out, np.uint8), boxes
    turn = np.linspace(0.0, 2 * np.pi, _RIM, endpoint=False)
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    circle = np.stack([np.cos(turn), np.sin(turn)], -1)
    rim = (middle[:, None] + half[:, None] * circle).astype(np.float32)
    # The field says where each pixel comes from. Where a point goes to is found by coming back from
    # there, twice: what is smooth hardly differs between the two.
    there = rim - _at(field, rim)
    there = rim - _at(field, there)
    limits = np.array([width, height, width, height], np.float32)
    moved = np.clip(np.concatenate([there.min(1), there.max(1)], 1), 0.0, limits)
    gone = (moved[:, 2:] - moved[:, :2]).min(1) < _LEAST_SIDE
    return np.asarray(out, np.uint8), np.where(gone[:, None], boxes, moved).astype(np.float32)


def _at(field: NDArray[Any], points: NDArray[Any]) -> NDArray[Any]:
    """A field at points ``(..., 2)`` ``[x, y]``."""
    x, y = (
        np.clip(points[..., axis].round().astype(np.intp), 0, field.shape[1 - axis] - 1)
        for axis in (0, 1)
    )
    return field[y, x]


class Piece(NamedTuple):
    """A part of a picture, changed.

    Attributes:
        pixels: ``(height, width, 3)``.
        half: Half of the box's width and height, where the piece shows a face in its middle.
    """

    pixels: Pixels
    half: NDArray[np.float64] | None


def pasted(
    pixels: Pixels,
    boxes: NDArray[np.float32],
    sources: Sequence[Sample],
    generator: np.random.Generator,
) -> tuple[Pixels, NDArray[np.float32]]:
    """A picture with pieces of others in it, none of them over a box.

    Args:
        pixels: ``(height, width, 3)``.
        boxes: ``(n, 4)``, of whatever may be a face.
        sources: One for each piece; many are of no use and leave none.
        generator: Decides everything.

    Returns:
        The picture, and the boxes of the faces that came in, ``(m, 4)``.
    """
    height, width = pixels.shape[:2]
    pixels = pixels.copy()
    taken = list(boxes)
    for source in sources:
        piece = cut_piece(source, _MOST_PIECE * min(height, width), generator)
        if piece is None or piece.pixels.shape[0] >= height or piece.pixels.shape[1] >= width:
            continue
        rows, columns = piece.pixels.shape[:2]
        left, top = int(generator.integers(width - columns)), int(generator.integers(height - rows))
        place = np.array([left, top, left + columns, top + rows], np.float32)
        mask = _mask(rows, columns, generator)
        if touched(place, np.reshape(taken, (-1, 4))):
            continue
        under = pixels[top : top + rows, left : left + columns]
        under[:] = (under * (1 - mask) + piece.pixels * mask).astype(np.uint8)
        if piece.half is not None:
            middle = np.array([left + columns / 2, top + rows / 2])
            taken.append(np.concatenate([middle - piece.half, middle + piece.half]))
    return pixels, np.reshape(taken[len(boxes) :], (-1, 4)).astype(np.float32)


def cut_piece(source: Sample, largest: float, generator: np.random.Generator) -> Piece | None:
    """A face of a picture with a little around it and no other face, or as large a part without.

    Args:
        source: The picture.
        largest: Longer side that the box is shown with at most, in pixels.
        generator: Decides everything.

    Returns:
        None where the picture has no box, or one that is too small, cut off, beside another or
        perhaps of no face.
    """
    if not len(source.boxes):
        return None
    rows, columns = source.pixels.shape[:2]
    number = int(generator.integers(len(source.boxes)))
    box = source.boxes[number]
    size = box[2:] - box[:2]
    is_face = bool(generator.random() < _FACES)
    if not is_face:
        low = generator.uniform(0.0, np.maximum(np.array([columns, rows]) - size, 1.0))
        box = np.concatenate([low, low + size])
    margin = generator.uniform(*_MARGINS)
    around = np.concatenate([box[:2] - margin / 2 * size, box[2:] + margin / 2 * size])
    inside = box.min() >= 1 and box[2] <= columns - 1 and box[3] <= rows - 1
    if touched(around, source.boxes) != is_face:
        return None
    if is_face and source.kinds is not None and source.kinds[number] < 0:
        return None
    longer = float(np.exp(generator.uniform(np.log(_LEAST_PIECE), np.log(largest))))
    zoom = longer / float(size.max())
    if not inside or size.max() < _LEAST_SOURCE or zoom > _MOST_ENLARGED:
        return None
    scale = zoom * np.exp(generator.uniform(-0.2, 0.2, 2))
    width, height = (int(np.ceil(each)) + 2 for each in size * scale * (1 + margin))
    angle = np.deg2rad(generator.normal(0.0, 10.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale[:, None] * turn
    if generator.random() < 0.5:
        matrix[0] *= -1
    shift = np.array([width, height]) / 2 - matrix @ ((box[:2] + box[2:]) / 2)
    affine = np.concatenate([matrix, shift[:, None]], 1)
    blur = min(7, round(1 / zoom)) if zoom < 0.6 else 1
    piece = warped(source.pixels, affine, (width, height), blur=blur)
    half = np.sqrt((matrix**2) @ (size / 2) ** 2)
    return Piece(piece, half if is_face else None)


def _mask(rows: int, columns: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """An ellipse, or a square with round corners, whose edge is soft: ``(rows, columns, 1)``."""
    power = 2.0 if generator.random() < 0.6 else 4.0
    x = np.abs((np.arange(columns) + 0.5) / columns * 2 - 1) ** power
    y = np.abs((np.arange(rows) + 0.5) / rows * 2 - 1) ** power
    within = (1.0 - x[None] - y[:, None]) / generator.uniform(*_SOFT)
    return np.clip(within, 0.0, 1.0)[..., None]
