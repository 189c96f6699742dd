"""The state of a training in TensorFlow: begun from a seed, kept now and then, gone on with."""

from __future__ import annotations

import csv
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from core.files import replacing
from core.models.tensorflow_runtime import Module, tf
from core.problem import Refusal
from core.train.detector_network import named_variables
from core.train.detector_optimiser import Optimiser
from core.train.reached import Reached
from core.train.results import CURVE, DETECTOR, DETECTOR_CHECKPOINT, is_finished, why_taken
from core.train.schedule import SECONDS_UNTIL_KEPT, learning_rate

_Drawn = TypeVar("_Drawn")
_Reached = TypeVar("_Reached", bound=Reached)

logger = logging.getLogger(__name__)


class TrainingError(Refusal):
    """Training cannot go on; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class TrainingStep:
    """Where training stands.

    Attributes:
        epoch: Counted from 1.
        epochs: In all.
        step: Within the epoch, counted from 1.
        steps: An epoch.
        loss: Mean over the epoch so far.
        tuning: AP50 on the tuning pictures right before the epoch; None where none was measured.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    tuning: float | None


@dataclass(frozen=True, slots=True)
class BoxTraining:
    """What every training on boxed pictures is told; its defaults are the detector's.

    Attributes:
        epochs: Passes over what is learned from.
        batch: Pictures or views a step.
        mosaic: Share of the boxed pictures shown that are put together from four.
        width: Of the network.
        rate: Highest learning rate.
        decay: Weight decay.
        warm_up: Steps over which the learning rate rises; a tenth of all steps at most.
        average: Decay of the weights' running average.
        tune_every: Epochs between two looks at the tuning pictures.
        precision: Of the convolutions: ``bfloat16``, ``float32``, or ``auto``: bfloat16 on a GPU
            and on processors with AVX512-BF16, where it is about 1.6 times as fast.
        threads: Of the processor, 0 for all.
        seed: Decides the starting weights, the order and every change of a picture.
        strong: Probability of each strong change (`core.train.detector_changes`).
    """

    epochs: int = 32
    batch: int = 16
    mosaic: float = 0.5
    width: int = 32
    rate: float = 2e-3
    decay: float = 0.05
    warm_up: int = 200
    average: float = 0.998
    tune_every: int = 3
    precision: str = "auto"
    threads: int = 0
    seed: int = 0
    strong: float = 0.0


class Session:
    """One training.

    Args:
        options: How to train.
        network: To be trained.
        average: Of the same form; gets the running average of the weights.
        data: Tells what is learned from; a checkpoint of other data is refused.
        frozen: Parts of the network whose weights stay as they are; their running statistics
            follow what they see.
    """

    def __init__(
        self,
        options: BoxTraining,
        network: Module,
        average: Module,
        *,
        data: str,
        frozen: Sequence[str] = (),
    ) -> None:
        self.epoch = 0
        self.step = 0
        self.seconds = 0.0
        self.loss = math.nan
        self.tuning: float | None = None
        self.precision = tf.as_dtype(precision_of(options.precision))
        self.variables = named_variables(network)
        self.averages = named_variables(average)
        self._options = options
        self._trained = {
            name: variable
            for name, variable in self.variables.items()
            if variable.trainable and name.split(".")[0] not in frozen
        }
        self._optimiser = Optimiser(self._trained, options.decay, self.precision)
        self._updates = tf.Variable(0.0, trainable=False)
        self._total = 0.0
        plan = {k: v for k, v in asdict(options).items() if k not in _FREE}
        self._plan = json.dumps(plan, sort_keys=True)
        self._data = data

    def begin_with(self, weights: Mapping[str, Any]) -> None:
        """Take weights by their names, wherever the network has one of that name and shape."""
        for name, value in weights.items():
            if name in self.variables and self.variables[name].shape == value.shape:
                self.variables[name].assign(value)
                self.averages[name].assign(value)

    def run(
        self,
        out: Path,
        learn: Callable[[Path], None],
        score: Callable[[], float | None],
    ) -> None:
        """Every epoch that is left, each with its line of the curve and its checkpoint.

        Args:
            out: Folder of the training.
            learn: One epoch, or what is left of it; takes the checkpoint's path.
            score: AP50 on the tuning pictures, 0..1; None where they have no box.

        Raises:
            TrainingError: The loss is no longer a number, or the curve in `out` is damaged.
        """
        while self.epoch < self._options.epochs:
            learn(out / DETECTOR_CHECKPOINT)
            last = self.epoch == self._options.epochs
            if self.epoch % self._options.tune_every == 0 or last:
                self.tuning = score()
            _append(out / CURVE, self._line())
            self.save(out / DETECTOR_CHECKPOINT)

    def run_epoch(
        self,
        drawn: Iterable[_Drawn],
        step_on: Callable[[_Drawn, Any], Any],
        *,
        steps: int,
        checkpoint: Path,
        progress: Callable[[TrainingStep], None],
    ) -> None:
        """Learn from each batch in turn, to the end of the epoch; `tuning` is None from there on.

        Args:
            drawn: The epoch's batches, from number `step` on.
            step_on: Takes a batch and a learning rate, learns, and returns the loss.
            steps: An epoch.
            checkpoint: Where everything is kept every five minutes, too; see `save`.
            progress: Called after each step.

        Raises:
            TrainingError: The loss is no longer a number.
        """
        kept_at = time.monotonic()
        for batch in drawn:
            rate = self._rate(steps)
            self._total += float(step_on(batch, tf.constant(rate, tf.float32)))
            self.step += 1
            self.loss = self._total / self.step
            if not math.isfinite(self.loss):
                raise TrainingError(
                    f"The loss is no longer a number at epoch {self.epoch + 1}; try a lower rate."
                )
            now = time.monotonic()
            if self.step < steps and now - kept_at >= SECONDS_UNTIL_KEPT:
                self.seconds += now - kept_at
                self.save(checkpoint)
                kept_at = now
            epochs = self._options.epochs
            progress(TrainingStep(self.epoch + 1, epochs, self.step, steps, self.loss, self.tuning))
        self.epoch += 1
        self.step, self._total, self.tuning = 0, 0.0, None
        self.seconds += time.monotonic() - kept_at

    def _rate(self, steps: int) -> float:
        """The learning rate of the step that comes now, of so many an epoch."""
        options, whole = self._options, self._options.epochs * steps
        return learning_rate(
            self.epoch * steps + self.step,
            whole,
            highest=options.rate,
            rising=min(options.warm_up, whole // 10),
        )

    def descend(self, tape: Any, loss: Any, rate: Any) -> None:
        """Change the weights along the gradient of a loss, and their average; part of a graph."""
        names = list(self._trained)
        gradients = tape.gradient(loss, [self._trained[n] for n in names])
        gradients, _ = tf.clip_by_global_norm(gradients, 20.0)
        self._optimiser.apply(dict(zip(names, gradients, strict=True)), rate)
        self._updates.assign_add(1.0)
        # The average is young at first and would otherwise remember the starting weights.
        keep = self._options.average * (1.0 - tf.exp(-self._updates / 300.0))
        for name, variable in self.variables.items():
            average = self.averages[name]
            average.assign(keep * average + (1.0 - keep) * variable)

    def _line(self) -> dict[str, float | int | str]:
        """Of the curve, for the epoch that is done, with what was measured at its end."""
        return {
            "epoch": self.epoch,
            "loss": round(self.loss, 5),
            "tuning_ap50": "" if self.tuning is None else round(self.tuning, 4),
            "seconds": round(self.seconds, 1),
        }

    def _state(self) -> dict[str, tf.Variable]:
        found = {f"weights.{n}": v for n, v in self.variables.items()}
        found |= {f"average.{n}": v for n, v in self.averages.items()}
        found |= {f"optimiser.{n}": v for n, v in self._optimiser.state().items()}
        return found | {"updates": self._updates}

    def save(self, path: Path) -> None:
        """Keep everything that is needed to go on."""
        facts = {
            "plan": self._plan,
            "data": self._data,
            "epoch": str(self.epoch),
            "step": str(self.step),
            "total": repr(self._total),
            "seconds": repr(self.seconds),
            "loss": repr(self.loss),
            "tuning": "" if self.tuning is None else repr(self.tuning),
        }
        write_tensors(path, {n: v.numpy() for n, v in self._state().items()}, facts)

    def restore(self, path: Path) -> None:
        """Take up what `save` kept.

        Raises:
            TrainingError: It was made with other options, other data or another network, or is
                damaged.
        """
        try:
            with safe_open(path, framework="np") as file:
                facts = file.metadata() or {}
                names = set(file.keys())
                tensors = {name: file.get_tensor(name) for name in names}
            plan, data = facts["plan"], facts["data"]
            epoch = int(facts["epoch"])
            step, total = int(facts["step"]), float(facts["total"])
            seconds, loss = float(facts["seconds"]), float(facts["loss"])
            tuning = float(facts["tuning"]) if facts["tuning"] else None
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            gone = "that folder" if is_finished(path.parent) else "it"
            raise TrainingError(
                f"{path} is damaged or no checkpoint of a training; remove {gone} and start again,"
                " or train into another folder."
            ) from error
        if plan != self._plan or data != self._data:
            raise TrainingError(
                f"{path} was made with other options or other pictures; train into another folder."
            )
        state = self._state()
        shapes = {name: _kept_shape(variable) for name, variable in state.items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            raise TrainingError(
                f"{path} is of another network, perhaps of an earlier version; train into another"
                " folder."
            )
        for name, variable in state.items():
            variable.assign(tensors[name].reshape(variable.shape))
        self.epoch, self.step, self._total = epoch, step, total
        self.seconds, self.loss, self.tuning = seconds, loss, tuning

    def go_on(self, out: Path, resume: bool, kind: type[_Reached]) -> _Reached | None:
        """Begin, or take up the checkpoint that lies in a training's folder.

        Args:
            out: The folder.
            resume: Whether to take it up.
            kind: Of what a finished training has reached.

        Returns:
            What a training has reached that is finished already, and None where there is something
            to do.

        Raises:
            TrainingError: See `restore`.
        """
        checkpoint = out / DETECTOR_CHECKPOINT
        if resume and checkpoint.is_file():
            self.restore(checkpoint)
        return _reached(out, kind) if self.epoch == self._options.epochs else None


def _kept_shape(variable: tf.Variable) -> tuple[int, ...]:
    """The shape in a file, where a single number is a row of one."""
    return tuple(variable.shape) or (1,)


def precision_of(wanted: str) -> str:
    """``bfloat16`` or ``float32``, also for ``auto``; see `BoxTraining`."""
    if wanted != "auto":
        return wanted
    if gpus := tf.config.get_visible_devices("GPU"):
        fast = all(_capability(gpu) >= _AMPERE for gpu in gpus)
    else:
        flags = Path("/proc/cpuinfo")
        fast = flags.is_file() and "avx512_bf16" in flags.read_text(encoding="utf-8")
    return "bfloat16" if fast else "float32"


def trains_on_gpu() -> bool:
    """Whether TensorFlow has a GPU to train on."""
    return bool(tf.config.get_visible_devices("GPU"))


def share_gpus() -> None:
    """Let TensorFlow take of each GPU what it needs, when it needs it, instead of all at once.

    Has to come before TensorFlow computes anything.
    """
    for gpu in tf.config.get_visible_devices("GPU"):
        try:
            tf.config.experimental.set_memory_growth(gpu, True)
        except RuntimeError:
            logger.warning("TensorFlow was in use already; it keeps the memory that it has taken.")


def _capability(gpu: Any) -> tuple[int, int]:
    """NVIDIA's compute capability; that of no card for a GPU that has none."""
    details = tf.config.experimental.get_device_details(gpu)
    major, minor = details.get("compute_capability", (0, 0))
    return int(major), int(minor)


def write_tensors(path: Path, tensors: dict[str, Any], facts: dict[str, str]) -> None:
    """Write a file of tensors, so that a reader never finds half of it."""
    with replacing(path) as partial:
        save_file({n: np.ascontiguousarray(t) for n, t in tensors.items()}, partial, facts)


def refuse_taken(out: Path, resume: bool) -> None:
    """Refuse to train into a folder that holds a result, unless it is to be gone on with.

    Raises:
        TrainingError: It does, and is not.
    """
    if taken := why_taken(out, DETECTOR_CHECKPOINT, resume):
        raise TrainingError(taken)


def _reached(out: Path, kind: type[_Reached]) -> _Reached | None:
    """What a finished training has reached; None where its figures or its detector are not there.

    A detector that is exported once more is another one, byte for byte, and what was trained on
    top of it could not be gone on with.
    """
    return kind.read(out) if (out / DETECTOR / "detector.json").is_file() else None


def _append(path: Path, line: dict[str, float | int | str]) -> None:
    """Add an epoch to a curve; lines of epochs that are trained again after a kill are replaced.

    Raises:
        TrainingError: The file is none that this function wrote.
    """
    lines = []
    if path.is_file():
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
            lines = [row for row in rows if int(row["epoch"]) < int(line["epoch"])]
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise TrainingError(
                f"{path} is damaged or no curve; remove it, and go on with --resume."
            ) from error
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(line))
        writer.writeheader()
        writer.writerows([*lines, line])


# What may differ between a training and its continuation.
_FREE = ("threads",)

_AMPERE = (8, 0)
"""Compute capability of NVIDIA's first cards, of 2020, with instructions for bfloat16."""
