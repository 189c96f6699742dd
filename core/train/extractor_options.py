"""How a network of the extractor is trained: the options, and those of each kind and loss."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Final

from core.likeness import COSINE, EUCLIDEAN, MANHATTAN, SQUARED_EUCLIDEAN, Likeness
from core.models.backbones import NetworkShape
from core.train.augment import Augmentation
from core.train.extractor_names import Backbone, Kind, Loss
from core.train.face_data import Fit
from core.train.networks import IR_SE50_SIDE

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LIKENESS: dict[Loss, Likeness] = {
    Loss.FAMILIAR: COSINE,
    Loss.ARCFACE: COSINE,
    Loss.TRIPLET: EUCLIDEAN,
    Loss.TRIPLET_SEMIHARD: SQUARED_EUCLIDEAN,
    Loss.ATTRIBUTES: MANHATTAN,
}
"""How vectors are compared that were learned by a loss."""

UNIT_LENGTH: frozenset[Loss] = frozenset({Loss.FAMILIAR, Loss.ARCFACE, Loss.TRIPLET_SEMIHARD})
"""Losses whose vectors are of unit length."""

LEARNS_UNLABELLED: frozenset[Loss] = frozenset({Loss.FAMILIAR, Loss.TRIPLET, Loss.TRIPLET_SEMIHARD})
"""Losses in which pictures without labels take part, each as one of its own."""

SEMIHARD_MARGIN = 0.2

TRIPLETS: frozenset[Loss] = frozenset({Loss.TRIPLET, Loss.TRIPLET_SEMIHARD})
"""Losses that choose among the pictures of a label in a batch, and among those of the others."""

TRIPLET_IDENTITIES: Final = 16
TRIPLET_PICTURES: Final = 4
"""With two pictures of each there would be no farthest of its own to choose."""

_STORED_FOR_IR_SE50: Final = 128
FACE_SHAPE = NetworkShape((48, 96, 128, 160), (1, 2, 1, 1), halvings=2, attention=16)
FACE_AUGMENTATION = Augmentation()


@dataclass(frozen=True, slots=True)
class ExtractorTraining:
    """Everything that decides the result of a training, besides the pictures.

    The defaults are those of the shipped face network; `of_pictures` gives the picture network's.

    Attributes:
        shape: The network.
        sides: Sides of the squares that the network sees, each with the share of the epochs until
            which it holds, rising to 1. Small squares first teach more in the same time; the
            last side, which the last epoch always has, is the one that the network is used at.
        stored_side: Of the squares kept in memory, from which the seen ones are cut.
        of: What the network looks at.
        epochs: Passes over the labelled pictures.
        identities: Labels in a batch (P); all of them where there are fewer.
        pictures: Pictures of each (K).
        unlabelled_in_batch: Unlabelled pictures in a batch, each of which gives two views; all of
            them where there are fewer.
        held_out: Labels kept away from training, to check on.
        without: Labels of the first folder that are as if they were not there.
        margin: Angular margin in radians.
        scale: Of the cosines in the angular margin loss.
        contrast: Weight of the contrastive loss; the angular margin loss has 1.
        temperature: Of the contrastive loss.
        memory: Vectors that the contrastive loss remembers.
        rate: Highest learning rate of Muon, reached after `warmup` of the steps.
        warmup: Share of the steps.
        decay: Weight decay.
        average: Decay of the running average of the weights, which is what is kept.
        augmentation: Changes to the pictures.
        seed: Of everything that is drawn. The same one gives the same weights on the same
            processor; a GPU adds up in any order, and gives nearly the same.
        bfloat16: Convolutions in bfloat16; None: where the processor is fast at it.
        device: Torch device.
        loss: What is minimised; see `Loss`.
        triplet_margin: Of ``triplet``; None: the soft margin. ``triplet-semihard`` has 0.2.
        steps: Batches in all, one or more, spread over the epochs as evenly as can be; None: as
            many as show every labelled picture once an epoch.
        backbone: Which network; ``ir-se50`` has its own shape and sees 112 pixels.
    """

    shape: NetworkShape = FACE_SHAPE
    sides: tuple[tuple[float, int], ...] = ((0.5, 64), (0.8, 80), (1.0, 96))
    stored_side: int = 128
    of: Kind = Kind.FACES
    epochs: int = 14
    identities: int = 48
    pictures: int = 2
    unlabelled_in_batch: int = 8
    held_out: int = 0
    without: tuple[str, ...] = ()
    margin: float = 0.3
    scale: float = 32.0
    contrast: float = 1.0
    temperature: float = 0.1
    memory: int = 2048
    rate: float = 6e-3
    warmup: float = 0.05
    decay: float = 0.05
    average: float = 0.998
    augmentation: Augmentation = FACE_AUGMENTATION
    seed: int = 7
    bfloat16: bool | None = None
    device: str = "cpu"
    loss: Loss = Loss.FAMILIAR
    triplet_margin: float | None = None
    backbone: Backbone = Backbone.FAMILIAR
    steps: int | None = None

    def __post_init__(self) -> None:
        if self.backbone == Backbone.IR_SE50 and any(
            side != IR_SE50_SIDE for _, side in self.sides
        ):
            raise ValueError(f"The network ir-se50 sees squares of {IR_SE50_SIDE} pixels alone.")
        if self.triplet_margin is not None and self.loss != Loss.TRIPLET:
            raise ValueError(f"The loss {self.loss} has no margin between triplets to choose.")
        if self.triplet_margin is not None and not math.isfinite(self.triplet_margin):
            raise ValueError("The margin between triplets is a finite number; choose one like 0.2.")
        if self.device.partition(":")[0] == "meta":
            raise ValueError(
                "The device meta computes nothing; choose cpu, cuda, cuda:1 and the like."
            )

    @property
    def fit(self) -> Fit:
        """How a picture becomes a square."""
        return fit_of(self.of)


def fit_of(kind: Kind) -> Fit:
    """How a face or a whole picture becomes a square."""
    return "pad" if kind == Kind.FACES else "squeeze"


def described(options: DataclassInstance, names: tuple[str, ...]) -> str:
    """What a checkpoint must agree with to be gone on from: a training's options and its labels.

    The device is left out: what was begun on one goes on on another.
    """
    fields = asdict(options)
    del fields["device"]
    return json.dumps(fields | {"labels": names}, sort_keys=True)


def of_pictures() -> ExtractorTraining:
    """The options of the shipped picture network.

    Labels of series are noisy and broad, so the margin is small, and each picture stands for
    itself too among the unlabelled ones.
    """
    return ExtractorTraining(
        shape=NetworkShape((32, 64, 128, 256), (1, 1, 1, 1), 96, 64, 3),
        sides=((0.7, 64), (1.0, 80)),
        stored_side=96,
        of=Kind.PICTURES,
        epochs=7,
        identities=18,
        pictures=4,
        margin=0.1,
        scale=24.0,
        augmentation=Augmentation(zoom=(0.65, 1.05), backdrop=0.2),
    )


def of_loss(
    options: ExtractorTraining,
    loss: Loss,
    backbone: Backbone = Backbone.FAMILIAR,
    triplet_margin: float | None = None,
) -> ExtractorTraining:
    """The same training with another loss or network, its squares as large as that network sees
    them, and its batches with four or more pictures of each label where triplets are chosen.

    Raises:
        ValueError: The margin is not of that loss.
    """
    if backbone == Backbone.IR_SE50:
        stored = max(options.stored_side, _STORED_FOR_IR_SE50)
        options = replace(options, sides=((1.0, IR_SE50_SIDE),), stored_side=stored)
    if loss in TRIPLETS and options.pictures < TRIPLET_PICTURES:
        identities = min(options.identities, TRIPLET_IDENTITIES)
        options = replace(options, identities=identities, pictures=TRIPLET_PICTURES)
    return replace(options, loss=loss, backbone=backbone, triplet_margin=triplet_margin)
