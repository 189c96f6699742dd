"""`familiar train`: both stages of the detector, and the extractor's networks and what joins them,
by the commands that made the shipped ones."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.assemble import assemble
from cli.folders import (
    check_folder,
    refuse_inside,
    refuse_splits,
    tell_outside,
    tell_unread,
    with_name,
)
from cli.memory import enough_memory
from cli.terminal import Failure, messages, results
from cli.training_line import TrainingLine, training_line
from core.folder import scan
from core.train.extractor_names import Backbone, Kind, Loss

if TYPE_CHECKING:
    from core.train.extractor import TrainingProgress
    from core.train.face_data import LeftOut
    from core.train.origin import Origin
    from core.train.pretraining import PretrainingProgress
    from core.train.reached import Reached
    from core.train.teacher import Unboxed

_LESS_BOXED = (
    "end what else uses it, give fewer pictures, or train on another device: with"
    " CUDA_VISIBLE_DEVICES=-1 on the processor"
)
_LESS_LEARNED = (
    "end what else uses it, take fewer --identities into a batch, give fewer pictures, or choose"
    " another --device"
)
_LESS_PRETRAINED = "end what else uses it, give fewer pictures, or choose another --device"

app = typer.Typer(
    help="Train a face detector and its second look, or networks of a feature extractor, and join"
    " these.",
    no_args_is_help=True,
)

Out = Annotated[
    Path, typer.Option(help="Folder for checkpoint, weights, curves and figures; made if missing.")
]
Seed = Annotated[
    int,
    typer.Option(
        min=0, max=2**32 - 1, help="The same seed gives the same result, on the same processor."
    ),
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on from the checkpoint in --out, if there is one.")
]
Boxed = Annotated[
    Path, typer.Argument(help="Pictures with LabelImg's Pascal VOC files beside them.")
]
Also = Annotated[
    list[Path] | None,
    typer.Option(help="A further folder, trained on as a whole; may be given again."),
]
Crops = Annotated[
    list[Path] | None, typer.Option(help="The same of face crops, each of which shows a face.")
]
Strong = Annotated[
    bool, typer.Option("--strong", help="Bend the pictures, and paste parts of others into them.")
]
Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the pictures.")]
Of = Annotated[
    Kind, typer.Option(help="Train on face crops, or on whole pictures by series or the like.")
]
Device = Annotated[str, typer.Option(help="A torch device, or auto.")]
Rate = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Highest learning rate.")]
Terms = Annotated[
    str, typer.Option(help="Whose the pictures are and what they may be used for, for the card.")
]


def _without_boxes(unboxed: list[Path] | None, crops: list[Path] | None) -> list[Unboxed]:
    from core.train.teacher import Unboxed

    return [
        *(Unboxed(each) for each in unboxed or []),
        *(Unboxed(each, each_a_face=True) for each in crops or []),
    ]


def _given(**options: Any) -> dict[str, Any]:
    """Of the options of a training, those that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _shipped_or(detector: Path | None) -> Path | None:
    """The folder of the shipped detector where it is named and no folder of its name is here."""
    from core.models import DEFAULT_DETECTOR, SHIPPED

    named = detector == Path(DEFAULT_DETECTOR) and not Path(DEFAULT_DETECTOR).exists()
    return SHIPPED / DEFAULT_DETECTOR if named else detector


def _report(
    out: Path,
    boxed: Sequence[Path],
    reached: Reached,
    seed: int,
    origin: Origin,
    unboxed: Sequence[Unboxed],
) -> None:
    """Say what a training of boxes has reached, and write its card and figures."""
    from core.train.report import report_detector
    from core.train.results import DETECTOR

    if copies := reached.copies_left_out:
        messages.print(
            f"{copies:,} pictures are nearly some that are kept for tuning and validation, and were"
            " left out."
        )
    if judged := reached.unboxed_left_to_judge_on:
        messages.print(
            f"{judged:,} pictures without boxes were left out by their numbers, so that something"
            " remains to judge on."
        )
    if reached.validation_ap50 is not None:
        results.print(f"AP50 on the pictures kept for validation: {reached.validation_ap50:.3f}")
    boxed = [with_name(folder) for folder in boxed]
    unboxed = [replace(each, folder=with_name(each.folder)) for each in unboxed]
    _tell(report_detector(out, boxed, reached, seed, origin, unboxed=unboxed))
    results.print(f"The detector is in {out / DETECTOR}")


@contextmanager
def _training_of_boxes(
    out: Path, terms: str, resume: bool, first: str | None
) -> Iterator[tuple[Origin, TrainingLine, LeftOut]]:
    """Around a training of boxes: says what it runs on, what goes `first` and what was unread.

    Yields:
        Where it comes from, the line that shows it, and what is told of unreadable files.
    """
    from core.models.tensorflow_runtime import tf
    from core.train.results import DETECTOR_CHECKPOINT
    from core.train.session import trains_on_gpu

    where = "a GPU" if trains_on_gpu() else "the processor"
    messages.print(f"TensorFlow trains on {where}.")
    origin = _origin(out, DETECTOR_CHECKPOINT, terms, resume)
    if first is not None:
        messages.print(first)
    unread: list[str] = []
    too_much = tf.errors.ResourceExhaustedError
    with enough_memory(_LESS_BOXED, too_much), training_line() as line:
        yield origin, line, unread.append
    tell_unread(unread)


@app.command("detector")
def detector(
    folder: Boxed,
    out: Out = Path("runs/detector"),
    also: Also = None,
    start: Annotated[
        Path | None,
        typer.Option(help="detector.safetensors of an earlier training, to begin with."),
    ] = None,
    unboxed: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of pictures without boxes, which the detector of --teacher or --start"
            " boxes; may be given again."
        ),
    ] = None,
    crops: Crops = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the detector that boxes what has no boxes; familiar-face is the"
            " shipped one, where no folder of that name is."
        ),
    ] = None,
    strong: Strong = False,
    kept: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of the weights of --start in the finished detector's; the mean of both"
            " often does better than either.",
        ),
    ] = 0.0,
    plain_epochs: Annotated[
        int | None,
        typer.Option(min=0, help="Last epochs, without mosaics and with few strong changes."),
    ] = None,
    epochs: Epochs = None,
    rate: Rate = None,
    seed: Seed = 0,
    resume: Resume = False,
    terms: Terms = "",
) -> None:
    """Train the face detector and export it as a SavedModel."""
    read = (folder, *(also or []), *(unboxed or []), *(crops or []))
    for each in read:
        check_folder(each)
    refuse_inside(read, out)
    from core.train.detector import DetectorTraining, train
    from core.train.detector_changes import OFTEN

    changed = _given(plain_epochs=plain_epochs, epochs=epochs, rate=rate)
    options = DetectorTraining(
        seed=seed, strong=OFTEN if strong else 0.0, share_of_start=kept, **changed
    )
    boxed, without = [folder, *(also or [])], _without_boxes(unboxed, crops)
    first = "First another detector boxes the pictures that have no boxes." if without else None
    with _training_of_boxes(out, terms, resume, first) as (origin, line, left_out):
        reached = train(
            boxed,
            out,
            options,
            start=start,
            unboxed=without,
            teacher=_shipped_or(teacher),
            resume=resume,
            progress=line.show,
            boxing=line.looked,
            left_out=left_out,
        )
    _report(out, boxed, reached, seed, origin, without)


@app.command("refiner")
def refiner(
    folder: Boxed,
    detector: Annotated[
        Path, typer.Option("--detector", help="Folder of the detector that proposes boxes.")
    ],
    out: Out = Path("runs/refiner"),
    also: Also = None,
    start: Annotated[
        Path | None,
        typer.Option(
            help="detector.safetensors or refiner.safetensors of a training, to begin with."
        ),
    ] = None,
    unboxed: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of pictures without boxes, which the detector boxes, or that of --start"
            " where it is one; may be given again."
        ),
    ] = None,
    crops: Crops = None,
    strong: Strong = False,
    epochs: Epochs = None,
    rate: Rate = None,
    seed: Seed = 0,
    resume: Resume = False,
    terms: Terms = "",
) -> None:
    """Train a second look at what a detector proposes, and export both as one detector."""
    read = (folder, *(also or []), *(unboxed or []), *(crops or []))
    for each in (detector, *read):
        check_folder(each)
    refuse_inside(read, out)
    from core.train.detector_changes import OFTEN
    from core.train.refiner import RefinerTraining, train
    from core.train.report import is_in_int8

    changed = _given(epochs=epochs, rate=rate)
    options = RefinerTraining(seed=seed, strong=OFTEN if strong else 0.0, **changed)
    boxed, without = [folder, *(also or [])], _without_boxes(unboxed, crops)
    first = "First the detector looks at every training picture."
    with _training_of_boxes(out, terms, resume, first) as (origin, line, left_out):
        reached = train(
            boxed,
            detector,
            out,
            options,
            start=start,
            unboxed=without,
            resume=resume,
            progress=line.show,
            boxing=line.looked,
            proposing=line.looked,
            left_out=left_out,
        )
    before, after = reached.first_stage_tuning_ap50, reached.tuning_ap50
    if before is not None and after is not None:
        results.print(f"AP50 on the tuning pictures: {before:.3f} before, {after:.3f} with it")
    if not is_in_int8(out):
        messages.print(
            "The detector has no networks in int8 and takes longer on a processor: the one of"
            " --detector has none or several, or proposes nothing. One that `familiar train"
            " detector` wrote has one."
        )
    _report(out, boxed, reached, seed, origin, without)


def _refuse_useless(of: Kind, loss: Loss, backbone: Backbone, unlabelled: Path | None) -> None:
    """Refuse options of an extractor's training that nothing would come of."""
    from core.train.extractor_options import LEARNS_UNLABELLED

    if unlabelled is not None and loss not in LEARNS_UNLABELLED:
        raise Failure(f"Nothing is learned from --unlabelled with --loss {loss}; leave it out.")
    if of is Kind.PICTURES and backbone is Backbone.IR_SE50:
        raise Failure(
            "An ir-se50 that was trained on whole pictures has no place in any extractor; leave"
            " --backbone out, or train it on faces."
        )


@app.command("extractor")
def extractor(
    folder: Annotated[Path, typer.Argument(help="Folder of <label>/<picture>.")],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoint, weights, curves and figures; made if missing."
            " runs/extractor-faces or runs/extractor-pictures where it is left out."
        ),
    ] = None,
    of: Of = Kind.FACES,
    also: Annotated[
        list[Path] | None,
        typer.Option(help="A further folder of <label>/<picture>; may be given again."),
    ] = None,
    unlabelled: Annotated[
        Path | None,
        typer.Option(
            help="Folder of further pictures without labels, in zip files there too; not for the"
            " losses arcface and attributes."
        ),
    ] = None,
    epochs: Epochs = None,
    identities: Annotated[
        int | None, typer.Option(min=2, help="Labels in a batch; all where there are fewer.")
    ] = None,
    loss: Annotated[
        Loss,
        typer.Option(
            help="familiar: as the shipped networks; arcface: an angular margin alone; triplet:"
            " batch-hard; triplet-semihard: FaceNet's; attributes: hair and eye colour of faces,"
            " the labels of pictures."
        ),
    ] = Loss.FAMILIAR,
    triplet_margin: Annotated[
        float | None,
        typer.Option(min=0.0, help="Of --loss triplet; the soft margin where it is left out."),
    ] = None,
    backbone: Annotated[
        Backbone, typer.Option(help="The network; ir-se50 sees 112 pixels and takes long.")
    ] = Backbone.FAMILIAR,
    check: Annotated[
        list[Path] | None,
        typer.Option(help="A further folder to measure on at the end; may be given again."),
    ] = None,
    held_out: Annotated[
        int, typer.Option(min=0, help="Labels kept away from training, to measure on.")
    ] = 0,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="A label of FOLDER that is left out, such as a series with characters that results"
            " are reported on; may be given again."
        ),
    ] = None,
    device: Device = "auto",
    seed: Seed = 7,
    strong: Annotated[
        bool, typer.Option("--strong", help="Change the pictures more, so that less is memorised.")
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(
            help="Folder of an earlier training on the same labels, or of `familiar train"
            " pretraining`, to begin with."
        ),
    ] = None,
    resume: Resume = False,
    terms: Terms = "",
) -> None:
    """Train a network of the feature extractor."""
    read = (folder, *(also or []), *([unlabelled] if unlabelled else []), *(check or []))
    for each in read:
        check_folder(each)
    folder, unlabelled = with_name(folder), unlabelled and with_name(unlabelled)
    also, check = ([with_name(each) for each in given or []] for given in (also, check))
    out = out or Path(f"runs/extractor-{of}")
    from core.models.device import torch_device
    from core.train.augment import stronger
    from core.train.extractor import train
    from core.train.extractor_options import ExtractorTraining, of_loss, of_pictures
    from core.train.report import load_checks, report_extractor
    from core.train.results import EXTRACTOR_CHECKPOINT

    _refuse_useless(of, loss, backbone, unlabelled)
    refuse_inside(read, out)
    refuse_splits((folder, *also), check)
    try:
        options = ExtractorTraining() if of is Kind.FACES else of_pictures()
        options = replace(
            of_loss(options, loss, backbone, triplet_margin),
            seed=seed,
            held_out=held_out,
            without=tuple(without or ()),
            device=torch_device(device),
            augmentation=stronger(options.augmentation) if strong else options.augmentation,
            **_given(epochs=epochs, identities=identities),
        )
    except ValueError as error:
        raise Failure(str(error)) from error
    unread: list[str] = []
    checks = load_checks(check, options, unread.append)
    origin = _origin(out, EXTRACTOR_CHECKPOINT, terms, resume)
    with enough_memory(_LESS_LEARNED), training_line() as line:

        def show(now: TrainingProgress) -> None:
            reached = now.mean_average_precision
            measured = "" if reached is None else f", mAP {reached:.3f}"
            # `now.epoch` counts those that are done.
            epoch = now.epoch if now.ended else now.epoch + 1
            text = f"Epoch {epoch} of {options.epochs}, loss {now.loss:.3f}{measured}"
            line.update(now.step, now.steps, text, ended=now.ended)

        weights = train(
            folder,
            out,
            options,
            also=also,
            unlabelled=unlabelled,
            start=start,
            resume=resume,
            progress=show,
            left_out=unread.append,
        )
    tell_unread(unread)
    with enough_memory(_LESS_LEARNED):
        problem = report_extractor(
            out,
            folder,
            options,
            origin,
            also=also,
            unlabelled=unlabelled,
            start=start,
            checks=checks,
        )
    _tell(problem)
    for each in (folder, *also, *check):
        _tell_passed_over(each, options.without if each is folder else (), unread)
    results.print(f"The weights are in {weights}")


@app.command("pretraining")
def pretraining(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of heads without labels, as `familiar data crop` cuts them out, or with"
            " --of pictures of whole pictures; in zip files there too, each of one kind."
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for checkpoint, weights and curves; made if missing."
            " runs/pretraining-faces or runs/pretraining-pictures where it is left out."
        ),
    ] = None,
    of: Of = Kind.FACES,
    epochs: Epochs = None,
    device: Device = "auto",
    seed: Seed = 1,
    resume: Resume = False,
    terms: Terms = "",
) -> None:
    """Train a network without labels, for `train extractor --start` to begin with."""
    out = out or Path(f"runs/pretraining-{of}")
    for each in folders:
        check_folder(each)
    folders = [with_name(each) for each in folders]
    refuse_inside(folders, out)
    from core.models.device import torch_device
    from core.train.pretraining import Pretraining, of_pictures, train
    from core.train.report import report_pretraining
    from core.train.results import PRETRAINING_CHECKPOINT

    options = Pretraining() if of is Kind.FACES else of_pictures()
    changed = _given(epochs=epochs)
    options = replace(options, seed=seed, device=torch_device(device), **changed)
    unread: list[str] = []
    origin = _origin(out, PRETRAINING_CHECKPOINT, terms, resume)
    with enough_memory(_LESS_PRETRAINED), training_line() as line:

        def show(now: PretrainingProgress) -> None:
            epoch = now.epoch if now.ended else now.epoch + 1
            text = (
                f"Epoch {epoch} of {options.epochs}, loss {now.loss:.3f},"
                f" {now.recognised:.1%} of the views recognised"
            )
            line.update(now.step, now.steps, text, ended=now.ended)

        weights = train(folders, out, options, resume=resume, progress=show, left_out=unread.append)
    tell_unread(unread)
    _tell(report_pretraining(out, origin))
    results.print(f"The weights are in {weights}; begin with them: --start {out}")


app.command("assemble")(assemble)


def _origin(out: Path, checkpoint: str, terms: str, resume: bool) -> Origin:
    """Where a training comes from: of this command, or of the one that it goes on with."""
    from core.train.origin import Origin, begun

    return begun(out, Origin(_command(), terms), checkpoint, resume)


def _command() -> str:
    """This command as it can be typed again."""
    return shlex.join(["familiar", *sys.argv[1:]])


def _tell_passed_over(folder: Path, without: Collection[str], unread: Collection[str]) -> None:
    """Say which labels of a folder have too few pictures, and how many pictures have no label.

    Args:
        folder: ``<label>/<picture>``.
        without: Labels that are left out on purpose.
        unread: Names of files that could not be read.
    """
    unread = set(unread)
    files = [file for file in scan(folder).pictures if str(folder / file.path) not in unread]
    pictures = Counter(file.character for file in files if file.character is not None)
    tell_outside(folder, files, "label")
    alone = [label for label in pictures if pictures[label] == 1 and label not in without]
    if alone:
        messages.print(
            f"Labels in {folder} with one picture alone, which were left out: {', '.join(alone)}."
        )


def _tell(problem: str | None) -> None:
    if problem is not None:
        messages.print(problem)
