"""How two stages become one: whose word counts how much, and from which score on it is a face."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.models.tensorflow_runtime import tf
from core.train import refiner_choice
from core.train.refiner_choice import (
    FIRST_ALONE,
    LEAST_THRESHOLD,
    Looked,
    choose,
    faces_of_both,
    looked_again,
    looked_at,
    precision_of_both,
)
from core.train.refiner_network import Agreement

FACE = (10.0, 10.0, 30.0, 40.0)
ELSEWHERE = (50.0, 50.0, 80.0, 80.0)
PIXELS = np.zeros((96, 96, 3), np.uint8)


def looked(*said, truths=(FACE,)) -> Looked:
    """What both stages say: ``(box, first score, second logit)`` each."""
    boxes = np.array([box for box, _, _ in said], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score, _ in said], np.float32)
    logits = np.array([logit for _, _, logit in said], np.float32)
    array = np.array(truths, np.float32).reshape(-1, 4)
    return Looked(PIXELS, (96, 90), array, (boxes, scores), boxes, logits)


def test_the_stage_that_is_right_is_believed() -> None:
    second_knows = [looked((FACE, 0.3, 2.0), (ELSEWHERE, 0.6, -2.0))] * 3
    first_knows = [looked((FACE, 0.9, -1.0), (ELSEWHERE, 0.3, 0.5))] * 3

    assert precision_of_both(second_knows, FIRST_ALONE) < 1.0
    assert choose(second_knows, []).agreement.first < 0.5
    assert choose(second_knows, []).average_precision == pytest.approx(1.0)
    assert choose(first_knows, []).agreement.first >= 0.4


def test_boxes_without_a_face_decide_too() -> None:
    pictures = [looked((FACE, 0.6, 1.0))] * 2
    empty = [looked((ELSEWHERE, 0.9, -1.0), truths=())] * 4

    chosen = choose(pictures, empty)

    assert chosen.agreement.first < 0.6
    assert chosen.false == 0.0
    assert chosen.found == 1.0
    assert chosen.recall == 1.0
    assert chosen.precision == 1.0


@pytest.mark.parametrize(("away", "way"), [(0.0, 1.0), (14.0, 0.5)])
def test_a_box_goes_as_far_as_it_pays(away: float, way: float) -> None:
    # The first stage errs by 14 pixels to the left, the second by as many to the right or not.
    said = looked((FACE, 0.5, 1.0))
    first = said.proposed[0] - np.array([14, 0, 14, 0], np.float32)
    second = said.moved + np.array([away, 0, away, 0], np.float32)

    chosen = choose([replace(said, proposed=(first, said.proposed[1]), moved=second)] * 2, [])

    assert chosen.agreement.way == way


def test_the_threshold_lets_nine_in_a_hundred_pass() -> None:
    logits = np.linspace(-3, 2, 50)
    empty = [looked((ELSEWHERE, 0.5, float(logit)), truths=()) for logit in logits]
    pictures = [looked((FACE, 0.5, 3.0)), looked((FACE, 0.5, -2.0))]

    chosen = choose(pictures, empty)

    assert chosen.false == pytest.approx(0.08)
    assert chosen.found == chosen.recall == 0.5
    assert chosen.threshold == round(chosen.threshold, 4)
    scores = [faces_of_both(each, chosen.agreement)[0].score for each in empty]
    assert sum(score >= chosen.threshold for score in scores) == 4


def test_pictures_without_any_box_are_pictures_too() -> None:
    empty = [looked(truths=())] * 24 + [looked((ELSEWHERE, 0.9, 4.0), truths=())]

    chosen = choose([looked((FACE, 0.5, 0.0)), looked()], empty)

    assert chosen.threshold == LEAST_THRESHOLD  # the lowest quiet one would let everything pass
    assert chosen.false == pytest.approx(0.04)
    assert chosen.found == 0.5
    # One of two faces is found; the box that is surer of itself lies in no picture with a face.
    assert chosen.average_precision == pytest.approx(0.5)


def test_without_pictures_nothing_is_chosen() -> None:
    chosen = choose([], [looked((ELSEWHERE, 0.9, 4.0), truths=())])

    assert chosen.average_precision is chosen.found is chosen.false is None
    assert 0 < chosen.threshold < 1


def test_faces_lie_within_the_picture_and_not_upon_each_other() -> None:
    near = (12.0, 12.0, 31.0, 41.0)
    beyond = (70.0, 80.0, 110.0, 120.0)

    faces = faces_of_both(
        looked((FACE, 0.5, 1.0), (near, 0.5, 2.0), (beyond, 0.5, 0.0)), Agreement(0.0, 1.0)
    )

    assert [face.box for face in faces] == [near, (70.0, 80.0, 90.0, 96.0)]


def test_a_second_stage_moves_and_judges_what_the_first_one_proposes() -> None:
    def network(squares, boxes, precision):
        """A quarter of each box to the right, and a face."""
        count = tf.shape(boxes)[0]
        return tf.fill([count], 3.0), tf.tile([[0.25, 0.0, 0.0, 0.0]], [count, 1])

    before = looked((FACE, 0.5, 0.0), (ELSEWHERE, 0.4, 0.0))

    (found,) = looked_again([before], network)

    np.testing.assert_allclose(found.moved, [(15, 10, 35, 40), (57.5, 50, 87.5, 80)], rtol=1e-5)
    assert found.logits.tolist() == [3.0, 3.0]
    assert found.proposed is before.proposed


def test_pictures_are_looked_at_as_the_detector_sees_them(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def proposed(first, pictures):
        seen.append(pictures.shape)
        return [(np.array([FACE], np.float32), np.array([0.5], np.float32))]

    monkeypatch.setattr(refiner_choice, "proposals", proposed)
    sample = refiner_choice.Sample(np.zeros((40, 100, 3), np.uint8), np.array([FACE], np.float32))

    (found,) = looked_at([sample], None, 320)

    assert seen == [(1, 128, 320, 3)]
    assert found.size == (128, 320)
    np.testing.assert_allclose(found.truths, np.array([FACE]) * 3.2, rtol=1e-5)
