"""How well boxes that were found match those that are there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from core.boxes import overlaps
from core.face import Face


def average_precision(
    detections: Sequence[Sequence[Face]],
    truths: Sequence[NDArray[np.float32]],
    iou: float = 0.5,
) -> float:
    """Area under the precision-recall curve of a detector, over all pictures together.

    As in the PASCAL VOC challenge from 2010 on: the most confident box of all pictures claims
    first; a box is right when the truth that it overlaps most overlaps it by `iou` or more and no
    other has claimed it: a second box on the same truth is wrong, whatever truths are free beside
    it; precision is made monotonic before it is summed.

    Args:
        detections: The faces found in each picture, in any order.
        truths: The boxes of each picture, ``(n, 4)``, ``[x0, y0, x1, y1]``; ``n`` may be 0.
        iou: Intersection over union from which a box is right, 0..1.

    Returns:
        0..1; 0 where nothing was found.

    Raises:
        ValueError: The two sequences differ in length, or no picture has a box.
    """
    if len(detections) != len(truths):
        raise ValueError(f"{len(detections)} pictures looked at, {len(truths)} with truths.")
    wanted = sum(len(boxes) for boxes in truths)
    if wanted == 0:
        raise ValueError("No picture has a box, so there is nothing to be found.")
    made = [
        claim
        for faces, boxes in zip(detections, truths, strict=True)
        for claim in claims(faces, boxes, iou)
    ]
    if not made:
        return 0.0
    made.sort(key=lambda claim: -claim[0])
    hits = np.cumsum([right for _, right in made])
    precision = hits / np.arange(1, len(made) + 1)
    recall = np.concatenate([[0.0], hits / wanted])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum((recall[1:] - recall[:-1]) * envelope))


def claims(
    faces: Sequence[Face], boxes: NDArray[np.float32], iou: float = 0.5
) -> list[tuple[float, bool]]:
    """Score of each face found in one picture, most confident first, and whether it is right.

    Args:
        faces: In any order.
        boxes: What is there, ``(n, 4)``.
        iou: Intersection over union from which a box is right, 0..1.
    """
    free = np.ones(len(boxes), bool)
    found = sorted(faces, key=lambda f: -f.score)
    shared = overlaps(
        np.array([face.box for face in found], np.float64).reshape(-1, 4),
        boxes.astype(np.float64).reshape(-1, 4),
    )
    made = []
    for face, overlap in zip(found, shared, strict=True):
        best = int(overlap.argmax()) if len(boxes) else -1
        right = best >= 0 and bool(free[best] and overlap[best] >= iou)
        if right:
            free[best] = False
        made.append((face.score, right))
    return made
