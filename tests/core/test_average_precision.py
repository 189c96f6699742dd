"""Average precision of boxes, against plain loops and against figures worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.average_precision import average_precision
from core.face import Face

HERE = (10.0, 10.0, 30.0, 30.0)
BESIDE = (12.0, 10.0, 32.0, 30.0)
THERE = (50.0, 50.0, 90.0, 90.0)


def face(box: tuple[float, float, float, float], score: float) -> Face:
    return Face(box, score)


def truths(*boxes: tuple[float, float, float, float]):
    return np.array(boxes, np.float32).reshape(-1, 4)


@pytest.mark.parametrize(
    ("found", "there", "expected"),
    [
        pytest.param([[face(HERE, 0.9)]], [truths(HERE)], 1.0, id="all found"),
        pytest.param([[]], [truths(HERE)], 0.0, id="nothing found"),
        pytest.param([[face(THERE, 0.9)]], [truths(HERE)], 0.0, id="elsewhere"),
        pytest.param([[face(HERE, 0.9)]], [truths(HERE, THERE)], 0.5, id="half found"),
        pytest.param(
            [[face(THERE, 0.9), face(HERE, 0.8)]], [truths(HERE)], 0.5, id="wrong one first"
        ),
        pytest.param(
            [[face(HERE, 0.9), face(THERE, 0.8)]], [truths(HERE)], 1.0, id="wrong one last"
        ),
        pytest.param(
            # precision 1 up to recall 1/2, then 2/3 up to recall 1
            [[face(HERE, 0.9), face(HERE, 0.8), face(THERE, 0.7)]],
            [truths(HERE, THERE)],
            0.5 + 0.5 * 2 / 3,
            id="the second box on one face is wrong",
        ),
        pytest.param(
            [[face(HERE, 0.9), face(HERE, 0.8)]],
            [truths(HERE, BESIDE)],
            0.5,
            id="although another face beside it is free",
        ),
        pytest.param(
            [[face(HERE, 0.5)], [face(HERE, 0.9)]],
            [truths(HERE), truths()],
            0.5,
            id="found in a picture without a face",
        ),
    ],
)
def test_by_hand(found, there, expected) -> None:
    assert average_precision(found, there) == pytest.approx(expected)


@pytest.mark.parametrize(("iou", "expected"), [(0.49, 1.0), (0.5, 1.0), (0.51, 0.0)])
def test_the_overlap_decides(iou: float, expected: float) -> None:
    # 20 x 10 within 20 x 20: an intersection over union of exactly one half.
    found = [[face((10, 10, 30, 20), 0.9)]]
    assert average_precision(found, [truths(HERE)], iou) == expected


def test_order_of_pictures_and_boxes_is_of_no_account() -> None:
    generator = np.random.default_rng(5)
    found, there = random_pictures(generator)
    expected = average_precision(found, there)

    order = generator.permutation(len(found))
    shuffled = [[found[i][j] for j in generator.permutation(len(found[i]))] for i in order]

    assert average_precision(shuffled, [there[i] for i in order]) == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(5))
def test_plain_loops_agree(seed: int) -> None:
    found, there = random_pictures(np.random.default_rng(seed))

    assert average_precision(found, there) == pytest.approx(plain_average_precision(found, there))


def test_no_truth_at_all_is_no_question() -> None:
    with pytest.raises(ValueError, match="No picture has a box"):
        average_precision([[face(HERE, 0.9)]], [truths()])


def test_as_many_answers_as_questions() -> None:
    with pytest.raises(ValueError, match="1 pictures looked at, 2 with truths"):
        average_precision([[]], [truths(HERE), truths(HERE)])


def random_pictures(generator: np.random.Generator):
    found = []
    there = []
    for _ in range(12):
        corners = generator.uniform(0, 60, (generator.integers(0, 5), 2))
        boxes = np.concatenate([corners, corners + generator.uniform(8, 30, corners.shape)], 1)
        # Some faces have another close to them, so that a box may lie on both.
        boxes = np.concatenate([boxes, boxes[:2] + generator.normal(0, 1, boxes[:2].shape)])
        near = [box + generator.normal(0, 3, 4) for box in boxes if generator.random() < 0.8]
        far = [[*c, *(c + 12)] for c in generator.uniform(0, 80, (generator.integers(0, 4), 2))]
        found.append([Face(tuple(map(float, b)), float(generator.random())) for b in near + far])
        there.append(boxes.astype(np.float32))
    return found, there


def plain_average_precision(found, there) -> float:
    """The same figure, counted again for each score on its own."""

    def overlap(a, b) -> float:
        width = min(a[2], b[2]) - max(a[0], b[0])
        height = min(a[3], b[3]) - max(a[1], b[1])
        if width <= 0 or height <= 0:
            return 0.0
        area = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
        return width * height / (area[0] + area[1] - width * height)

    wanted = sum(len(boxes) for boxes in there)
    points = []
    for threshold in sorted({f.score for faces in found for f in faces}):
        right = wrong = 0
        for faces, boxes in zip(found, there, strict=True):
            taken = set()
            for candidate in sorted(faces, key=lambda f: -f.score):
                if candidate.score < threshold:
                    continue
                overlaps = [(overlap(candidate.box, box), i) for i, box in enumerate(boxes)]
                most, best = max(overlaps, default=(0.0, -1))
                if most >= 0.5 and best not in taken:
                    taken.add(best)
                    right += 1
                else:
                    wrong += 1
        points.append((right / wanted, right / (right + wrong)))
    area = 0.0
    reached = 0.0
    for recall in sorted({recall for recall, _ in points}):
        area += (recall - reached) * max(p for r, p in points if r >= recall)
        reached = recall
    return area
