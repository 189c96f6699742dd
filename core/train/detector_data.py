"""Pictures as the detector's training sees them: windows, mosaics, other sizes, other colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from core.boxes import touched
from core.face import Pixels
from core.models.detector import GREY
from core.train.ahead import drawn_ahead
from core.train.detector_changes import MOST_PIECES, bent, pasted
from core.train.detector_sample import Sample, warped
from core.voc import Annotation, pixels_of, within

MOST_FACES = 32
"""Boxes that one training picture carries at most."""

_SMALLEST = 6.0
_LEAST_VISIBLE = 0.4
_ALONE = (0.54, 2.04)
_TOGETHER = (0.42, 1.32)
_STRETCH = 0.12
_STRONG_STRETCH = 0.32
_WINDOWS = 3
_WINDOW_TRIES = 24


@dataclass(frozen=True, slots=True)
class Taught:
    """Pictures that nobody boxed, with the boxes of an earlier detector.

    Attributes:
        samples: At least one.
        share: Of the windows that show one of these instead, 0..1; the first of a mosaic's four
            is always one of the pictures that people boxed.
    """

    samples: Sequence[Sample]
    share: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from.

    Attributes:
        pictures: ``(n, side, side, 3)`` uint8.
        boxes: ``(n, MOST_FACES, 4)`` float32, zeros where there is none.
        kinds: ``(n, MOST_FACES)`` float32: 1 a face, -1 to be ignored, 0 nothing.
    """

    pictures: Pixels
    boxes: NDArray[np.float32]
    kinds: NDArray[np.float32]


def load_samples(
    annotations: Sequence[Annotation], longest: int, *, enlarged: bool = False
) -> list[Sample]:
    """Decode pictures once, shrunk so that no side is longer than `longest`.

    Args:
        annotations: The pictures and their boxes.
        longest: In pixels.
        enlarged: Whether smaller pictures are enlarged to it, as a finished detector does.

    Raises:
        AnnotationError: A picture cannot be read.
    """
    samples = []
    for annotation in annotations:
        pixels = pixels_of(annotation)
        scale = longest / max(pixels.shape[:2])
        if not enlarged:
            scale = min(1.0, scale)
        samples.append(Sample(scaled(pixels, scale), within(annotation, pixels).boxes * scale))
    return samples


def scaled(pixels: Pixels, scale: float) -> Pixels:
    """A picture `scale` times as large; its sides are rounded to whole pixels, at least one."""
    if scale == 1.0:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=how), np.uint8)


def windows_without_faces(annotations: Sequence[Annotation], longest: int) -> list[Sample]:
    """Square parts of boxed pictures that touch no box, up to three of a picture.

    Args:
        annotations: Every face in the pictures is boxed.
        longest: Side of the result, in pixels, as large as whole pictures are looked at.

    Raises:
        AnnotationError: A picture cannot be read.
    """
    found = []
    for annotation in annotations:
        (sample,) = load_samples([annotation], 1 << 16)
        generator = np.random.default_rng(annotation.number)
        shorter = min(sample.pixels.shape[:2])
        kept = 0
        for _ in range(_WINDOW_TRIES):
            side = int(shorter * generator.uniform(0.4, 0.9))
            rows, columns = (int(each) - side for each in sample.pixels.shape[:2])
            top, left = int(generator.integers(rows + 1)), int(generator.integers(columns + 1))
            place = np.array([left, top, left + side, top + side])
            if side and kept < _WINDOWS and not touched(place, sample.boxes):
                window = sample.pixels[top : top + side, left : left + side]
                how = cv2.INTER_AREA if side > longest else cv2.INTER_LINEAR
                pixels = cv2.resize(window, (longest, longest), interpolation=how)
                found.append(Sample(np.asarray(pixels, np.uint8), np.zeros((0, 4), np.float32)))
                kept += 1
    return found


def batches(
    samples: Sequence[Sample],
    *,
    side: int,
    size: int,
    seed: int,
    epoch: int,
    mosaic: float,
    strong: float = 0.0,
    taught: Taught | None = None,
    first: int = 0,
) -> Iterator[Batch]:
    """One epoch, in an order and with changes that `seed` and `epoch` alone decide.

    Threads draw ahead while the caller computes. A rest smaller than a batch is left out.

    Args:
        samples: What to draw from.
        side: Of the square training pictures, in pixels.
        size: Pictures a batch.
        seed: Of the whole training.
        epoch: Counted from 0.
        mosaic: Share of the pictures that are put together from four.
        strong: Probability of each strong change: stretched, bent, with pieces of others in it.
        taught: Further pictures that take the place of some.
        first: Number of the batch to begin with, counted from 0.
    """
    # The last number tells the uses of a seed apart, as in `core.train.refiner_data`: without it
    # an epoch's order would be drawn from the same numbers as its first batch.
    order = np.random.default_rng([seed, epoch, 0, 1]).permutation(len(samples))

    def draw(step: int) -> Batch:
        generator = np.random.default_rng([seed, epoch, step, 2])
        chosen = order[step * size : (step + 1) * size]
        plain = draw_batch(samples, chosen, side, generator, mosaic, strong=strong, taught=taught)
        pictures = np.stack([recoloured(pixels, generator) for pixels in plain.pictures])
        return replace(plain, pictures=pictures)

    yield from drawn_ahead(draw, range(first, len(samples) // size))


def draw_batch(
    samples: Sequence[Sample],
    chosen: Sequence[int] | NDArray[np.int64],
    side: int,
    generator: np.random.Generator,
    mosaic: float,
    *,
    strong: float = 0.0,
    taught: Taught | None = None,
) -> Batch:
    """Make a training picture for each chosen sample, in its own colours; see `batches`."""
    pictures = np.empty((len(chosen), side, side, 3), np.uint8)
    boxes = np.zeros((len(chosen), MOST_FACES, 4), np.float32)
    kinds = np.zeros((len(chosen), MOST_FACES), np.float32)
    for i, index in enumerate(chosen):
        if generator.random() < mosaic:
            pixels, found, kind = _mosaic(
                samples, int(index), side, generator, strong=strong, taught=taught
            )
        else:
            sample = _or_taught(samples[int(index)], taught, generator)
            pixels, found, kind = _window(sample, (side, side), _ALONE, generator, strong)
            if generator.random() < strong:
                pixels, found, kind = _with_pieces(samples, pixels, found, kind, generator)
        pictures[i] = pixels
        kept = np.argsort(-kind, kind="stable")[:MOST_FACES]
        boxes[i, : len(kept)] = found[kept]
        kinds[i, : len(kept)] = kind[kept]
    return Batch(pictures, boxes, kinds)


def _or_taught(sample: Sample, taught: Taught | None, generator: np.random.Generator) -> Sample:
    if taught is None or generator.random() >= taught.share:
        return sample
    return taught.samples[int(generator.integers(len(taught.samples)))]


def _mosaic(
    samples: Sequence[Sample],
    index: int,
    side: int,
    generator: np.random.Generator,
    *,
    strong: float,
    taught: Taught | None,
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.float32]]:
    """Four pictures around a point (Bochkovskiy et al., 2020, "YOLOv4", 3.3)."""
    x, y = (int(v) for v in generator.uniform(0.3, 0.7, 2) * side)
    pixels = np.empty((side, side, 3), np.uint8)
    others = generator.integers(0, len(samples), 3)
    parts = [samples[index], *(_or_taught(samples[int(i)], taught, generator) for i in others)]
    found = []
    kinds = []
    corners = ((0, 0, x, y), (x, 0, side, y), (0, y, x, side), (x, y, side, side))
    for (x0, y0, x1, y1), sample in zip(corners, parts, strict=True):
        part, boxes, kind = _window(sample, (x1 - x0, y1 - y0), _TOGETHER, generator, strong)
        pixels[y0:y1, x0:x1] = part
        found.append(boxes + np.array([x0, y0, x0, y0], np.float32))
        kinds.append(kind)
    return pixels, np.concatenate(found), np.concatenate(kinds)


def _window(
    sample: Sample,
    size: tuple[int, int],
    scales: tuple[float, float],
    generator: np.random.Generator,
    strong: float = 0.0,
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.float32]]:
    """A part of a picture, scaled, turned, mirrored, mostly with a face somewhere in it.

    Args:
        sample: The picture.
        size: Width and height of the part.
        scales: The smallest and the largest scale, drawn from evenly in octaves.
        generator: Decides everything.
        strong: Probability that it is stretched more, and that it is bent.
    """
    width, height = size
    rows, columns = sample.pixels.shape[:2]
    scale = sample.zoom * float(np.exp(generator.uniform(np.log(scales[0]), np.log(scales[1]))))
    boxes = sample.boxes
    centre = np.array([columns / 2, rows / 2])
    if len(boxes):
        box = boxes[generator.integers(len(boxes))]
        face = float(max(box[2] - box[0], box[3] - box[1]))
        # A face larger than the window teaches nothing, one of a few pixels hardly more.
        scale = float(np.clip(scale, 9 / face, max(9 / face, 0.85 * min(width, height) / face)))
        if generator.random() < 0.85:
            centre = (box[:2] + box[2:]) / 2
    # Shift by up to what keeps the chosen point inside, then back over the picture's own area.
    room = np.array([width, height]) / scale
    centre = centre + generator.uniform(-0.4, 0.4, 2) * room
    for axis, extent in enumerate((columns, rows)):
        half = room[axis] / 2
        if extent > 2 * half:
            centre[axis] = np.clip(centre[axis], half, extent - half)
        else:
            slack = half - extent / 2
            centre[axis] = np.clip(centre[axis], extent / 2 - slack, extent / 2 + slack)
    angle = generator.normal(0.0, 6.0)
    if generator.random() < 0.12:
        angle = generator.uniform(-180.0, 180.0)
    most = _STRONG_STRETCH if generator.random() < strong else _STRETCH
    stretch = np.exp(generator.uniform(-most, most, 2))
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) * scale
    matrix *= stretch[:, None]
    if generator.random() < 0.5:
        matrix[0] *= -1
    shift = np.array([width / 2, height / 2]) - matrix @ centre
    affine = np.concatenate([matrix, shift[:, None]], 1)
    fill = int(generator.integers(256)) if generator.random() < 0.5 else GREY
    window = warped(sample.pixels, affine, size, blur=2 if scale < 0.6 else 1, fill=fill)
    found, kinds = move_boxes(boxes, affine, width, height, before=sample.kinds)
    if generator.random() < strong:
        window, found = bent(window, found, generator)
    return window, found, kinds


def _with_pieces(
    samples: Sequence[Sample],
    pixels: Pixels,
    boxes: NDArray[np.float32],
    kinds: NDArray[np.float32],
    generator: np.random.Generator,
) -> tuple[Pixels, NDArray[np.float32], NDArray[np.float32]]:
    chosen = generator.integers(len(samples), size=generator.integers(1, MOST_PIECES + 1))
    pixels, came = pasted(pixels, boxes, [samples[int(each)] for each in chosen], generator)
    sure = np.where((came[:, 2:] - came[:, :2]).max(1, initial=0.0) >= _SMALLEST, 1.0, -1.0)
    return pixels, np.concatenate([boxes, came]), np.concatenate([kinds, sure]).astype(np.float32)


def move_boxes(
    boxes: NDArray[np.float32],
    affine: NDArray[np.float64],
    width: int,
    height: int,
    *,
    before: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where boxes come to lie, cut at the window's edge.

    A turned face is taken as the ellipse in its box: the box around the turned corners would be
    too large for a head.

    Args:
        boxes: ``(n, 4)``.
        affine: ``(2, 3)``, from pixels of the picture to pixels of the window.
        width: Of the window.
        height: Of the window.
        before: ``(n,)``, kinds as in `Sample`.

    Returns:
        The boxes that are still there, ``(m, 4)``, and for each 1 where it is a face, -1 where
        it was unsure before or too little of it is left to say so.
    """
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 @ affine[:, :2].T + affine[:, 2]
    halves = (boxes[:, 2:] - boxes[:, :2]) / 2
    reach = np.sqrt((halves**2) @ (affine[:, :2] ** 2).T)
    moved = np.concatenate([centres - reach, centres + reach], 1)
    limits = np.array([width, height, width, height], np.float64)
    cut = np.clip(moved, 0.0, limits)
    sides = cut[:, 2:] - cut[:, :2]
    whole = np.maximum(moved[:, 2:] - moved[:, :2], 1e-6)
    visible = (sides[:, 0] * sides[:, 1]) / (whole[:, 0] * whole[:, 1])
    kept = (sides.min(1) > 1.0) & (visible > 0.05) if len(boxes) else np.zeros(0, bool)
    sure = (visible >= _LEAST_VISIBLE) & (sides.max(1, initial=0) >= _SMALLEST)
    if before is not None:
        sure &= before > 0
    kinds = np.where(sure, 1.0, -1.0)
    return cut[kept].astype(np.float32), kinds[kept].astype(np.float32)


def recoloured(pixels: Pixels, generator: np.random.Generator) -> Pixels:
    """Other light, other colours; sometimes none, inverted, blurred or badly compressed."""
    draw = generator.random(5)
    if draw[0] < 0.10:
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        pixels = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    elif draw[0] < 0.50:
        hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)
        hue = np.uint8(generator.integers(-18, 19) % 180)
        levels = np.arange(256)
        saturation = np.clip(levels * generator.uniform(0.5, 1.5), 0, 255).astype(np.uint8)
        hue_table = ((levels + hue) % 180).astype(np.uint8)
        tables = np.stack([hue_table, saturation, levels.astype(np.uint8)], -1)[None]
        pixels = np.asarray(cv2.cvtColor(cv2.LUT(hsv, tables), cv2.COLOR_HSV2RGB), np.uint8)
    gamma = np.exp(generator.uniform(-0.4, 0.4))
    gain = generator.uniform(0.8, 1.2) * generator.uniform(0.92, 1.08, 3)
    tone = (np.arange(256) / 255.0) ** gamma
    tones = np.clip(tone[:, None] * gain * 255.0 + generator.uniform(-15, 15), 0, 255)
    if draw[1] < 0.02:
        tones = 255.0 - tones
    pixels = np.asarray(cv2.LUT(pixels, tones.astype(np.uint8)[None]), np.uint8)
    if draw[2] < 0.05:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (3, 3), 0), np.uint8)
    if draw[3] < 0.08:
        quality = int(generator.integers(25, 75))
        done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if done:
            pixels = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return pixels
