"""What a second look is asked to say."""

from __future__ import annotations

import numpy as np
import pytest

from core.models.tensorflow_runtime import tf
from core.train.refiner_loss import refiner_losses

FACE = [10.0, 10.0, 30.0, 50.0]
ELSEWHERE = [60.0, 60.0, 80.0, 80.0]


def losses(box, logit, *, place=None, truth=FACE, kind=1.0):
    found = refiner_losses(
        tf.constant([logit], tf.float32),
        tf.constant([box], tf.float32),
        tf.constant([box if place is None else place], tf.float32),
        tf.constant([[truth, [0.0] * 4]], tf.float32),
        tf.constant([[kind, 0.0]], tf.float32),
    )
    return float(found.score), float(found.box), float(found.total)


def test_a_box_on_a_face_is_right_and_one_elsewhere_wrong() -> None:
    assert losses(FACE, 5.0)[0] < 0.01
    assert losses(FACE, -5.0)[0] > 4
    assert losses(ELSEWHERE, -5.0)[0] < 0.01
    assert losses(ELSEWHERE, 5.0)[0] > 4


def test_the_moved_box_is_judged_and_not_the_proposed_one() -> None:
    half_off = [20.0, 10.0, 40.0, 50.0]  # overlaps by a third

    assert losses(FACE, 5.0, place=half_off)[0] < 0.01
    assert losses(half_off, -5.0, place=FACE)[0] < 0.01


def test_a_box_that_is_hardly_right_counts_as_half() -> None:
    barely = [10.0, 10.0, 30.0, 30.0]  # overlaps by a half

    assert losses(barely, 0.0)[0] == pytest.approx(np.log(2.0), abs=1e-3)
    assert losses(barely, 3.0)[0] == pytest.approx(losses(barely, -3.0)[0], abs=1e-3)


def test_only_what_began_near_a_face_is_told_where_it_should_be() -> None:
    assert losses(FACE, 0.0)[1] == pytest.approx(0.0, abs=1e-4)
    assert losses(ELSEWHERE, 0.0)[1] == 0.0
    assert losses(ELSEWHERE, 0.0, place=FACE)[1] > 1.0


def test_perhaps_a_face_says_nothing() -> None:
    assert losses(FACE, 5.0, kind=-1.0) == (0.0, 0.0, 0.0)
    assert losses(FACE, -5.0, kind=-1.0) == (0.0, 0.0, 0.0)


def test_what_is_right_counts_beside_what_is_perhaps_a_face() -> None:
    perhaps = [12.0, 10.0, 34.0, 50.0]  # overlaps by more than a half

    def both(logit: float, box: list[float]) -> float:
        found = refiner_losses(
            tf.constant([logit], tf.float32),
            tf.constant([box], tf.float32),
            tf.constant([box], tf.float32),
            tf.constant([[FACE, perhaps]], tf.float32),
            tf.constant([[1.0, -1.0]], tf.float32),
        )
        return float(found.score)

    assert both(-5.0, FACE) > 4
    assert both(5.0, FACE) < 0.01
    assert both(5.0, [24.0, 10.0, 44.0, 50.0]) == 0.0  # on what is perhaps one alone


def test_height_and_width_are_not_mixed_up() -> None:
    turned = [10.0, 10.0, 50.0, 30.0]

    assert losses(turned, 0.0, place=FACE)[1] > 0.5
    assert losses(turned, -5.0)[0] < 0.01


def test_a_box_is_not_moved_so_that_its_score_is_right() -> None:
    place = tf.constant([[15.5, 10.0, 35.5, 50.0]])
    box, logit = tf.Variable(place), tf.Variable([3.0])
    with tf.GradientTape() as tape:
        score = refiner_losses(logit, box, place, tf.constant([[FACE]]), tf.constant([[1.0]])).score
    of_box, of_logit = tape.gradient(score, [box, logit])

    assert of_box is None
    # It is right by more than a half and less than one, where moving it would change that.
    assert 0.02 < float(of_logit[0]) < 0.4


def test_the_gradient_moves_a_box_towards_its_face_and_not_through_its_score() -> None:
    place = tf.constant([[14.0, 10.0, 34.0, 50.0]])
    box = tf.Variable(place)
    with tf.GradientTape() as tape:
        found = refiner_losses(
            tf.constant([0.0]), box, place, tf.constant([[FACE]]), tf.constant([[1.0]])
        )
    (gradient,) = tape.gradient(found.total, box).numpy()

    assert gradient[0] > 0
    assert gradient[2] > 0
    np.testing.assert_allclose(gradient[[1, 3]], 0, atol=0.02)
