"""What the detector is asked for, and its losses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from core.models.tensorflow_runtime import tf
from core.train.detector_loss import (
    Assignment,
    assign,
    complete_overlaps,
    detection_losses,
    overlaps,
)
from core.train.detector_network import cells_of

SIDE = 64
CELLS = cells_of(SIDE)
COUNT = (SIDE // 4) ** 2 + (SIDE // 8) ** 2 + (SIDE // 16) ** 2 + (SIDE // 32) ** 2


def plain_overlap(a, b) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    shared = width * height
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_complete_overlap(a, b, alpha=None) -> float:
    overlap = plain_overlap(a, b)
    distance = sum(((a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2) ** 2 for i in (0, 1))
    diagonal = sum((max(a[i + 2], b[i + 2]) - min(a[i], b[i])) ** 2 for i in (0, 1))
    angles = [math.atan((c[2] - c[0]) / (c[3] - c[1])) for c in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    if alpha is None:
        alpha = plain_weight(a, b)
    return overlap - distance / diagonal - alpha * v


def plain_weight(a, b) -> float:
    """Of the difference in shape: alpha."""
    angles = [math.atan((c[2] - c[0]) / (c[3] - c[1])) for c in (a, b)]
    v = 4 / math.pi**2 * (angles[0] - angles[1]) ** 2
    return v / (1 - plain_overlap(a, b) + v) if v else 0.0


@pytest.fixture(scope="module")
def pairs():
    generator = np.random.default_rng(2)
    corners = generator.uniform(0, 40, (2, 30, 2))
    boxes = np.concatenate([corners, corners + generator.uniform(4, 40, corners.shape)], -1)
    return boxes.astype(np.float32)


def test_overlaps_agree_with_plain_arithmetic(pairs) -> None:
    expected = [plain_overlap(a, b) for a, b in zip(*pairs, strict=True)]
    np.testing.assert_allclose(overlaps(*map(tf.constant, pairs)).numpy(), expected, atol=1e-5)


def test_overlaps_are_symmetric_and_one_with_oneself(pairs) -> None:
    a, b = map(tf.constant, pairs)
    np.testing.assert_allclose(overlaps(a, b).numpy(), overlaps(b, a).numpy(), atol=1e-6)
    np.testing.assert_allclose(overlaps(a, a).numpy(), 1.0, atol=1e-6)


def test_complete_overlaps_agree_with_plain_arithmetic(pairs) -> None:
    expected = [plain_complete_overlap(a, b) for a, b in zip(*pairs, strict=True)]
    found = complete_overlaps(*map(tf.constant, pairs)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_weight_of_the_shape_is_constant_to_the_gradient(pairs) -> None:
    moved = tf.Variable(pairs[0].astype(np.float64))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(complete_overlaps(moved, tf.constant(pairs[1].astype(np.float64))))
    found = tape.gradient(total, moved).numpy()

    step = 1e-5
    for row, (a, b) in enumerate(zip(*pairs.astype(np.float64), strict=True)):
        alpha = plain_weight(a, b)
        for corner in range(4):
            further, nearer = a.copy(), a.copy()
            further[corner] += step
            nearer[corner] -= step
            rise = plain_complete_overlap(further, b, alpha) - plain_complete_overlap(
                nearer, b, alpha
            )
            assert found[row, corner] == pytest.approx(rise / (2 * step), abs=1e-6)


def assigned(faces, kinds, logits=None, boxes=None) -> Assignment:
    """Assign on one picture, with predictions that know nothing unless they are given."""
    if boxes is None:
        half = CELLS.strides[:, None] * 2
        boxes = tf.concat([CELLS.centres - half, CELLS.centres + half], 1)
    if logits is None:
        logits = tf.fill([COUNT], -4.0)
    wanted = assign(
        tf.reshape(logits, [1, COUNT]),
        tf.reshape(boxes, [1, COUNT, 4]),
        tf.constant([faces], tf.float32),
        tf.constant([kinds], tf.float32),
        CELLS,
    )
    return Assignment(*(part[0].numpy() for part in wanted))


NOTHING = [0, 0, 0, 0]


@pytest.mark.parametrize(
    "face",
    [
        pytest.param([19, 22, 42, 47], id="middling"),
        pytest.param([0, 0, 64, 64], id="the whole picture"),
        pytest.param([33, 33, 36, 36], id="smaller than a cell, around no centre"),
        pytest.param([58, 1, 64, 7], id="in a corner"),
    ],
)
def test_every_face_is_asked_of_some_cells_near_it(face) -> None:
    wanted = assigned([face, NOTHING], [1, 0])

    asked = wanted.score > 0
    # Ten, and those that do exactly as well as the tenth.
    assert 1 <= asked.sum() <= 14
    assert (wanted.box[asked] == face).all()
    centres = CELLS.centres.numpy()[asked]
    assert (np.abs(centres - np.array([face[:2], face[2:]]).mean(0)) < 33).all()


def test_two_faces_share_no_cell() -> None:
    left, right = [4, 20, 30, 44], [24, 20, 56, 44]
    wanted = assigned([left, right], [1, 1])

    asked = wanted.score > 0
    assert {tuple(box) for box in wanted.box[asked]} == {tuple(left), tuple(right)}


def test_the_cell_that_does_best_is_asked_for_most() -> None:
    face = [20, 20, 44, 44]
    boxes = np.tile(np.array([[18, 18, 40, 40]], np.float32), (COUNT, 1))
    inside = np.flatnonzero(np.abs(CELLS.centres.numpy() - 32).max(1) < 10)
    boxes[inside[3]] = face
    logits = np.full(COUNT, -2.0, np.float32)
    logits[inside[3]] = 2.0

    wanted = assigned([face, NOTHING], [1, 0], tf.constant(logits), tf.constant(boxes))

    assert wanted.score.argmax() == inside[3]
    assert wanted.score.max() == pytest.approx(1.0, abs=1e-3)


def test_what_cells_are_asked_for_agrees_with_plain_arithmetic() -> None:
    """Of the ten best by score^(1/2) * overlap^6, each its share of the best, 0.05 at least."""
    face = [20.0, 20, 44, 44]
    generator = np.random.default_rng(0)
    boxes = (face + generator.normal(0, 2.5, (COUNT, 4))).astype(np.float32)
    logits = generator.normal(-1, 2, COUNT).astype(np.float32)
    metrics, overlapping = {}, {}
    for cell, (centre, stride) in enumerate(
        zip(CELLS.centres.numpy(), CELLS.strides.numpy(), strict=True)
    ):
        if max(abs(centre - 32)) < max(12, 0.75 * stride):
            overlapping[cell] = plain_overlap(face, boxes[cell])
            score = 1 / (1 + math.exp(-logits[cell]))
            metrics[cell] = score**0.5 * overlapping[cell] ** 6
    chosen = sorted(metrics, key=lambda cell: -metrics[cell])[:10]
    highest = max(overlapping[cell] for cell in chosen)
    expected = np.zeros(COUNT)
    for cell in chosen:
        expected[cell] = max(metrics[cell] / metrics[chosen[0]] * highest, 0.05)
    assert 0.1 < expected[chosen].min() < 0.4

    wanted = assigned([face, NOTHING], [1, 0], tf.constant(logits), tf.constant(boxes))

    np.testing.assert_allclose(wanted.score, expected, atol=1e-4)


def test_what_is_hardly_hit_is_asked_for_a_little() -> None:
    face = [20.0, 20, 44, 44]
    boxes = np.tile(np.array([[40, 40, 60, 60]], np.float32), (COUNT, 1))
    boxes[np.abs(CELLS.centres.numpy() - 32).max(1).argmin()] = face

    wanted = assigned([face, NOTHING], [1, 0], None, tf.constant(boxes))

    asked = np.sort(wanted.score[wanted.score > 0])
    assert asked[-1] == pytest.approx(1.0, abs=1e-3)
    np.testing.assert_allclose(asked[:-1], 0.05, rtol=1e-3)
    assert len(asked) >= 10


def test_nothing_is_asked_where_there_is_nothing() -> None:
    wanted = assigned([NOTHING, NOTHING], [0, 0])

    assert not wanted.score.any()
    assert wanted.counted.all()


def test_what_cannot_be_told_is_not_counted() -> None:
    wanted = assigned([[20, 20, 44, 44], NOTHING], [-1, 0])

    assert not wanted.score.any()
    centres = CELLS.centres.numpy()
    well_inside = (np.abs(centres - 32) < 11).all(1)
    assert not wanted.counted[well_inside].any()
    well_outside = (np.abs(centres - 32) > 25).any(1)
    assert wanted.counted[well_outside].all()


def test_a_face_within_what_cannot_be_told_still_counts() -> None:
    face = [24, 24, 40, 40]
    wanted = assigned([face, [10, 10, 60, 60]], [1, -1])

    assert wanted.counted[wanted.score > 0].all()


def test_losses_agree_with_plain_arithmetic() -> None:
    logits = [0.5, -1.0, 2.0, 0.3]
    targets = [0.8, 0.7, 0.0, 0.0]
    counted = [1.0, 1.0, 0.0, 1.0]
    box, truths = [10.0, 10, 30, 34], [[12.0, 9, 33, 30], [4.0, 12, 30, 41]]
    wanted = Assignment(
        tf.constant([targets]),
        tf.constant([[*truths, NOTHING, NOTHING]], tf.float32),
        tf.constant([counted]),
    )

    losses = detection_losses(tf.constant([logits]), tf.constant([[box] * 4]), wanted)

    entropy = 0.0
    for z, t, c in zip(logits, targets, counted, strict=True):
        p = 1 / (1 + math.exp(-z))
        entropy -= c * (t * math.log(p) + (1 - t) * math.log(1 - p))
    missing = [1 - plain_complete_overlap(box, truth) for truth in truths]
    score, of_boxes = entropy / 1.5, (0.8 * missing[0] + 0.7 * missing[1]) / 1.5
    assert float(losses.score) == pytest.approx(score, rel=1e-4)
    assert float(losses.box) == pytest.approx(of_boxes, rel=1e-4)
    assert float(losses.total) == pytest.approx(score + 5 * of_boxes, rel=1e-4)


def test_losses_of_hardly_any_target_are_not_blown_up() -> None:
    """Divided by a sum of 0.05, one face would weigh as much as twenty."""
    wanted = Assignment(
        tf.constant([[0.05]]), tf.constant([[[0.0, 0, 8, 8]]]), tf.constant([[1.0]])
    )
    losses = detection_losses(tf.constant([[0.0]]), tf.constant([[[0.0, 0, 8, 4]]]), wanted)
    missing = 1 - plain_complete_overlap([0, 0, 8, 4], [0, 0, 8, 8])
    assert float(losses.score) == pytest.approx(math.log(2), rel=1e-4)
    assert float(losses.box) == pytest.approx(0.05 * missing, rel=1e-4)


def test_no_gradient_goes_through_what_is_asked_for() -> None:
    """Else a cell would learn to be asked for less."""
    logits = tf.Variable(tf.fill([1, COUNT], -1.0))
    boxes = tf.Variable(tf.tile([[[22.0, 22, 40, 42]]], [1, COUNT, 1]))
    with tf.GradientTape(persistent=True) as tape:
        wanted = assign(
            logits, boxes, tf.constant([[[20.0, 20, 44, 44]]]), tf.constant([[1.0]]), CELLS
        )
        sums = [tf.reduce_sum(part) for part in wanted]
    assert float(sums[0]) > 0
    for total in sums:
        assert tape.gradient(total, [logits, boxes]) == [None, None]


def test_a_picture_without_faces_has_a_loss_and_a_gradient() -> None:
    logits = tf.Variable(tf.zeros([1, COUNT]))
    boxes = tf.Variable(tf.tile([[[0.0, 0, 8, 8]]], [1, COUNT, 1]))
    nothing = Assignment(tf.zeros([1, COUNT]), tf.zeros([1, COUNT, 4]), tf.ones([1, COUNT]))
    with tf.GradientTape() as tape:
        total = detection_losses(logits, boxes, nothing).total
    of_logits, of_boxes = tape.gradient(total, [logits, boxes])

    assert float(total) > 0
    assert (of_logits.numpy() > 0).all()
    assert np.isfinite(of_boxes.numpy()).all()
