"""Training without labels: pictures -> the trunk that an extractor's network can begin with.

Two views of a picture are to be told from those of all others in the batch (SimCLR: Chen et al.,
2020, arXiv:2002.05709). Colours change more than a drawn character's would, since they alone tell
most pictures apart; so the colour branch, which lives on them, has no part in it.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from core.face import Pixels
from core.files import replacing, write_text
from core.models.backbones import EmbeddingNetwork, NetworkShape, is_of_trunk
from core.models.precision import bfloat16_is_fast
from core.train.ahead import drawn_ahead
from core.train.augment import VIEWS, Augmentation, augmented
from core.train.average import follow
from core.train.copies import joined, prints_of, write_prints
from core.train.extractor_checkpoint import Checkpoint, go_on, write_checkpoint
from core.train.extractor_names import Kind
from core.train.extractor_options import FACE_SHAPE, described, fit_of
from core.train.extractor_options import of_pictures as pictures_extractor
from core.train.face_data import LeftOut, TrainingDataError, load_unlabelled
from core.train.losses import contrastive_loss
from core.train.muon import Muon
from core.train.results import (
    LEARNED,
    METRICS,
    PRETRAINING_CHECKPOINT,
    TRUNK,
    one_at_a_time,
    why_taken,
)
from core.train.schedule import SECONDS_UNTIL_KEPT, learning_rate

_FEWEST: Final = 2
_HIDDEN: Final = 512
_COMPARED: Final = 128


@dataclass(frozen=True, slots=True)
class Pretraining:
    """Everything that decides the result, besides the pictures.

    Attributes:
        shape: Of the network that is to begin with it.
        side: Of the squares that the network sees.
        stored_side: Of the squares kept in memory, from which the seen ones are cut.
        epochs: So often as many pictures are drawn as there are.
        batch: Pictures a step, of each of which there are two views.
        temperature: Divides the cosines of views.
        rate: Highest learning rate of Muon, reached after `warmup` of the steps.
        warmup: Share of the steps.
        decay: Weight decay.
        average: Decay of the running average of the weights, which is what is kept.
        augmentation: Changes that make a view of a picture.
        seed: Of everything that is drawn.
        bfloat16: Convolutions in bfloat16; None: where the processor is fast at it.
        device: Torch device.
        of: Heads, framed as the network will see faces, or whole pictures.
    """

    shape: NetworkShape = FACE_SHAPE
    side: int = 64
    stored_side: int = 128
    epochs: int = 17
    batch: int = 192
    temperature: float = 0.15
    rate: float = 6e-3
    warmup: float = 0.05
    decay: float = 0.05
    average: float = 0.998
    augmentation: Augmentation = VIEWS
    seed: int = 1
    bfloat16: bool | None = None
    device: str = "cpu"
    of: Kind = Kind.FACES


def of_pictures() -> Pretraining:
    """The options for a picture network to begin with."""
    network = pictures_extractor()
    return Pretraining(
        shape=network.shape,
        stored_side=network.stored_side,
        epochs=36,
        augmentation=replace(VIEWS, zoom=(0.4, 1.05), turn=5.0, backdrop=0.2),
        of=Kind.PICTURES,
    )


@dataclass(frozen=True, slots=True)
class PretrainingProgress:
    """What a training without labels reports after each step.

    Attributes:
        step: Steps done.
        steps: Steps in all.
        epoch: Epochs done.
        loss: Mean loss since the last end of an epoch.
        recognised: Mean share of the views in a batch whose nearest other one is of the same
            picture, since then, too.
        ended: Whether an epoch ended with this step.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    recognised: float
    ended: bool


class _Views(nn.Module):
    """A network's trunk, and what views are compared by, which is given up afterwards."""

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.network = EmbeddingNetwork(shape)
        self.compared = nn.Sequential(
            nn.Linear(self.network.feature_norm.num_features, _HIDDEN, bias=False),
            nn.BatchNorm1d(_HIDDEN),
            nn.ReLU(inplace=True),
            nn.Linear(_HIDDEN, _COMPARED, bias=False),
            nn.BatchNorm1d(_COMPARED, affine=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """``(n, 3, side, side)`` in -1..1 -> ``(n, 128)`` float32 of unit length."""
        return nn.functional.normalize(self.compared(self.network.pooled(x)).float(), dim=1)


def drawn_rows(
    counts: Sequence[int], batch: int, seed: int, step: int
) -> tuple[NDArray[np.int64], ...]:
    """Which pictures of each folder meet in a batch, each of them once.

    Every second batch is of one folder alone: pictures of one kind are harder to tell apart. By the
    square root of its number of pictures a folder has its share of the other batches, and its turn.

    Args:
        counts: Pictures in each folder.
        batch: Pictures; fewer where a folder has fewer than would be drawn from it.
        seed: Together with the step it fixes the draw.
        step: Of the training.
    """
    rng = np.random.default_rng([seed, step, 6])
    roots = np.sqrt(counts)
    shares = roots / roots.sum()
    if step % 2:
        wanted = batch * np.eye(len(counts), dtype=int)[rng.choice(len(counts), p=shares)]
    else:
        wanted = np.floor(shares * batch).astype(int)
        wanted[shares.argmax()] += batch - wanted.sum()
    return tuple(
        rng.choice(count, min(count, int(number)), replace=False)
        for count, number in zip(counts, wanted, strict=True)
    )


class _Run:
    """One training: all that changes from step to step, and so belongs in a checkpoint."""

    def __init__(self, options: Pretraining, folders: Sequence[Pixels]) -> None:
        self.options, self.folders = options, folders
        self.device = torch.device(options.device)
        torch.manual_seed(options.seed)
        self.views = self._new_views()
        self.average = self._new_views()
        self.average.load_state_dict(self.views.state_dict())
        self.bfloat16 = (
            bfloat16_is_fast(options.device) if options.bfloat16 is None else options.bfloat16
        )
        precision = torch.bfloat16 if self.bfloat16 else torch.float32
        self.optimiser = Muon(self.views, (), options.rate, options.decay, precision)
        self.steps = options.epochs * max(1, sum(map(len, folders)) // options.batch)
        self.step = 0

    def _new_views(self) -> _Views:
        return _Views(self.options.shape).to(self.device).to(memory_format=torch.channels_last)

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return self.step * self.options.epochs // self.steps

    def draw(self, step: int) -> Tensor:
        """Of each picture of a batch one view, then the other: ``(2 n, 3, side, side)``."""
        options = self.options
        rows = drawn_rows([*map(len, self.folders)], options.batch, options.seed, step)
        chosen = [pixels[its] for pixels, its in zip(self.folders, rows, strict=True) if len(its)]
        rng = np.random.default_rng([options.seed, step, 7])
        return augmented(np.concatenate(chosen * 2), options.side, options.augmentation, rng)

    def take_step(self, values: Tensor) -> tuple[float, float]:
        """One batch forward and back; the loss, and the share of views that were recognised."""
        options = self.options
        rate = learning_rate(
            self.step,
            self.steps,
            highest=options.rate,
            rising=max(1, round(options.warmup * self.steps)),
        )
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.views.train()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            vectors = self.views(values.to(self.device))
        pictures = torch.arange(len(vectors) // 2, device=self.device).repeat(2)
        loss = contrastive_loss(vectors, pictures, temperature=options.temperature)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.views.parameters(), 5.0)
        self.optimiser.step()
        self.step += 1
        follow(self.average, self.views, options.average, self.step)
        return float(loss.detach()), _recognised(vectors.detach(), pictures)

    def state(self) -> dict[str, Any]:
        return {
            "views": self.views.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.views.load_state_dict(state["views"])
        self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def _recognised(vectors: Tensor, pictures: Tensor) -> float:
    """Share of the rows whose nearest other row is of the same picture."""
    cosines = (vectors @ vectors.T).fill_diagonal_(-torch.inf)
    return float((pictures[cosines.argmax(1)] == pictures).float().mean())


@one_at_a_time
def train(
    folders: Sequence[Path],
    out: Path,
    options: Pretraining | None = None,
    *,
    resume: bool = False,
    progress: Callable[[PretrainingProgress], None] | None = None,
    left_out: LeftOut | None = None,
) -> Path:
    """Train a network's trunk without labels, and keep the running average of its weights.

    A checkpoint is written after each epoch and about every five minutes; gone on with on the same
    processor, a training gives the weights that it would have given unbroken.

    Args:
        folders: Heads or pictures, at any depth, in zip files too; of different kinds in different
            folders, see `drawn_rows`.
        out: Gets the checkpoint, the weights, the curve and what the pictures are known again by.
            It may hold a finished training only with `resume`.
        options: Everything else that decides the result.
        resume: Go on from the checkpoint in `out`, where there is one.
        progress: Called after each step.
        left_out: Told of each picture file that cannot be read.

    Returns:
        The path of the weights; `core.train.extractor.train` starts with the folder they lie in.

    Raises:
        TrainingDataError: A folder has too few pictures or lies in another one, `out` holds another
            training, a checkpoint is damaged or belongs to another training, or the loss is no
            longer a number.
    """
    options = options or Pretraining()
    if taken := why_taken(out, PRETRAINING_CHECKPOINT, resume):
        raise TrainingDataError(taken)
    _refuse_twice(folders)
    fit = fit_of(options.of)
    pictures = [load_unlabelled(each, options.stored_side, fit, left_out) for each in folders]
    for folder, its in zip(folders, pictures, strict=True):
        if len(its) < _FEWEST:
            raise TrainingDataError(
                f"{folder} holds one picture alone, and two are to be told apart; add more."
            )
    run = _Run(options, pictures)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / PRETRAINING_CHECKPOINT
    before = Checkpoint(described(options, ()), (), _digest_of(pictures), None, {}, [])
    if resume and checkpoint.exists():
        before = go_on(run, checkpoint, before)
    write_prints(joined([prints_of(its) for its in pictures]), out / LEARNED)
    curve, seen = before.curve, [(loss, share) for loss, share in before.losses]
    epoch_began = time.monotonic() - before.seconds
    kept_at = time.monotonic()
    for values in drawn_ahead(run.draw, range(run.step, run.steps)):
        done = run.epoch
        seen.append(run.take_step(values))
        if not math.isfinite(seen[-1][0]):
            raise TrainingDataError(
                f"The loss is no longer a number at step {run.step}; start anew with another seed,"
                " which going on from there would not change."
            )
        loss, recognised = np.mean(seen, axis=0).tolist()
        if ended := run.epoch > done:
            seconds = (curve[-1]["seconds"] if curve else 0.0) + time.monotonic() - epoch_began
            told = {"epoch": run.epoch, "loss": loss, "recognised": recognised}
            curve.append(told | {"seconds": round(seconds, 1)})
            seen.clear()
            epoch_began = time.monotonic()
        if ended or time.monotonic() - kept_at >= SECONDS_UNTIL_KEPT:
            spent = time.monotonic() - epoch_began
            now = replace(before, run=run.state(), losses=seen, seconds=spent)
            write_checkpoint(now, checkpoint)
            kept_at = time.monotonic()
        if progress is not None:
            progress(PretrainingProgress(run.step, run.steps, run.epoch, loss, recognised, ended))
    _write_results(out, run, folders, curve)
    return out / TRUNK


def _refuse_twice(folders: Sequence[Path]) -> None:
    """Refuse folders that hold the same pictures, which would be told from themselves."""
    for number, folder in enumerate(folders):
        for other in (*folders[:number], *folders[number + 1 :]):
            if folder.resolve().is_relative_to(other.resolve()):
                raise TrainingDataError(
                    f"{folder} is given twice, by itself or within {other}; give each picture once."
                )


def _digest_of(folders: Sequence[Pixels]) -> str:
    digest = hashlib.sha256()
    for pixels in folders:
        digest.update(f"{len(pixels)} ".encode())
        digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def _write_results(
    out: Path, run: _Run, folders: Sequence[Path], curve: list[dict[str, Any]]
) -> None:
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in run.average.network.state_dict().items()
        if is_of_trunk(name) and value.dtype.is_floating_point
    }
    with replacing(out / TRUNK) as partial:
        save_file(weights, partial)
    counts = [
        {"folder": folder.name, "pictures": len(its)}
        for folder, its in zip(folders, run.folders, strict=True)
    ]
    metrics = {"options": asdict(run.options), "folders": counts, "curve": curve}
    write_text(out / METRICS, json.dumps(metrics, indent=1) + "\n")
