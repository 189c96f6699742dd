"""What is proposed where a detector is in doubt and another one is asked, too."""

from __future__ import annotations

import numpy as np
import pytest

from core.models.tensorflow_runtime import Module, tf
from core.train.proposals import FurtherLook, in_doubt, joined, proposals

FACE = [30.0, 10.0, 40.0, 26.0]
"""Bright, at the right of pictures that are 48 wide and 32 high."""


class Brightness(Module):
    """Boxes the bright part of each picture, with the score that its darkest pixel stands for.

    Attributes:
        shown: Every batch that it was asked about.
    """

    def __init__(self, scores: dict[int, float]) -> None:
        super().__init__()
        self.scores = scores
        self.shown: list[np.ndarray] = []

    def __call__(self, pictures):
        self.shown.append(pictures.numpy())
        boxes = np.zeros((len(self.shown[-1]), 2, 4), np.float32)
        scores = np.zeros((len(self.shown[-1]), 2), np.float32)
        for row, picture in enumerate(self.shown[-1]):
            y, x = np.nonzero(picture[..., 0] == 255)
            boxes[row, 0] = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            scores[row, 0] = self.scores[int(picture.min())]
        return tf.constant(boxes), tf.constant(scores)


def picture(dark: int) -> np.ndarray:
    pixels = np.full((32, 48, 3), dark, np.uint8)
    x0, y0, x1, y1 = (int(each) for each in FACE)
    pixels[y0:y1, x0:x1] = 255
    return pixels


def logit(score: float) -> float:
    return float(np.log(score / (1 - score)))


def likelihood(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


@pytest.mark.parametrize(
    ("scores", "doubt"),
    [
        ([0.9, 0.0], False),
        ([0.6, 0.09], False),
        ([0.9, 0.1], True),
        ([0.9, 0.59], True),
        ([0.59, 0.0], True),
        ([0.05, 0.0], True),
        ([0.0, 0.0], True),
    ],
)
def test_a_detector_is_in_doubt_without_a_sure_face_or_with_an_unsure_one(
    scores: list[float], doubt: bool
) -> None:
    assert in_doubt(tf.constant([scores, [0.9, 0.0]])).numpy().tolist() == [doubt, False]


def test_only_what_is_in_doubt_is_looked_at_again_and_only_in_the_mirror() -> None:
    first, further = Brightness({1: 0.9, 2: 0.3, 3: 0.7}), Brightness({2: 0.8})
    pictures = np.stack([picture(1), picture(2), picture(3)])

    boxes, scores = FurtherLook(first, further)(tf.constant(pictures))

    assert [len(batch) for batch in further.shown] == [1]
    np.testing.assert_array_equal(further.shown[0][0], pictures[1, :, ::-1])
    # Each saw the face where it is: the mirror image's box was turned back.
    np.testing.assert_allclose(boxes.numpy()[:, 0], [FACE] * 3, atol=1e-4)
    seconded = likelihood((logit(0.3) + logit(0.8)) / 2)
    np.testing.assert_allclose(scores.numpy()[:, 0], [0.9, seconded, 0.7], rtol=1e-4)
    assert not scores.numpy()[:, 1].any()


def test_where_there_is_no_doubt_the_first_detector_has_the_only_word() -> None:
    first, further = Brightness({1: 0.9}), Brightness({})

    ((boxes, scores),) = proposals_of(FurtherLook(first, further), picture(1)[None])

    assert all(not len(batch) for batch in further.shown)
    np.testing.assert_allclose(boxes, [FACE])
    np.testing.assert_allclose(scores, [0.9])


def proposals_of(stage: FurtherLook, pictures: np.ndarray):
    """As `proposals`, which traces a graph in which nothing could be noted down."""
    tf.config.run_functions_eagerly(True)
    try:
        return proposals(stage, pictures)
    finally:
        tf.config.run_functions_eagerly(False)


class TestJoined:
    """Two lists of proposals as one."""

    def test_a_face_that_both_see_has_both_places_by_their_scores(self) -> None:
        one = (tf.constant([[[0.0, 0, 10, 10]]]), tf.constant([[0.3]]))
        other = (tf.constant([[[2.0, 0, 12, 10], [60, 0, 70, 10]]]), tf.constant([[0.6, 0.0]]))

        boxes, scores = joined(one, other)

        assert boxes.shape == (1, 1, 4)
        place = 2.0 * 0.6 / 0.9
        np.testing.assert_allclose(boxes.numpy()[0, 0], [place, 0, 10 + place, 10], rtol=1e-4)
        assert scores.numpy()[0, 0] == pytest.approx(
            likelihood((logit(0.3) + logit(0.6)) / 2), rel=1e-4
        )

    def test_what_one_of_them_sees_alone_is_worth_less(self) -> None:
        nothing = [0.0] * 4
        one = (tf.constant([[[0.0, 0, 10, 10], nothing, nothing]]), tf.constant([[0.9, 0, 0]]))
        other = (tf.constant([[[40.0, 0, 50, 10], nothing]]), tf.constant([[0.99, 0]]))

        boxes, scores = joined(one, other)

        np.testing.assert_allclose(
            boxes.numpy()[0, :2], [[40, 0, 50, 10], [0, 0, 10, 10]], rtol=1e-4
        )
        alone = [likelihood((logit(0.99) - 5) / 2), likelihood((logit(0.9) - 5) / 2), 0]
        np.testing.assert_allclose(scores.numpy()[0], alone, rtol=1e-3)

    def test_of_several_that_lie_there_the_surest_is_believed(self) -> None:
        one = (tf.constant([[[0.0, 0, 10, 10]]]), tf.constant([[0.5]]))
        other = (tf.constant([[[1.0, 0, 11, 10], [0, 0, 10, 10]]]), tf.constant([[0.8, 0.2]]))

        boxes, scores = joined(one, other)

        share = 0.8 / 1.3
        np.testing.assert_allclose(boxes.numpy()[0, 0], [share, 0, 10 + share, 10], rtol=1e-4)
        assert scores.numpy()[0, 0] == pytest.approx(likelihood(logit(0.8) / 2), rel=1e-4)
