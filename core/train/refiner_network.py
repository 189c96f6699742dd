"""A second look at each face that a detector proposes: its square again, from near.

One network looks at the whole picture at once and has to be cheap everywhere; a second one looks
at a handful of places, says again whether there is a face, and where its sides are. That it shares
nothing with the first keeps it from repeating the first one's mistakes (Cheng et al., 2018,
"Revisiting RCNN", arXiv:1803.06799); that it moves the box before it judges it
is Cascade R-CNN's (Cai and Vasconcelos, 2018, arXiv:1712.00726).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from core.face import Pixels
from core.models.detector import GREY, LEAST_SCORE, SavedModelDetector
from core.models.quantised import after
from core.models.tensorflow_runtime import Module, tf
from core.train.boxes_found import Proposed
from core.train.detector_network import Backbone, Convolution, Prediction, constant
from core.train.session import TrainingError

SIDE = 64
"""Of what the network looks at, in pixels."""

CELLS = SIDE // 16
"""Height and width of what it makes of that."""

CONTEXT = 2.0
"""Side of the square that is looked at, in the proposed box's longer side: with hair and neck."""

MOST_LOOKED_AT = 16
"""Of a picture's proposals, those with the highest scores."""

LEAST_LOOKED_AT = 0.05
"""Proposals with less are left as they are: to look at them too costs time and gains nothing."""

_FINER = 2
_LARGEST_STEP = 1.5
_NOTHING = -30.0


class RefinerNetwork(Backbone):
    """Squares around proposed faces -> logits and boxes.

    Args:
        width: Channels of the backbone's finest map, as `DetectorNetwork` has them.
        seed: Of the starting weights.
    """

    def __init__(self, width: int = 32, seed: int = 0) -> None:
        g = np.random.default_rng(seed)
        super().__init__(g, width)
        self.width = width
        self.narrow = Convolution(g, 8 * width, 4 * width)
        # Where something is tells a face from half a face: no mean over the cells.
        self.whole = Convolution(g, CELLS * CELLS * 4 * width + 1, 8 * width, 1)
        self.score = Prediction(g, 8 * width, 1, 0.0)
        self.place = Prediction(g, 8 * width, 4, 0.0)

    def folded(self) -> RefinerNetwork:
        """A copy whose weights are constants: it only looks, and needs half the space on disk."""
        return constant(RefinerNetwork(self.width), self)

    def __call__(
        self,
        squares: Any,
        boxes: Any,
        training: bool = False,
        precision: Any = tf.float32,
    ) -> tuple[Any, Any]:
        """Look at squares.

        Args:
            squares: ``(m, SIDE, SIDE, 3)``, 0..255; `m` may be 0.
            boxes: ``(m, 4)``, as proposed; the square does not show how high and wide they are.
            training: Normalise by the batch and update the running statistics.
            precision: What the convolutions compute in.

        Returns:
            Logits ``(m,)``, and changes ``(m, 4)`` as `moved` takes them.
        """
        features = self.features(_one_at_least(squares), training, precision)
        return self.judged(features, boxes, training)

    def features(self, squares: Any, training: bool = False, precision: Any = tf.float32) -> Any:
        """All but the last layers, on which nearly all of the time goes: ``(m, 4, 4, c)``."""
        *_, c4 = self.maps(squares, training, precision)
        return self.narrow(c4, training)

    def judged(self, features: Any, boxes: Any, training: bool = False) -> tuple[Any, Any]:
        """What the last layers make of `features`; see `__call__`."""
        count = tf.shape(boxes)[0]
        features, boxes = _one_at_least(features), _one_at_least(boxes)
        x = tf.reshape(features, [-1, 1, 1, math.prod(features.shape[1:])])
        sides = tf.maximum(boxes[:, 2:] - boxes[:, :2], 1e-3)
        shape = tf.cast(tf.math.log(sides[:, :1] / sides[:, 1:]), x.dtype)
        x = self.whole(tf.concat([x, shape[:, None, None]], -1), training)
        return self.score(x)[:count, 0, 0, 0], self.place(x)[:count, 0, 0]


def _one_at_least(x: Any) -> Any:
    """`x`, or a row of zeros where it has no row: where it convolves with oneDNN, as on processors
    with AVX-512, TensorFlow fails at operations that are joined to a convolution of nothing."""
    missing = tf.maximum(0, 1 - tf.shape(x)[0])
    return tf.pad(x, [[0, missing], *([[0, 0]] * (len(x.shape) - 1))])


def squares_around(boxes: Any) -> Any:
    """What is looked at of boxes ``(m, 4)``: ``(m, 3)``, ``[x, y, side]`` with the centre."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = tf.maximum(tf.reduce_max(sides, -1, keepdims=True), 1.0)
    return tf.concat([(boxes[:, :2] + boxes[:, 2:]) / 2, CONTEXT * longer], -1)


def cut_out(pictures: Any, squares: Any, owners: Any) -> Any:
    """Squares of pictures, as the network looks at them.

    Args:
        pictures: ``(n, height, width, 3)`` uint8 or float32, 0..255.
        squares: ``(m, 3)`` ``[x, y, side]`` with the centre, in pixels.
        owners: ``(m,)`` int32, which picture each is cut from.

    Returns:
        ``(m, SIDE, SIDE, 3)`` float32, 0..255; grey outside of the picture.
    """
    fine = _FINER * SIDE
    centres, sides = squares[:, 1::-1], squares[:, 2:]
    # The operation counts from the centres of the outermost pixels, boxes from pixels' edges.
    low = centres - sides / 2 + sides / (2 * fine) - 0.5
    high = centres + sides / 2 - sides / (2 * fine) - 0.5
    extent = tf.maximum(tf.cast(tf.shape(pictures)[1:3], tf.float32) - 1.0, 1.0)
    cut = tf.image.crop_and_resize(
        pictures,
        tf.concat([low / extent, high / extent], -1),
        owners,
        [fine, fine],
        extrapolation_value=float(GREY),
    )
    # Two samples a pixel and direction: fewer would show large faces jagged.
    return tf.nn.avg_pool2d(cut, _FINER, _FINER, "VALID")


def moved(changes: Any, boxes: Any) -> Any:
    """Boxes that the network means.

    Args:
        changes: ``(m, 4)``: of the centre, in sides of the proposed box, and of width and height,
            as logarithms.
        boxes: ``(m, 4)``, as proposed.

    Returns:
        ``(m, 4)`` ``[x0, y0, x1, y1]`` in pixels.
    """
    sides = boxes[:, 2:] - boxes[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2 + changes[:, :2] * sides
    steps = tf.clip_by_value(changes[:, 2:], -_LARGEST_STEP, _LARGEST_STEP)
    reach = tf.exp(steps) * sides / 2
    return tf.concat([centres - reach, centres + reach], -1)


def load_first_stage(folder: Path) -> SavedModelDetector:
    """A detector that takes pictures of any number and size, for `FirstStage`; GPUs are left to the
    training.

    Raises:
        ModelError: The folder holds no detector.
        TrainingError: The detector takes pictures of one size alone, or one at a time.
    """
    loaded = SavedModelDetector.load(folder, device="gpu", described=False)
    if loaded.frame is not None:
        raise TrainingError(
            f"The detector {loaded.name} takes pictures of one size alone; training needs one that"
            " takes any."
        )
    if loaded.at_once == 1:
        raise TrainingError(
            f"The detector {loaded.name} takes one picture at a time; training needs one that takes"
            " any number: export it with a batch of no fixed size."
        )
    return loaded


class FirstStage(Module):
    """What a trained detector proposes.

    Args:
        detector: Takes pictures of any number and size.

    Attributes:
        network: The content of its network in int8; None where it has none, or several.
        after: The signature that follows that network, to the detector's answers.
    """

    def __init__(self, detector: SavedModelDetector) -> None:
        super().__init__()
        self.model = detector.model
        self._signature = detector.signature
        ((self._entrance, _),) = detector.signature.structured_input_signature[1].items()
        self._classes = detector.classes
        alone = len(detector.networks) == 1
        self.network = detector.networks[0].read_bytes() if alone else None
        self.after = detector.model.signatures[after(1)] if alone else None

    def __call__(self, pictures: Any) -> tuple[Any, Any]:
        """The proposals for each picture.

        Args:
            pictures: ``(n, height, width, 3)`` uint8.

        Returns:
            Boxes ``(n, k, 4)`` ``[x0, y0, x1, y1]`` in pixels and scores ``(n, k)``, highest first;
            a score of 0 says that there is no proposal.
        """
        found = self._signature(**{self._entrance: pictures})
        return self.chosen(found, tf.shape(pictures)[1:3])

    def chosen(self, found: Any, size: Any) -> tuple[Any, Any]:
        """The proposals of the detector's answers; see `__call__`.

        Args:
            found: By the names that the Object Detection API gives them.
            size: Height and width of the pictures, int32.
        """
        scores = tf.cast(found["detection_scores"], tf.float32)
        rank = tf.range(tf.shape(scores)[1])
        counted = rank < tf.cast(found["num_detections"], tf.int32)[:, None]
        counted &= scores >= LEAST_SCORE
        if self._classes is not None:
            classes = tf.cast(found["detection_classes"], tf.int32)[..., None]
            counted &= tf.reduce_any(classes == list(self._classes), -1)
        scores, best = tf.math.top_k(tf.where(counted, scores, 0.0), tf.shape(scores)[1])
        boxes = tf.gather(found["detection_boxes"], best, batch_dims=1)
        size = tf.cast(size, tf.float32)
        extent = tf.concat([size[::-1], size[::-1]], 0)
        return tf.gather(boxes, [1, 0, 3, 2], axis=-1) * extent, scores


def proposals(first: FirstStage, pictures: Pixels) -> list[Proposed]:
    """What the first stage proposes in pictures of one size, ``(n, height, width, 3)``."""
    boxes, scores = _propose(first, tf.constant(pictures))
    return [
        (box[score > 0], score[score > 0])
        for box, score in zip(boxes.numpy(), scores.numpy(), strict=True)
    ]


_propose = tf.function(lambda first, pictures: first(pictures), reduce_retracing=True)


def second_look(
    network: Any, pictures: Any, boxes: Any, scores: Any, precision: Any = tf.float32
) -> tuple[Any, Any]:
    """Look again at what the first stage proposes, and at nothing else.

    Args:
        network: A `RefinerNetwork`.
        pictures: ``(n, height, width, 3)`` uint8.
        boxes: ``(n, k, 4)`` in pixels.
        scores: ``(n, k)``, highest first, 0 where there is no proposal.
        precision: Of the convolutions.

    Returns:
        Moved boxes ``(n, k, 4)`` and logits ``(n, k)``; where there is no look, those of the first
        stage.
    """
    places = places_to_look(pictures, boxes, scores)
    answers = network(places.squares, places.proposed, precision=precision)
    return put_back((boxes, scores), places.there, places.proposed, answers)


class PlacesToLook(NamedTuple):
    """Where a second look is worth it.

    Attributes:
        there: ``(m, 2)`` int32: picture, and number of its proposal.
        proposed: ``(m, 4)``, in pixels.
        squares: ``(m, SIDE, SIDE, 3)``, 0..255.
    """

    there: Any
    proposed: Any
    squares: Any


def places_to_look(pictures: Any, boxes: Any, scores: Any) -> PlacesToLook:
    """What `second_look` looks at; its arguments."""
    likely = tf.range(tf.shape(scores)[1]) < MOST_LOOKED_AT
    there = tf.cast(tf.where((scores >= LEAST_LOOKED_AT) & likely), tf.int32)
    proposed = tf.gather_nd(boxes, there)
    return PlacesToLook(there, proposed, cut_out(pictures, squares_around(proposed), there[:, 0]))


def put_back(
    first: tuple[Any, Any], there: Any, proposed: Any, answers: tuple[Any, Any]
) -> tuple[Any, Any]:
    """What `second_look` gives.

    Args:
        first: Boxes ``(n, k, 4)`` and scores ``(n, k)`` of the first stage.
        there: As in `PlacesToLook`.
        proposed: As in `PlacesToLook`.
        answers: Of a `RefinerNetwork` to these places: logits ``(m,)`` and changes ``(m, 4)``.
    """
    boxes, scores = first
    logits, changes = answers
    return (
        tf.tensor_scatter_nd_update(boxes, there, moved(changes, proposed)),
        tf.tensor_scatter_nd_update(_logits_of(scores), there, logits),
    )


def _logits_of(scores: Any) -> Any:
    likely = tf.clip_by_value(scores, 1e-6, 1.0 - 1e-6)
    return tf.math.log(likely) - tf.math.log1p(-likely)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How both stages' answers become one.

    Attributes:
        first: Share of the first stage in the mean of both logits, 0..1.
        way: How far a box goes from where the first stage has it to where the second one has it,
            0..1: each errs in its own way.
    """

    first: float
    way: float


def agreed(
    first: tuple[Any, Any], second: tuple[Any, Any], agreement: Agreement
) -> tuple[Any, Any]:
    """Both stages' answers as one.

    Args:
        first: Boxes ``(n, k, 4)`` and scores ``(n, k)``, 0 where there is no proposal.
        second: Moved boxes ``(n, k, 4)`` and logits ``(n, k)``.
        agreement: Whose word counts how much.

    Returns:
        Logits ``(n, k)`` and boxes ``(n, k, 4)``; where there is no proposal, logits so low that
        nothing is kept of it.
    """
    (proposed, scores), (boxes, logits) = first, second
    both = agreement.first * _logits_of(scores) + (1.0 - agreement.first) * logits
    where = proposed + agreement.way * (boxes - proposed)
    return tf.where(scores > 0, both, _NOTHING), where
