"""Training of a second look at what a face detector proposes, and one detector made of both.

What is written to the output folder:

- ``checkpoint.safetensors``: everything needed to go on after a kill, replaced every five minutes
  and after each epoch;
- ``refiner.safetensors``: the averaged weights, with hashes of the pictures that they and the first
  stage learned;
- ``familiar-face/``: both stages as one detector, as `core.models` loads it;
- ``taught.safetensors``: boxes of the pictures that nobody boxed, where there are such;
- ``proposed.safetensors``: what the first stage proposes in the training pictures;
- ``curve.csv``: one line an epoch;
- ``metrics.json``: what the first stage and the finished detector reach.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.models.tensorflow_runtime import set_threads, tf
from core.progress import Progress
from core.train.boxes_found import Proposed
from core.train.detector_choice import exported_score
from core.train.detector_data import load_samples, windows_without_faces
from core.train.detector_export import examples_of, export_both
from core.train.detector_network import FIRST_LAYERS
from core.train.detector_weights import (
    Start,
    learned_by_first,
    learned_by_start,
    read_start,
    write_weights,
)
from core.train.face_data import LeftOut
from core.train.parts import digest_of_annotations, read_parts
from core.train.reached import RefinerReached, counted
from core.train.refiner_choice import (
    FIRST_ALONE,
    choose,
    looked_again,
    looked_at,
    precision_of_both,
)
from core.train.refiner_data import Places, Shown, Views, batches, propose
from core.train.refiner_loss import refiner_losses
from core.train.refiner_network import (
    FirstStage,
    RefinerNetwork,
    cut_out,
    load_first_stage,
    moved,
    squares_around,
)
from core.train.results import DETECTOR, REFINER_WEIGHTS, TAUGHT, one_at_a_time
from core.train.session import (
    BoxTraining,
    Session,
    TrainingError,
    TrainingStep,
    refuse_taken,
    share_gpus,
)
from core.train.teacher import Lessons, Unboxed, collect, load_teacher, of_network, teach


@dataclass(frozen=True, slots=True)
class RefinerTraining(BoxTraining):
    """How to train; what is shown are views, of pictures without boxes all from four.

    Attributes:
        places: That are looked at in each view.
        views: Of each boxed picture.
        taught_views: Of each picture without boxes.
    """

    epochs: int = 4
    rate: float = 1e-3
    warm_up: int = 100
    average: float = 0.995
    tune_every: int = 1
    places: int = 8
    views: float = 1.5
    taught_views: float = 0.15


@one_at_a_time
def train(
    folders: Path | Sequence[Path],
    detector: Path,
    out: Path,
    options: RefinerTraining | None = None,
    *,
    start: Path | None = None,
    unboxed: Sequence[Unboxed] = (),
    resume: bool = False,
    progress: Callable[[TrainingStep], None] = lambda _: None,
    boxing: Progress = lambda done, total: None,
    proposing: Progress = lambda done, total: None,
    left_out: LeftOut | None = None,
) -> RefinerReached:
    """Train a second stage for a detector; see `core.train.detector.train`.

    Args:
        folders: Pascal VOC pictures. Only the first folder is split; what is in the others is
            trained on as a whole.
        detector: Folder of the first stage, which stays as it is. What it learned counts as
            learned, where it lies beside the weights of its training.
        out: Where to write; made if it is missing.
        options: See `RefinerTraining`.
        start: Weights of a detector's training (``detector.safetensors``), whose backbone the
            second stage begins with instead of a random one, or of a second stage's
            (``refiner.safetensors``), of which it takes all layers of its own shape; of the first
            layers only the running statistics then change.
        unboxed: Pictures without boxes, on which a detector says where faces are: that of `start`
            where it is one, else the first stage.
        resume: Go on from the checkpoint in `out`, if there is one.
        progress: Called after each step.
        boxing: Told in how many of the pictures without boxes these were found.
        proposing: Told of how many views there are proposals.
        left_out: Told of each picture without boxes that cannot be read.

    Returns:
        What ``metrics.json`` holds.

    Raises:
        AnnotationError: The pictures cannot be used, or `start` or `detector` has learned some
            that are kept for tuning or validation.
        ModelError: `detector` holds no detector.
        TrainingError: The checkpoint was made with other options or other data, the detector takes
            pictures of one size alone, `start` is no detector's weights, those of `detector` are
            damaged, or there are too few pictures.
    """
    options = options or RefinerTraining()
    refuse_taken(out, resume)
    set_threads(options.threads)
    share_gpus()
    loaded = load_first_stage(detector)
    first = FirstStage(loaded)
    begun = read_start(start, options.width) if start is not None else None
    boxed = read_parts(folders)
    learned = boxed.contents | learned_by_start(start, boxed) | learned_by_first(detector, boxed)
    learning = boxed.learning
    if not learning:
        raise TrainingError(
            "There is no picture to train on: by their numbers, all of the first folder are kept"
            " for tuning and validation."
        )
    out.mkdir(parents=True, exist_ok=True)
    facts = [loaded.sha256, digest_of_annotations(learning)]
    if start is not None:
        facts.append(hashlib.sha256(start.read_bytes()).hexdigest())
    lessons: Lessons | None = None
    if unboxed:
        own = begun.detector if begun is not None else None
        if own is None:
            teacher = load_teacher(detector)
        else:
            teacher = of_network(own, facts[-1], loaded.longest, options.precision)
        lessons = collect(teacher, unboxed, side=loaded.longest, kept=boxed.kept, left_out=left_out)
        facts.append(lessons.key)
        learned |= frozenset(lessons.contents)
    # No more than these: of face crops, those without a sure face go.
    counts = _views_of(len(learning), len(lessons.pictures) if lessons else 0, options)
    _refuse_few(sum(counts), len(learning), options.batch)
    session = _Session(options, begun, _key(options, counts, facts))
    if reached := session.go_on(out, resume, RefinerReached):
        return reached
    samples = load_samples(learning, 2 * loaded.longest)
    taught = teach(lessons, out / TAUGHT, boxing) if lessons else []
    counts = _views_of(len(samples), len(taught), options)
    _refuse_few(sum(counts), len(samples), options.batch)
    shown = [Shown(samples, counts[0], options.mosaic)]
    shown += [Shown(taught, count, 1.0) for count in counts[1:]]
    views = Views(shown, loaded.longest, options.seed, options.strong)
    proposed = propose(
        views, first, _key(options, counts, facts), out / "proposed.safetensors", proposing
    )
    tuning = looked_at(load_samples(boxed.tuning, 1 << 16), first, loaded.longest)
    tuning = [each for each in tuning if len(each.truths)]
    empty = looked_at(windows_without_faces(boxed.tuning, loaded.longest), first, loaded.longest)
    session.run(
        out,
        lambda checkpoint: session.learn(views, proposed, checkpoint, progress),
        lambda: choose(looked_again(tuning, session.average), []).average_precision,
    )
    write_weights(out / REFINER_WEIGHTS, session.average, options.width, learned)
    chosen = choose(looked_again(tuning, session.average), looked_again(empty, session.average))
    export_both(
        first,
        session.average,
        out / DETECTOR,
        agreement=chosen.agreement,
        longest=loaded.longest,
        threshold=chosen.threshold,
        examples=examples_of(samples),
    )
    reached = RefinerReached(
        **counted(boxed, samples, taught, lessons).model_dump(),
        first_stage_tuning_ap50=precision_of_both(tuning, FIRST_ALONE) if tuning else None,
        tuning_ap50=chosen.average_precision,
        first_stage_share=chosen.agreement.first,
        way_of_boxes=chosen.agreement.way,
        threshold=chosen.threshold,
        tuning_precision_at_threshold=chosen.precision,
        tuning_recall_at_threshold=chosen.recall,
        tuning_pictures_with_a_box_at_threshold=chosen.found,
        windows_without_faces=len(empty),
        boxes_there_at_threshold=chosen.false,
        validation_ap50=exported_score(out / DETECTOR, boxed.validation),
        training_views=len(views),
        seconds=round(session.seconds, 1),
    )
    reached.write(out)
    return reached


def _views_of(boxed: int, taught: int, options: RefinerTraining) -> list[int]:
    """How many views there are of so many boxed pictures, and of others where there are such."""
    views = [math.ceil(options.views * boxed)]
    return [*views, math.ceil(options.taught_views * taught)] if taught else views


def _refuse_few(views: int, pictures: int, batch: int) -> None:
    if views < batch:
        raise TrainingError(
            f"{views} views of {pictures} pictures are fewer than a batch of {batch}."
        )


def _key(options: RefinerTraining, views: Sequence[int], facts: Sequence[str]) -> str:
    """Changes when what is shown does, or who looks at it first.

    Args:
        options: Of the training.
        views: Of the boxed pictures, and of the others.
        facts: On the pictures and the networks.
    """
    plan = f"{options.seed} {options.mosaic} {options.strong} {list(views)}"
    return hashlib.sha256("\n".join([plan, *facts]).encode()).hexdigest()


class _Session(Session):
    """The state of one training of the second stage."""

    def __init__(
        self,
        options: RefinerTraining,
        begun: Start | None,
        data: str,
    ) -> None:
        self.options = options
        self.network = RefinerNetwork(options.width, options.seed)
        self.average = RefinerNetwork(options.width, options.seed)
        super().__init__(
            options,
            self.network,
            self.average,
            data=data,
            frozen=FIRST_LAYERS if begun is not None else (),
        )
        if begun is not None:
            self.begin_with(begun.weights)
        self._step = tf.function(self._one_step)

    def learn(
        self,
        views: Views,
        proposed: Sequence[Proposed],
        checkpoint: Path,
        progress: Callable[[TrainingStep], None],
    ) -> None:
        """One epoch, or what is left of it, on views with what the first stage proposes in each."""
        drawn = batches(
            views,
            proposed,
            size=self.options.batch,
            places=self.options.places,
            seed=self.options.seed,
            epoch=self.epoch,
            first=self.step,
        )

        def step_on(batch: Places, rate: Any) -> Any:
            arrays = (batch.pictures, batch.boxes, batch.kinds, batch.places)
            return self._step(*(tf.constant(each) for each in arrays), rate)

        steps = len(views) // self.options.batch
        self.run_epoch(drawn, step_on, steps=steps, checkpoint=checkpoint, progress=progress)

    def _one_step(self, pictures: Any, truths: Any, kinds: Any, places: Any, rate: Any) -> Any:
        count = self.options.places
        owners = tf.repeat(tf.range(self.options.batch), count)
        places = tf.reshape(places, [-1, 4])
        squares = cut_out(pictures, squares_around(places), owners)
        with tf.GradientTape() as tape:
            logits, changes = self.network(squares, places, training=True, precision=self.precision)
            losses = refiner_losses(
                logits,
                moved(changes, places),
                places,
                tf.gather(truths, owners),
                tf.gather(kinds, owners),
            )
        self.descend(tape, losses.total, rate)
        return losses.total
