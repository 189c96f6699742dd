"""Training of the face detector from LabelImg's Pascal VOC files, on the processor or a GPU.

What is written to the output folder:

- ``checkpoint.safetensors``: everything needed to go on after a kill, replaced every five minutes
  and after each epoch;
- ``detector.safetensors``: the averaged weights, with hashes of the pictures that they learned;
- ``familiar-face/``: the finished detector, as `core.models` loads it;
- ``taught.safetensors``: boxes of the pictures that nobody boxed, where there are such;
- ``curve.csv``: one line an epoch;
- ``metrics.json``: what the finished detector reaches.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from core.average_precision import average_precision, claims
from core.evaluate_detector import evaluate_boxed
from core.face import Face
from core.models.detector import GREY, SavedModelDetector, faces_of
from core.models.tensorflow_runtime import Module, set_threads, tf
from core.progress import Progress
from core.train.detector_data import (
    Batch,
    Sample,
    Taught,
    batches,
    load_samples,
    windows_without_faces,
)
from core.train.detector_export import PLACES, export
from core.train.detector_loss import assign, detection_losses
from core.train.detector_network import (
    DetectorNetwork,
    cells_of,
    named_variables,
    suppressed,
)
from core.train.face_data import LeftOut
from core.train.parts import Boxed, digest_of, read_parts, refuse_learned
from core.train.quantise import examples_of
from core.train.reached import Reached, counted
from core.train.results import one_at_a_time
from core.train.session import (
    DETECTOR,
    BoxTraining,
    Session,
    TrainingError,
    TrainingStep,
    refuse_taken,
    share_gpus,
    write_tensors,
)
from core.train.teacher import Lessons, Teacher, Unboxed, collect, load_teacher, of_network, teach
from core.voc import Annotation

_STRONG_AT_LAST = 0.25
"""Of the strong changes, how many are left in the last epochs."""

_MISSED = 4
"""How many boxes too many a missed face counts, in the choice of the threshold."""

_LEARNED = "learned"

_UNCHOSEN = 0.3
"""The threshold where no face is found by which to choose one."""


@dataclass(frozen=True, slots=True)
class DetectorTraining(BoxTraining):
    """How to train; of `strong`, a quarter is left in the last epochs.

    Attributes:
        side: Of the square training pictures, in pixels.
        longest: Longest side at which pictures are looked at, in pixels.
        plain_epochs: Last epochs, without mosaics.
        taught: Share of the windows that show pictures without boxes of their own, where there
            are such.
        kept: Share of the weights that a training begins with in those that it ends with, 0..1:
            the mean of both often does better than either on other pictures (Wortsman et al., 2022,
            "Robust fine-tuning of zero-shot models", arXiv:2109.01903).
    """

    side: int = 320
    longest: int = 352
    plain_epochs: int = 4
    taught: float = 0.4
    kept: float = 0.0


@one_at_a_time
def train(
    folders: Path | Sequence[Path],
    out: Path,
    options: DetectorTraining | None = None,
    *,
    start: Path | None = None,
    unboxed: Sequence[Unboxed] = (),
    teacher: Path | None = None,
    resume: bool = False,
    progress: Callable[[TrainingStep], None] = lambda _: None,
    boxing: Progress = lambda done, total: None,
    left_out: LeftOut | None = None,
) -> Reached:
    """Train a detector; the same seed, data and processor give the same weights.

    On a GPU they differ a little from one training to another: it adds up in any order.

    Args:
        folders: Pascal VOC pictures. Only the first folder is split; what is in the others is
            trained on as a whole.
        out: Where to write; made if it is missing.
        options: See `DetectorTraining`.
        start: Weights of an earlier training (``detector.safetensors``) to begin with instead of
            random ones.
        unboxed: Pictures without boxes, on which another detector says where faces are.
        teacher: Folder of that detector, of any kind that `core.models.detector` loads; None: that
            of `start`.
        resume: Go on from the checkpoint in `out`, if there is one.
        progress: Called after each step.
        boxing: Told in how many of the pictures without boxes these were found.
        left_out: Told of each picture without boxes that cannot be read.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        AnnotationError: The pictures cannot be used, or `start` has learned some that are kept for
            tuning or validation.
        ModelError: `teacher` holds no detector.
        TrainingError: The checkpoint is damaged or was made with other options or other data,
            there are fewer pictures than a batch takes, there is no detector to box the `unboxed`
            pictures or none of these for the `teacher`, or `start` is no detector's weights or of
            another width, or is not there although some of it is to be kept.
    """
    options = options or DetectorTraining()
    _refuse_incomplete(options, start, unboxed, teacher)
    refuse_taken(out, resume)
    set_threads(options.threads)
    share_gpus()
    begun = read_weights(start) if start is not None else None
    if begun is not None and begun.width != options.width:
        raise TrainingError(
            f"{start} is of width {begun.width}, the detector to be trained of width"
            f" {options.width}."
        )
    boxed = read_parts(folders)
    learned = boxed.contents | learned_before(start, boxed)
    learning = boxed.learning
    if len(learning) < options.batch:
        raise TrainingError(
            f"{len(learning)} training pictures are fewer than a batch of {options.batch}."
        )
    out.mkdir(parents=True, exist_ok=True)
    facts = hashlib.sha256(start.read_bytes()).hexdigest() if start is not None else ""
    boxes_them: Teacher | None = None
    if teacher is not None:
        boxes_them = load_teacher(teacher)
    elif begun is not None and unboxed:
        boxes_them = of_network(begun, facts, options.longest, options.precision)
    lessons: Lessons | None = None
    if boxes_them is not None:
        lessons = collect(
            boxes_them, unboxed, side=options.side, kept=boxed.kept, left_out=left_out
        )
        facts += lessons.key
        learned |= frozenset(lessons.contents)
    session = _Session(options, learning, begun, facts)
    if reached := session.go_on(out, resume, Reached):
        return reached
    taught: Taught | None = None
    if lessons is not None:
        taught = Taught(teach(lessons, out / "taught.safetensors", boxing), options.taught)
    samples = load_samples(learning, 2 * options.longest)
    tuning = load_samples(boxed.tuning, options.longest, enlarged=True)
    session.run(
        out,
        lambda checkpoint: session.learn(samples, taught, checkpoint, progress),
        lambda: score(session.average, tuning),
    )
    network = session.average
    if begun is not None and options.kept:
        keep(network, begun, options.kept)
    write_weights(out / "detector.safetensors", network, options.width, learned)
    empty = windows_without_faces(boxed.tuning, options.longest)
    chosen = choose_threshold(network, tuning, empty)
    export(
        network,
        out / DETECTOR,
        options.longest,
        chosen.threshold,
        examples_of(samples),
    )
    reached = Reached(
        **counted(boxed, samples, taught.samples if taught else (), lessons).model_dump(),
        tuning_ap50=score(network, tuning),
        threshold=chosen.threshold,
        tuning_precision_at_threshold=chosen.precision,
        tuning_recall_at_threshold=chosen.recall,
        windows_without_faces=len(empty),
        boxes_there_at_threshold=chosen.false,
        validation_ap50=exported_score(out / DETECTOR, boxed.validation),
        seconds=round(session.seconds, 1),
    )
    reached.write(out)
    return reached


def _refuse_incomplete(
    options: DetectorTraining,
    start: Path | None,
    unboxed: Sequence[Unboxed],
    teacher: Path | None,
) -> None:
    """Refuse what needs something that is not given."""
    if options.kept and start is None:
        raise TrainingError(
            "Only of weights that a training begins with can some be kept; give these (--start)."
        )
    if unboxed and start is None and teacher is None:
        raise TrainingError(
            "Pictures without boxes need a trained detector that boxes them; give one (--teacher),"
            " or the weights to begin with (--start)."
        )
    if teacher is not None and not unboxed:
        raise TrainingError(
            "A detector is to box pictures without boxes, and none are given; give some (--unboxed"
            " or --crops)."
        )


def keep(network: DetectorNetwork, begun: DetectorNetwork, share: float) -> None:
    """Give a network back a share of the weights that it began with.

    Args:
        network: Is changed.
        begun: What it began with, of the same width.
        share: 0..1.
    """
    before = named_variables(begun)
    for name, variable in named_variables(network).items():
        variable.assign((1 - share) * variable + share * before[name])


class _Session(Session):
    """The state of one training of the detector."""

    def __init__(
        self,
        options: DetectorTraining,
        learning: Sequence[Annotation],
        begun: DetectorNetwork | None,
        facts: str,
    ) -> None:
        self.options = options
        self.network = DetectorNetwork(options.width, options.seed)
        self.average = DetectorNetwork(options.width, options.seed)
        data = hashlib.sha256((digest_of(learning) + facts).encode()).hexdigest()
        super().__init__(options, self.network, self.average, data=data)
        if begun is not None:
            self.begin_with(named_variables(begun))
        self._step = tf.function(self._one_step)

    def learn(
        self,
        samples: Sequence[Sample],
        taught: Taught | None,
        checkpoint: Path,
        progress: Callable[[TrainingStep], None],
    ) -> None:
        """One epoch, or what is left of it; see `run_epoch`."""
        options = self.options
        plain = self.epoch >= options.epochs - options.plain_epochs
        drawn = batches(
            samples,
            side=options.side,
            size=options.batch,
            seed=options.seed,
            epoch=self.epoch,
            mosaic=0.0 if plain else options.mosaic,
            strong=options.strong * (_STRONG_AT_LAST if plain else 1.0),
            taught=taught,
            first=self.step,
        )

        def step_on(batch: Batch, rate: Any) -> Any:
            arrays = (batch.pictures, batch.boxes, batch.kinds)
            return self._step(*(tf.constant(each) for each in arrays), rate)

        steps = len(samples) // options.batch
        self.run_epoch(drawn, step_on, steps=steps, checkpoint=checkpoint, progress=progress)

    def _one_step(self, pictures: Any, truths: Any, kinds: Any, rate: Any) -> Any:
        cells = cells_of(self.options.side)
        with tf.GradientTape() as tape:
            logits, boxes = self.network(pictures, training=True, precision=self.precision)
            wanted = assign(tf.stop_gradient(logits), tf.stop_gradient(boxes), truths, kinds, cells)
            losses = detection_losses(logits, boxes, wanted)
        self.descend(tape, losses.total, rate)
        return losses.total


def score(network: DetectorNetwork, samples: Sequence[Sample]) -> float | None:
    """Average precision of a network on pictures at IoU 0.5, 0..1; None where they have no box."""
    if not any(len(sample.boxes) for sample in samples):
        return None
    found = [faces_in(network, sample.pixels) for sample in samples]
    return average_precision(found, [sample.boxes for sample in samples])


def exported_score(folder: Path, annotations: Sequence[Annotation]) -> float | None:
    """Average precision of a detector's folder at IoU 0.5, 0..1, as it runs: in int8
    where it has that.

    None where the pictures have no box.
    """
    if not any(len(annotation.boxes) for annotation in annotations):
        return None
    # Where a GPU trained, it is in use and cannot be given back.
    detector = SavedModelDetector.load(folder, "gpu", precision="int8")
    return evaluate_boxed(annotations, detector)[0].average_precision


@dataclass(frozen=True, slots=True)
class Operation:
    """A score from which boxes count as faces, and what it gives.

    Attributes:
        threshold: The score.
        precision: Of the boxes on the tuning pictures, at IoU 0.5; None without such pictures.
        recall: The same.
        false: Share of the windows without faces in which there is a box; None without windows.
    """

    threshold: float
    precision: float | None
    recall: float | None
    false: float | None


def choose_threshold(
    network: DetectorNetwork,
    samples: Sequence[Sample],
    empty: Sequence[Sample] = (),
) -> Operation:
    """The score from which boxes are right most often and miss least: the highest F2.

    F2 counts a missed face four times as much as a box too many: the one costs a picture its
    character, the other a row of the index. Boxes in pictures without a face are wrong ones, too.

    Args:
        network: To choose for.
        samples: Pictures that nothing was trained on and nothing is reported on.
        empty: The same, without any face.
    """
    wanted = sum(len(sample.boxes) for sample in samples)
    in_samples = [
        claim
        for sample in samples
        for claim in claims(faces_in(network, sample.pixels), sample.boxes)
    ]
    in_empty = [[face.score for face in faces_in(network, each.pixels)] for each in empty]
    claimed = in_samples + [(score, False) for scores in in_empty for score in scores]
    claimed.sort(key=lambda claim: -claim[0])
    threshold, best, hits = _UNCHOSEN, 0.0, 0
    for count, (confidence, right) in enumerate(claimed, start=1):
        hits += right
        if hits / (count + _MISSED * wanted) > best:
            threshold, best = confidence, hits / (count + _MISSED * wanted)
    if not best:
        return Operation(_UNCHOSEN, None, None, None)
    # Rounded up, as half of all are to the nearest place, it would lose the box it was chosen at.
    threshold = math.floor(threshold * 10**PLACES) / 10**PLACES
    kept = [right for confidence, right in in_samples if confidence >= threshold]
    return Operation(
        threshold,
        sum(kept) / len(kept),
        sum(kept) / wanted,
        float(np.mean([max(each, default=0.0) >= threshold for each in in_empty]))
        if in_empty
        else None,
    )


def faces_in(network: DetectorNetwork, pixels: NDArray[np.uint8]) -> tuple[Face, ...]:
    """What a network sees in one picture, most confident first."""
    height, width = pixels.shape[:2]
    padded = cv2.copyMakeBorder(
        pixels, 0, -height % 32, 0, -width % 32, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY)
    )
    boxes, scores, _, count = _detect(network, tf.constant(padded[None]))
    kept = int(count[0])
    return faces_of(boxes.numpy()[0][:kept, [1, 0, 3, 2]], scores.numpy()[0][:kept], height, width)


def write_weights(path: Path, network: Module, width: int, learned: Collection[str] = ()) -> None:
    """Write a network's weights, so that a reader never finds half of them.

    Args:
        path: The file.
        network: Of either stage.
        width: Of the network.
        learned: Hashes of the pictures that it was trained on; see `learned_by`.
    """
    tensors = {n: v.numpy() for n, v in named_variables(network).items()}
    # Of several facts a file would hold now one first and now another: it would not be the same.
    if learned:
        rows = [list(bytes.fromhex(each)) for each in sorted(learned)]
        tensors[_LEARNED] = np.array(rows, np.uint8)
    write_tensors(path, tensors, {"width": str(width)})


def learned_by(path: Path) -> frozenset[str]:
    """What the weights of a file were trained on, also before they became these.

    Returns:
        The SHA-256 of each picture's file, in hexadecimal digits; none where the file
        tells of none.
    """
    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        rows = file.get_tensor(_LEARNED) if _LEARNED in names else ()
    return frozenset(row.tobytes().hex() for row in rows)


def learned_before(start: Path | None, boxed: Boxed) -> frozenset[str]:
    """What the weights that a training begins with have learned; see `learned_by`.

    Raises:
        AnnotationError: See `core.train.parts.refuse_learned`.
    """
    if start is None:
        return frozenset()
    learned = learned_by(start)
    refuse_learned(start, learned, boxed)
    return learned


def read_weights(path: Path) -> DetectorNetwork:
    """The network that `write_weights` wrote.

    Raises:
        TrainingError: The file holds no such network.
    """
    try:
        with safe_open(path, framework="np") as file:
            network = DetectorNetwork(int(file.metadata()["width"]))
            for name, variable in named_variables(network).items():
                variable.assign(file.get_tensor(name).reshape(variable.shape))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise TrainingError(
            f"{path} does not hold a detector's weights; give the detector.safetensors that"
            " `familiar train detector` wrote."
        ) from error
    return network


_detect = tf.function(
    lambda network, pictures: suppressed(*network(pictures)), reduce_retracing=True
)
