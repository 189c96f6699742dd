"""What a second look learns from: proposals of the first, boxes near faces, and boxes on none.

Pictures are shown as the detector's training shows them (`core.train.detector_data`), each in a
few fixed *views*; the first stage looks at each view once. Every epoch then chooses other places,
mirrors, and changes the colours anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.boxes import mirrored, overlaps
from core.face import Pixels
from core.progress import Progress
from core.train.ahead import drawn_ahead
from core.train.boxes_found import Proposed, boxes_found
from core.train.detector_data import MOST_FACES, draw_batch, recoloured
from core.train.detector_sample import Sample
from core.train.refiner_network import MOST_LOOKED_AT, FirstStage, proposals

_NO_FACE = 0.3
_LEAST_SCORE = 0.02
_TRIES = 16


@dataclass(frozen=True, slots=True)
class Shown:
    """Pictures, and how often and how they are shown.

    Attributes:
        samples: At least one.
        views: Number of views.
        mosaic: Share of the views that are put together from four pictures.
    """

    samples: Sequence[Sample]
    views: int
    mosaic: float


@dataclass(frozen=True, slots=True)
class View:
    """A training picture before it is mirrored and recoloured.

    Attributes:
        pixels: ``(side, side, 3)``.
        boxes: ``(n, 4)``.
        kinds: ``(n,)``: 1 a face, -1 perhaps one.
    """

    pixels: Pixels
    boxes: NDArray[np.float32]
    kinds: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Places:
    """What one step learns from.

    Attributes:
        pictures: ``(n, side, side, 3)`` uint8.
        boxes: ``(n, MOST_FACES, 4)`` float32, zeros where there is none.
        kinds: ``(n, MOST_FACES)`` float32: 1 a face, -1 to be ignored, 0 nothing.
        places: ``(n, m, 4)`` float32, what is looked at.
    """

    pictures: Pixels
    boxes: NDArray[np.float32]
    kinds: NDArray[np.float32]
    places: NDArray[np.float32]


class Views:
    """Every view of some pictures, numbered from 0 on; a view of one number is always the same.

    Args:
        shown: The pictures.
        side: Of the views, in pixels.
        seed: Decides what the views show.
        strong: Probability of each strong change (`core.train.detector_changes`).
    """

    def __init__(self, shown: Sequence[Shown], side: int, seed: int, strong: float = 0.0) -> None:
        self._shown = shown
        self._side = side
        self._seed = seed
        self._strong = strong
        self._ends = np.cumsum([each.views for each in shown])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> View:
        source = int(np.searchsorted(self._ends, number, side="right"))
        shown = self._shown[source]
        within = number - (int(self._ends[source - 1]) if source else 0)
        # Other pictures of a mosaic are drawn by chance; its first goes through all in turn.
        sample = within * len(shown.samples) // shown.views if shown.views else 0
        if shown.views >= len(shown.samples):
            sample = within % len(shown.samples)
        generator = np.random.default_rng([self._seed, source, within, 5])
        drawn = draw_batch(
            shown.samples, [sample], self._side, generator, shown.mosaic, strong=self._strong
        )
        there = drawn.kinds[0] != 0
        return View(drawn.pictures[0], drawn.boxes[0][there], drawn.kinds[0][there])


def propose(
    views: Views,
    first: FirstStage,
    key: str,
    cache: Path,
    told: Progress = lambda done, total: None,
) -> list[Proposed]:
    """What the first stage sees in every view.

    Args:
        views: To look at.
        first: Looks.
        key: Changes when what is shown or the first stage does.
        cache: File of the proposals; see `core.train.boxes_found`.
        told: Called after each look.
    """

    def look(numbers: range) -> list[Proposed]:
        pictures = np.stack([views[number].pixels for number in numbers])
        return [_learned_from(each) for each in proposals(first, pictures)]

    return boxes_found(look, len(views), cache, key, told)


def _learned_from(proposed: Proposed) -> Proposed:
    boxes, scores = proposed
    kept = (scores >= _LEAST_SCORE)[:MOST_LOOKED_AT]
    return boxes[:MOST_LOOKED_AT][kept], scores[:MOST_LOOKED_AT][kept]


def places_in(
    view: View, proposed: Proposed, count: int, generator: np.random.Generator
) -> NDArray[np.float32]:
    """Where to look in one view: ``(count, 4)``.

    First come proposals on no face, the more likely the higher their score: there are few of them
    in pictures that the first stage was trained on. Then come proposals on faces and boxes near
    faces; the rest are boxes that touch no face.
    """
    boxes, scores = proposed
    shared = overlaps(boxes, view.boxes).max(1, initial=0.0)
    wrong = np.flatnonzero(shared < _NO_FACE)
    right = np.flatnonzero(shared >= _NO_FACE)
    likely = np.sqrt(scores[wrong])
    few = min(len(wrong), count // 2)
    wrong = generator.choice(wrong, few, replace=False, p=likely / likely.sum()) if few else wrong
    right = generator.permutation(right)[: count // 4]
    chosen = boxes[np.concatenate([wrong, right])]
    found = [_shaken(chosen, generator, np.full((len(chosen), 1), 0.06))]
    faces = view.boxes[view.kinds > 0]
    left = count - len(found[0])
    if len(faces):
        near = faces[generator.integers(len(faces), size=(left + 1) // 2)]
        # From nearly right to hardly near: the first stage's own boxes are better than that.
        amounts = generator.uniform(0.03, 0.3, (len(near), 1))
        found.append(_shaken(near, generator, amounts))
        left -= len(near)
    found.append(_elsewhere(view, left, generator))
    return np.concatenate(found).astype(np.float32)


def _shaken(
    boxes: NDArray[np.float32], generator: np.random.Generator, amounts: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Boxes shifted and stretched by about so much of their sides, ``(n, 1)``."""
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    sides = boxes[:, 2:] - boxes[:, :2]
    middle = middle + amounts * generator.normal(size=middle.shape) * sides
    together = 1.4 * amounts * generator.normal(size=(len(boxes), 1))
    sides = sides * np.exp(together + 0.5 * amounts * generator.normal(size=sides.shape))
    return np.concatenate([middle - sides / 2, middle + sides / 2], 1).astype(np.float32)


def _elsewhere(view: View, count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Boxes of all sizes that touch no face, where there is room for them."""
    size = view.pixels.shape[0]
    found = np.empty((count, 4), np.float32)
    for row in range(count):
        for _ in range(_TRIES):
            longer = np.exp(generator.uniform(np.log(10.0), np.log(size / 1.5)))
            sides = longer * np.array([generator.uniform(0.7, 1.0), 1.0])
            corner = generator.uniform(0.0, size, 2) - sides / 2
            found[row] = [*corner, *(corner + sides)]
            low = np.maximum(found[row, :2], view.boxes[:, :2])
            high = np.minimum(found[row, 2:], view.boxes[:, 2:])
            if not (high > low).all(1).any():
                break
    return found


def batches(
    views: Views,
    proposed: Sequence[Proposed],
    *,
    size: int,
    places: int,
    seed: int,
    epoch: int,
    first: int = 0,
) -> Iterator[Places]:
    """One epoch: every view once, in an order and with changes that `seed` and `epoch` decide.

    Args:
        views: To draw from.
        proposed: Of each view.
        size: Views a batch; a rest smaller than that is left out.
        places: That are looked at in each view.
        seed: Of the whole training.
        epoch: Counted from 0.
        first: Number of the batch to begin with, counted from 0.
    """
    # The last number tells the uses of a seed apart, as in `core.train.detector_data`.
    order = np.random.default_rng([seed, epoch, 0, 3]).permutation(len(views))

    def draw(step: int) -> Places:
        generator = np.random.default_rng([seed, epoch, step, 4])
        chosen = order[step * size : (step + 1) * size]
        return _batch(views, proposed, chosen, places, generator)

    yield from drawn_ahead(draw, range(first, len(views) // size))


def _batch(
    views: Views,
    proposed: Sequence[Proposed],
    chosen: NDArray[np.int64],
    count: int,
    generator: np.random.Generator,
) -> Places:
    pictures = []
    boxes = np.zeros((len(chosen), MOST_FACES, 4), np.float32)
    kinds = np.zeros((len(chosen), MOST_FACES), np.float32)
    places = np.empty((len(chosen), count, 4), np.float32)
    for row, number in enumerate(chosen):
        view = views[int(number)]
        where = places_in(view, proposed[int(number)], count, generator)
        pixels, faces = recoloured(view.pixels, generator), view.boxes
        if generator.random() < 0.5:
            pixels = pixels[:, ::-1]
            faces, where = (mirrored(each, pixels.shape[1]) for each in (faces, where))
        pictures.append(pixels)
        boxes[row, : len(faces)] = faces
        kinds[row, : len(faces)] = view.kinds
        places[row] = where
    return Places(np.stack(pictures), boxes, kinds, places)
