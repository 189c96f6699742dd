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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models.tensorflow_runtime import set_threads, tf
from core.progress import Progress
from core.train.detector_choice import choose_threshold, exported_score, score
from core.train.detector_data import (
    Batch,
    Taught,
    batches,
    load_samples,
    windows_without_faces,
)
from core.train.detector_export import examples_of, export
from core.train.detector_loss import assign, detection_losses
from core.train.detector_network import (
    DetectorNetwork,
    cells_of,
    named_variables,
)
from core.train.detector_sample import Sample
from core.train.detector_weights import learned_by_start, read_weights, write_weights
from core.train.face_data import LeftOut
from core.train.parts import digest_of_annotations, read_parts
from core.train.reached import Reached, counted
from core.train.results import DETECTOR, DETECTOR_WEIGHTS, TAUGHT, one_at_a_time
from core.train.session import (
    BoxTraining,
    Session,
    TrainingError,
    TrainingStep,
    refuse_taken,
    share_gpus,
)
from core.train.teacher import Lessons, Teacher, Unboxed, collect, load_teacher, of_network, teach
from core.voc import Annotation

_STRONG_AT_LAST = 0.25
"""Of the strong changes, how many are left in the last epochs."""


@dataclass(frozen=True, slots=True)
class DetectorTraining(BoxTraining):
    """How to train; of `strong`, a quarter is left in the last epochs.

    Attributes:
        side: Of the square training pictures, in pixels.
        longest: Longest side at which pictures are looked at, in pixels.
        plain_epochs: Last epochs, without mosaics.
        taught: Share of the windows that show pictures without boxes of their own, where there
            are such.
        share_of_start: Of the weights that a training begins with in those that it ends with, 0..1:
            the mean of both often does better than either on other pictures (Wortsman et al., 2022,
            "Robust fine-tuning of zero-shot models", arXiv:2109.01903).
    """

    side: int = 320
    longest: int = 352
    plain_epochs: int = 4
    taught: float = 0.4
    share_of_start: float = 0.0


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
    learned = boxed.contents | learned_by_start(start, boxed)
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
        taught = Taught(teach(lessons, out / TAUGHT, boxing), options.taught)
    samples = load_samples(learning, 2 * options.longest)
    tuning = load_samples(boxed.tuning, options.longest, enlarged=True)
    session.run(
        out,
        lambda checkpoint: session.learn(samples, taught, checkpoint, progress),
        lambda: score(session.average, tuning),
    )
    network = session.average
    if begun is not None and options.share_of_start:
        average_with_start(network, begun, options.share_of_start)
    write_weights(out / DETECTOR_WEIGHTS, network, options.width, learned)
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
    if options.share_of_start and start is None:
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


def average_with_start(network: DetectorNetwork, begun: DetectorNetwork, share: float) -> None:
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
        data = hashlib.sha256((digest_of_annotations(learning) + facts).encode()).hexdigest()
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
