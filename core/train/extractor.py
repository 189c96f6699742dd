"""Training of the extractor's networks: ``<folder>/<label>/<picture>`` -> weights.

The shipped networks learn the labelled pictures by an angular margin over their labels and by a
supervised contrastive loss. Unlabelled pictures join the contrastive loss, each as an identity of
its own whose two views attract each other: thousands of further identities to be told apart.
`Loss` names the other ways, with which this one is compared.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from core.face import Pixels, Vectors
from core.files import replacing, write_text
from core.framing import HEADS, resized
from core.likeness import COSINE
from core.models.backbones import EmbeddingNetwork, is_of_trunk
from core.models.extractor import as_values
from core.models.irse50 import IrSe50Description, IrSe50Network
from core.models.precision import bfloat16_is_fast
from core.models.weights import fill
from core.retrieval import Retrieval, retrieval
from core.train.attributes import COLOURS, TASKS, estimated
from core.train.augment import augmented
from core.train.average import follow
from core.train.copies import joined, prints_of, write_prints
from core.train.extractor_checkpoint import (
    Checkpoint,
    begin,
    digest_of_squares,
    digest_of_start,
    go_on,
    prints_learned_before,
    write_checkpoint,
)
from core.train.extractor_names import Backbone, Kind, Loss
from core.train.extractor_options import (
    LEARNS_UNLABELLED,
    LIKENESS,
    SEMIHARD_MARGIN,
    UNIT_LENGTH,
    ExtractorTraining,
    described,
)
from core.train.face_data import (
    LabelledPictures,
    LeftOut,
    TrainingDataError,
)
from core.train.held_out import HELD_OUT, load_parted, unlabelled_to_learn
from core.train.losses import (
    AngularMarginLoss,
    AttributeLoss,
    VectorMemory,
    batch_hard_triplet_loss,
    contrastive_loss,
    semihard_triplet_loss,
)
from core.train.muon import Muon
from core.train.networks import (
    dimensions_of,
    last_norm,
    new_network,
)
from core.train.results import (
    EXTRACTOR_CHECKPOINT,
    LEARNED,
    METRICS,
    WEIGHTS,
    one_at_a_time,
    why_taken,
)
from core.train.samplers import BalancedBatches, Passes
from core.train.schedule import SECONDS_UNTIL_KEPT, learning_rate


def _as_trained(loss: Loss) -> IrSe50Description:
    """Of an IR-SE50 that was trained here: it knows crops with their hair, framed as ours are."""
    # Among vectors of unit length, cosines rank as distances do.
    likeness = COSINE if loss in UNIT_LENGTH else LIKENESS[loss]
    return IrSe50Description(
        channels="rgb", aligned=False, margin=HEADS.margin, lift=HEADS.lift, likeness=likeness.name
    )


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """What a training reports after each step.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        epoch: Epochs done.
        loss: Mean loss since the last end of an epoch.
        mean_average_precision: On the held-out labels; None but at the end of an epoch.
        ended: Whether an epoch ended with this step, whose mean loss `loss` is then.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    mean_average_precision: float | None = None
    ended: bool = False


Report = Callable[[TrainingProgress], None]


def embedded(
    network: EmbeddingNetwork | IrSe50Network,
    pictures: Pixels,
    side: int,
    *,
    device: str = "cpu",
    bfloat16: bool = False,
    mirrored: bool = False,
    unit: bool = True,
) -> Vectors:
    """Vectors ``(n, d)`` of squares, with the network as it stands, in evaluation mode.

    Args:
        network: To ask; it is left in the mode that it was in.
        pictures: ``(n, any, any, 3)``.
        side: At which the network sees them.
        device: That the network is on.
        bfloat16: Whether convolutions are in bfloat16.
        mirrored: Whether a picture's vector is the mean of its own and its mirror image's.
        unit: Whether vectors are of unit length, or of the length that they come in.
    """
    was_training = network.training
    network.eval()
    rows = []
    with torch.inference_mode():
        for start in range(0, len(pictures), 64):
            batch = np.stack([resized(p, side) for p in pictures[start : start + 64]])
            values = as_values(batch).to(device)
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16):
                vectors = _vectors(network, values, unit)
                if mirrored:
                    vectors = (vectors + _vectors(network, values.flip(3), unit)) / 2
            if unit:
                vectors = nn.functional.normalize(vectors, dim=1)
            rows.append(vectors.cpu())
    network.train(was_training)
    return np.asarray(torch.cat(rows).numpy(), np.float32)


def _vectors(network: EmbeddingNetwork | IrSe50Network, values: Tensor, unit: bool) -> Tensor:
    vectors: Tensor = network(values) if unit else network.unscaled(values)
    return vectors.float()


class _Run:
    """One training: all that changes from step to step, and so belongs in a checkpoint."""

    def __init__(
        self, options: ExtractorTraining, known: LabelledPictures, unlabelled: Pixels | None
    ) -> None:
        self.options, self.known, self.unlabelled = options, known, unlabelled
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        self.unit = options.loss in UNIT_LENGTH
        self.network = self._new_network()
        dimensions = dimensions_of(options.backbone, options.shape)
        self.attributes = _attributes(known, options) if options.loss == Loss.ATTRIBUTES else None
        self.learned = self._learned_loss(dimensions).to(options.device)
        self.memory = VectorMemory(options.memory, dimensions, options.device)
        self.average = self._new_network()
        self.average.load_state_dict(self.network.state_dict())
        self.bfloat16 = (
            bfloat16_is_fast(options.device) if options.bfloat16 is None else options.bfloat16
        )
        self.optimiser = Muon(
            self.network,
            self.learned.parameters(),
            options.rate,
            options.decay,
            torch.bfloat16 if self.bfloat16 else torch.float32,
        )
        identities = min(options.identities, len(known.names))
        self.batches = BalancedBatches(known.labels, identities, options.pictures, options.seed)
        self.passes = (
            Passes(len(unlabelled), min(options.unlabelled_in_batch, len(unlabelled)), options.seed)
            if unlabelled is not None
            and options.unlabelled_in_batch
            and options.loss in LEARNS_UNLABELLED
            else None
        )
        in_epoch = max(1, len(known.labels) // (identities * options.pictures))
        self.steps = in_epoch * options.epochs if options.steps is None else options.steps
        self.step = 0

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step * self.options.epochs // self.steps

    def _new_network(self) -> EmbeddingNetwork | IrSe50Network:
        network = new_network(self.options.backbone, self.options.shape)
        if not self.unit:
            # Distances of about one to begin with, whatever the number of dimensions.
            last = last_norm(network)
            nn.init.constant_(last.weight, last.num_features**-0.5)
        return network.to(self.device).to(memory_format=torch.channels_last)

    def _learned_loss(self, dimensions: int) -> nn.Module:
        """What of the loss is learned along; nothing for triplets."""
        options = self.options
        if options.loss in (Loss.FAMILIAR, Loss.ARCFACE):
            return AngularMarginLoss(
                dimensions, len(self.known.names), options.margin, options.scale
            )
        if self.attributes is not None:
            classes = (
                tuple(len(COLOURS) for _ in TASKS)
                if options.of == Kind.FACES
                else (len(self.known.names),)
            )
            return AttributeLoss(dimensions, classes)
        return nn.Identity()

    def learning_rate(self) -> float:
        """Of the step that comes now."""
        rising = max(1, round(self.options.warmup * self.steps))
        return learning_rate(self.step, self.steps, highest=self.options.rate, rising=rising)

    def side(self) -> int:
        """Side of the squares that the network sees at this step."""
        if self.epoch < self.options.epochs - 1 and self.step < self.steps - 1:
            for share, side in self.options.sides:
                if self.epoch < round(share * self.options.epochs):
                    return side
        return self.options.sides[-1][1]

    def take_step(self) -> float:
        """One batch forward and back; the loss."""
        options = self.options
        # What a network drops at random, too, is the same in a training that was gone on with.
        torch.manual_seed(int(np.random.default_rng([options.seed, self.step, 5]).integers(2**63)))
        rng = np.random.default_rng([options.seed, self.step, 4])
        rows = self.batches.draw(self.step)
        pictures = [self.known.pixels[rows]]
        labels = [self.known.labels[rows]]
        if self.passes is not None and self.unlabelled is not None:
            drawn = self.passes.draw(self.step)
            pictures += [self.unlabelled[drawn]] * 2
            labels += [drawn + len(self.known.names)] * 2
        values = augmented(np.concatenate(pictures), self.side(), options.augmentation, rng).to(
            options.device
        )
        identities = torch.from_numpy(np.concatenate(labels)).to(options.device)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            vectors = _vectors(self.network, values, self.unit)
        loss = self._loss(vectors, identities, rows)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self.memory.add(vectors, identities)
        self.step += 1
        follow(self.average, self.network, self.options.average, self.step)
        return float(loss.detach())

    def _loss(self, vectors: Tensor, identities: Tensor, rows: NDArray[np.int64]) -> Tensor:
        """Of one batch, whose first pictures are the labelled ones of `rows`."""
        options = self.options
        if options.loss == Loss.TRIPLET:
            return batch_hard_triplet_loss(vectors, identities, options.triplet_margin)
        if options.loss == Loss.TRIPLET_SEMIHARD:
            return semihard_triplet_loss(vectors, identities, SEMIHARD_MARGIN)
        if self.attributes is not None:
            wanted = torch.from_numpy(self.attributes[rows]).to(options.device)
            of_attributes: Tensor = self.learned(vectors[: len(rows)], wanted)
            return of_attributes
        loss: Tensor = self.learned(vectors[: len(rows)], identities[: len(rows)])
        if options.loss == Loss.FAMILIAR and options.contrast:
            loss = loss + options.contrast * contrastive_loss(
                vectors, identities, self.memory, options.temperature
            )
        return loss

    def state(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "margin": self.learned.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "memory_vectors": self.memory.vectors,
            "memory_labels": self.memory.labels,
            "memory_next": self.memory.next,
            "step": self.step,
        }

    def begin_with(self, state: dict[str, Any]) -> None:
        """Take what an earlier training had learned; steps and learning rate begin anew.

        Where its loss learned other things than this one does, the network alone is taken.
        """
        self.network.load_state_dict(state["average"])
        self.average.load_state_dict(state["average"])
        shapes = [
            {name: value.shape for name, value in learned.items()}
            for learned in (state["margin"], self.learned.state_dict())
        ]
        if shapes[0] == shapes[1]:
            self.learned.load_state_dict(state["margin"])

    def begin_with_trunk(self, trunk: dict[str, Tensor], source: str) -> None:
        """Take what a training without labels had learned; the other weights stay random.

        Args:
            trunk: Its tensors by name.
            source: Where they come from, for the sentence.

        Raises:
            ModelError: It had another network.
        """
        own = self.network.state_dict()
        others = {name: value for name, value in own.items() if not is_of_trunk(name)}
        fill(self.network, others | trunk, "this training's network", source)
        self.average.load_state_dict(self.network.state_dict())

    def restore(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        self.learned.load_state_dict(state["margin"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.memory.vectors.copy_(state["memory_vectors"])
        self.memory.labels.copy_(state["memory_labels"])
        self.memory.next = state["memory_next"]
        self.step = state["step"]


def _attributes(known: LabelledPictures, options: ExtractorTraining) -> NDArray[np.int64]:
    """What is to be read off each picture, ``(n, attributes)``."""
    return estimated(known.pixels) if options.of == Kind.FACES else known.labels[:, None]


def _measured(run: _Run, pictures: LabelledPictures) -> Retrieval:
    """The weights that are kept, as they stand."""
    options = run.options
    vectors = embedded(
        run.average,
        pictures.pixels,
        run.side(),
        device=options.device,
        bfloat16=run.bfloat16,
        unit=run.unit,
    )
    return retrieval(vectors, pictures.labels, LIKENESS[options.loss])


def _write_results(out: Path, run: _Run, curve: list[dict[str, Any]]) -> None:
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in run.average.state_dict().items()
        if value.dtype.is_floating_point
    }
    with replacing(out / WEIGHTS) as partial:
        save_file(weights, partial)
    if run.options.backbone == Backbone.IR_SE50 and run.options.of == Kind.FACES:
        beside = _as_trained(run.options.loss).model_dump_json()
        write_text((out / WEIGHTS).with_suffix(".json"), beside)
    metrics = {"options": asdict(run.options), "labels": len(run.known.names), "curve": curve}
    write_text(out / METRICS, json.dumps(metrics, indent=1) + "\n")


@one_at_a_time
def train(
    folder: Path,
    out: Path,
    options: ExtractorTraining | None = None,
    *,
    also: Sequence[Path] = (),
    unlabelled: Path | None = None,
    start: Path | None = None,
    resume: bool = False,
    progress: Report | None = None,
    left_out: LeftOut | None = None,
) -> Path:
    """Train a network and keep the running average of its weights.

    A checkpoint is written after each epoch and about every five minutes; gone on with on the same
    processor, a training gives the weights that it would have given unbroken.

    Args:
        folder: ``<label>/<picture>``.
        out: Gets the checkpoint, the weights, the curves and figures as JSON, and what the labelled
            pictures are known again by. It may hold a finished training only with `resume`.
        options: Everything else that decides the result.
        also: Further folders of the same layout, from which no label is held out.
        unlabelled: Further pictures, of which each is an identity of its own; only losses of
            `LEARNS_UNLABELLED` see them. Copies of held-out pictures are left out.
        start: What an earlier training of the same network on the same labels wrote, to begin
            with instead of random weights; with another loss, it gives the network alone. Or what
            `core.train.pretraining.train` wrote. What it learned counts as learned.
        resume: Go on from the checkpoint in `out`, where there is one.
        progress: Called after each step.
        left_out: Told of each picture file that cannot be read.

    Returns:
        The path of the weights.

    Raises:
        TrainingDataError: A folder cannot be trained on, one label alone or too many are held out,
            `also` has labels that are held out, `start` learned what is held out, `out` holds
            another training, a checkpoint is damaged or belongs to another network, to other
            pictures or other options, or the loss is no longer a number.
    """
    options = options or ExtractorTraining()
    if taken := why_taken(out, EXTRACTOR_CHECKPOINT, resume):
        raise TrainingDataError(taken)
    known, checks = load_parted(folder, also, options, left_out)
    others = None
    if unlabelled is not None:
        others = unlabelled_to_learn(unlabelled, options, checks.get(HELD_OUT), left_out)
    run = _Run(options, known, others)
    out.mkdir(parents=True, exist_ok=True)
    description = described(options, known.names)
    digest = digest_of_squares(known, others)
    begun_with = None if start is None else digest_of_start(start)
    checkpoint = out / EXTRACTOR_CHECKPOINT
    before = Checkpoint(description, known.names, digest, begun_with, {}, [])
    if resume and checkpoint.exists():
        before = go_on(run, checkpoint, before)
    elif start is not None:
        begin(run, start)
    learned = prints_of(known.pixels)
    if start is not None:
        learned = joined([learned, prints_learned_before(start, checks.get(HELD_OUT))])
    write_prints(learned, out / LEARNED)
    curve, losses = before.curve, before.losses
    epoch_began = time.monotonic() - before.seconds
    kept_at = time.monotonic()
    while run.step < run.steps:
        done = run.epoch
        losses.append(run.take_step())
        if not math.isfinite(losses[-1]):
            raise TrainingDataError(
                f"The loss is no longer a number at step {run.step}; start anew with another seed,"
                " which going on from there would not change."
            )
        mean = float(np.mean(losses))
        reached: dict[str, Retrieval] = {}
        if ended := run.epoch > done:
            reached = {name: _measured(run, pictures) for name, pictures in checks.items()}
            seconds = curve[-1]["seconds"] if curve else 0.0
            seconds = round(seconds + time.monotonic() - epoch_began, 1)
            figures = {name: asdict(found) for name, found in reached.items()}
            curve.append({"epoch": run.epoch, "loss": mean, **figures, "seconds": seconds})
            losses.clear()
            epoch_began = time.monotonic()
        if ended or time.monotonic() - kept_at >= SECONDS_UNTIL_KEPT:
            spent = time.monotonic() - epoch_began
            write_checkpoint(replace(before, run=run.state(), seconds=spent), checkpoint)
            kept_at = time.monotonic()
        if progress is not None:
            first = next(iter(reached.values()), None)
            progress(
                TrainingProgress(
                    run.step,
                    run.steps,
                    run.epoch,
                    mean,
                    None if first is None else first.mean_average_precision,
                    ended,
                )
            )
    _write_results(out, run, curve)
    return out / WEIGHTS
