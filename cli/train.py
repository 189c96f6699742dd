"""`familiar train`: the detector and the extractor, by the commands that made the shipped ones."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cli.folders import check_folder, check_result
from cli.terminal import Failure, messages, plain_progress, results
from core.folder import scan

if TYPE_CHECKING:
    from core.train.extractor import TrainingProgress
    from core.train.origin import Origin
    from core.train.reached import Reached
    from core.train.session import Progress as SessionProgress
    from core.train.teacher import Unboxed

_LESS_BOXED = (
    "end what else uses it, give fewer pictures, or train on another device: with"
    " CUDA_VISIBLE_DEVICES=-1 on the processor"
)
_LESS_LEARNED = (
    "end what else uses it, take fewer --identities into a batch, give fewer pictures, or choose"
    " another --device"
)
_EXHAUSTED = ("out of memory", "DefaultCPUAllocator: can't allocate")
_LESS_JOINED = "end what else uses it, or give fewer pictures"

app = typer.Typer(help="Train a face detector or a feature extractor.", no_args_is_help=True)

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
Rate = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Highest learning rate.")]


class Kind(StrEnum):
    """What an extractor's network looks at."""

    FACES = "faces"
    PICTURES = "pictures"


class Loss(StrEnum):
    """What a training of the extractor minimises."""

    FAMILIAR = "familiar"
    ARCFACE = "arcface"
    TRIPLET = "triplet"
    TRIPLET_SEMIHARD = "triplet-semihard"
    ATTRIBUTES = "attributes"


class Backbone(StrEnum):
    """Which network an extractor's training trains."""

    FAMILIAR = "familiar"
    IR_SE50 = "ir-se50"


Terms = Annotated[
    str, typer.Option(help="Whose the pictures are and what they may be used for, for the card.")
]


class TrainingLine:
    """One line that says where a training stands: on a terminal a bar, else each epoch's end."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._task = None if bar is None else bar.add_task("Starting")
        self._say = plain_progress("Finding faces to learn from", "pictures")

    def looked(self, done: int, total: int) -> None:
        """Show in how many pictures faces were looked for before the training begins."""
        if self._bar is not None and self._task is not None:
            text = "Finding faces to learn from"
            self._bar.update(self._task, completed=done, total=total, description=text)
        else:
            self._say(done, total)

    def update(self, done: int, total: int, text: str, *, ended: bool) -> None:
        """Show the steps done of all, and `text`, which is worth a line where an epoch `ended`."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total, description=text)
        elif ended:
            messages.print(text)

    def show(self, now: SessionProgress) -> None:
        """Show where a training of boxes stands."""
        # What is measured after this epoch is told with the next one.
        tuning = "" if now.tuning is None else f", AP50 {now.tuning:.3f} before it"
        self.update(
            (now.epoch - 1) * now.steps + now.step,
            now.epochs * now.steps,
            f"Epoch {now.epoch} of {now.epochs}, loss {now.loss:.3f}{tuning}",
            ended=now.step == now.steps,
        )


@contextmanager
def training_line() -> Iterator[TrainingLine]:
    """Show one training, on a terminal as a bar."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    if not messages.is_terminal:
        yield TrainingLine(None)
        return
    with Progress(*columns, console=messages) as bar:
        yield TrainingLine(bar)


@contextmanager
def _enough_memory(helps: str, *of_library: type[Exception]) -> Iterator[None]:
    """Say in a sentence that memory does not suffice.

    Args:
        helps: What is to be done, for the sentence.
        of_library: What is raised by a library that says so with a type of its own.

    Raises:
        Failure: It does not.
    """
    try:
        yield
    except Exception as error:
        # PyTorch's types for it differ by device and version, its texts hardly.
        of_torch = isinstance(error, RuntimeError) and any(
            text in str(error) for text in _EXHAUSTED
        )
        if not of_torch and not isinstance(error, (MemoryError, *of_library)):
            raise
        raise Failure(f"There is not enough memory; {helps}.") from error


def _without_boxes(unboxed: list[Path] | None, crops: list[Path] | None) -> list[Unboxed]:
    from core.train.teacher import Unboxed

    return [
        *(Unboxed(each) for each in unboxed or []),
        *(Unboxed(each, each_a_face=True) for each in crops or []),
    ]


def _given(**options: Any) -> dict[str, Any]:
    """Of the options of a training, those that were given."""
    return {name: value for name, value in options.items() if value is not None}


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
    boxed = [_with_name(folder) for folder in boxed]
    unboxed = [replace(each, folder=_with_name(each.folder)) for each in unboxed]
    _tell(report_detector(out, boxed, reached, seed, origin, unboxed=unboxed))
    results.print(f"The detector is in {out / 'familiar-face'}")


def _tell_device() -> None:
    from core.train.session import trains_on_gpu

    where = "a GPU" if trains_on_gpu() else "the processor"
    messages.print(f"TensorFlow trains on {where}.")


def refuse_splits(learned: Sequence[Path], measured: Sequence[Path]) -> None:
    """Refuse both sides of a split in one, which would be taken for two labels."""
    from core.train.dataset import TRAIN, VALIDATION, DatasetError, refuse_sides

    try:
        for folder in learned:
            refuse_sides(folder, TRAIN)
        for folder in measured:
            refuse_sides(folder, VALIDATION)
    except DatasetError as error:
        raise Failure(str(error)) from error


def _refuse_inside(folders: Sequence[Path], out: Path) -> None:
    """Refuse to write where pictures are read: the figures would be learned the next time."""
    from core.train.dataset import DatasetError, refuse_inside

    try:
        for folder in folders:
            refuse_inside(_with_name(folder), out)
    except DatasetError as error:
        raise Failure(str(error)) from error


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
        Path | None, typer.Option(help="Folder of the detector that boxes what has no boxes.")
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
    _refuse_inside(read, out)
    from core.models import ModelError
    from core.models.tensorflow_runtime import tf
    from core.train.detector import DetectorTraining, train
    from core.train.detector_changes import OFTEN
    from core.train.session import CHECKPOINT, TrainingError
    from core.voc import AnnotationError

    changed = _given(plain_epochs=plain_epochs, epochs=epochs, rate=rate)
    options = DetectorTraining(seed=seed, strong=OFTEN if strong else 0.0, kept=kept, **changed)
    boxed, without = [folder, *(also or [])], _without_boxes(unboxed, crops)
    unread: list[str] = []
    _tell_device()
    origin = _origin(out, CHECKPOINT, terms, resume)
    if without:
        messages.print("First another detector boxes the pictures that have no boxes.")
    too_much = tf.errors.ResourceExhaustedError
    with _enough_memory(_LESS_BOXED, too_much), training_line() as line:
        try:
            reached = train(
                boxed,
                out,
                options,
                start=start,
                unboxed=without,
                teacher=teacher,
                resume=resume,
                progress=line.show,
                boxing=line.looked,
                left_out=unread.append,
            )
        except (TrainingError, AnnotationError, ModelError) as error:
            raise Failure(str(error)) from error
    tell_unread(unread)
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
    _refuse_inside(read, out)
    from core.models import ModelError
    from core.models.tensorflow_runtime import tf
    from core.train.detector_changes import OFTEN
    from core.train.refiner import RefinerTraining, train
    from core.train.report import is_in_int8
    from core.train.session import CHECKPOINT, TrainingError
    from core.voc import AnnotationError

    changed = _given(epochs=epochs, rate=rate)
    options = RefinerTraining(seed=seed, strong=OFTEN if strong else 0.0, **changed)
    boxed, without = [folder, *(also or [])], _without_boxes(unboxed, crops)
    unread: list[str] = []
    _tell_device()
    origin = _origin(out, CHECKPOINT, terms, resume)
    messages.print("First the detector looks at every training picture.")
    too_much = tf.errors.ResourceExhaustedError
    with _enough_memory(_LESS_BOXED, too_much), training_line() as line:
        try:
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
                left_out=unread.append,
            )
        except (TrainingError, AnnotationError, ModelError) as error:
            raise Failure(str(error)) from error
    tell_unread(unread)
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

    if unlabelled is not None and loss.value not in LEARNS_UNLABELLED:
        raise Failure(
            f"Nothing is learned from --unlabelled with --loss {loss.value}; leave it out."
        )
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
    of: Annotated[
        Kind, typer.Option(help="Train on face crops, or on whole pictures by series or the like.")
    ] = Kind.FACES,
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
    device: Annotated[str, typer.Option(help="A torch device, or auto.")] = "auto",
    seed: Seed = 7,
    strong: Annotated[
        bool, typer.Option("--strong", help="Change the pictures more, so that less is memorised.")
    ] = False,
    start: Annotated[
        Path | None,
        typer.Option(help="Folder of an earlier training on the same labels, to begin with."),
    ] = None,
    resume: Resume = False,
    terms: Terms = "",
) -> None:
    """Train a network of the feature extractor."""
    read = (folder, *(also or []), *([unlabelled] if unlabelled else []), *(check or []))
    for each in read:
        check_folder(each)
    folder, unlabelled = _with_name(folder), unlabelled and _with_name(unlabelled)
    also, check = ([_with_name(each) for each in given or []] for given in (also, check))
    out = out or Path(f"runs/extractor-{of.value}")
    from core.models import ModelError
    from core.models.device import torch_device
    from core.train.augment import stronger
    from core.train.extractor import CHECKPOINT, train
    from core.train.extractor_options import ExtractorTraining, of_loss, of_pictures
    from core.train.face_data import TrainingDataError
    from core.train.report import load_checks, report_extractor

    _refuse_useless(of, loss, backbone, unlabelled)
    _refuse_inside(read, out)
    refuse_splits((folder, *also), check)
    try:
        options = replace(
            ExtractorTraining() if of is Kind.FACES else of_pictures(),
            seed=seed,
            held_out=held_out,
            without=tuple(without or ()),
            device=torch_device(device),
        )
        options = of_loss(options, loss.value, backbone.value, triplet_margin)
    except (ModelError, ValueError) as error:
        raise Failure(str(error)) from error
    options = replace(
        options,
        epochs=epochs or options.epochs,
        identities=identities or options.identities,
    )
    if strong:
        options = replace(options, augmentation=stronger(options.augmentation))
    try:
        unread: list[str] = []
        checks = load_checks(check, options, unread.append)
    except TrainingDataError as error:
        raise Failure(str(error)) from error
    origin = _origin(out, CHECKPOINT, terms, resume)
    with _enough_memory(_LESS_LEARNED), training_line() as line:

        def show(now: TrainingProgress) -> None:
            reached = now.mean_average_precision
            measured = "" if reached is None else f", mAP {reached:.3f}"
            # `now.epoch` counts those that are done.
            epoch = now.epoch if now.ended else now.epoch + 1
            text = f"Epoch {epoch} of {options.epochs}, loss {now.loss:.3f}{measured}"
            line.update(now.step, now.steps, text, ended=now.ended)

        try:
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
        except TrainingDataError as error:
            raise Failure(str(error)) from error
    tell_unread(unread)
    try:
        with _enough_memory(_LESS_LEARNED):
            problem = report_extractor(
                out,
                folder,
                options,
                origin,
                also=also,
                unlabelled=unlabelled,
                checks=checks,
            )
    except TrainingDataError as error:
        raise Failure(str(error)) from error
    _tell(problem)
    for each in (folder, *also, *check):
        _tell_passed_over(each, options.without if each is folder else (), unread)
    results.print(f"The weights are in {weights}")


@app.command("assemble")
def assembled(
    face: Annotated[Path, typer.Argument(help="Result of a training on faces.")],
    picture: Annotated[
        Path, typer.Argument(help="Result of a training on pictures, or an extractor's folder.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the new extractor; made if missing.")],
    characters: Annotated[
        Path,
        typer.Option(
            help="<character>/<face crop>, or Pascal VOC files with names: characters that no"
            " network was trained on, to choose the likeness on from which two are the same."
        ),
    ],
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            help="Result of a further training on faces, joined with the first; may be given again."
        ),
    ] = None,
    unlabelled: Annotated[
        list[Path] | None,
        typer.Option(
            help="Face crops of other characters, which the face networks' vectors are evened out"
            " on and made shorter by; may be given again."
        ),
    ] = None,
    false_accepts: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, help="Share of different characters that may pass it."),
    ] = 0.01,
    colours: Annotated[
        Path | None,
        typer.Option(
            help="Pictures, more than 32, that a colour part beside the picture network is fitted"
            " to; not where PICTURE is an extractor's folder."
        ),
    ] = None,
    mirrored: Annotated[
        bool, typer.Option(help="Whether the face networks see each face's mirror image, too.")
    ] = True,
    divided: Annotated[
        bool,
        typer.Option(
            help="Whether several face networks divide these looks among them: the first sees the"
            " face, the others its mirror image, in half of the time."
        ),
    ] = True,
) -> None:
    """Put a face network and a picture network into one extractor's folder."""
    read = (face, characters, *(beside or []), *(unlabelled or []), *([colours] if colours else []))
    for each in (*read, picture):
        check_folder(each)
    # An extractor's folder may get another face network beside its own picture network.
    _refuse_inside(read if _is_extractor(picture) else (*read, picture), out)
    check_result(out, "--out")
    refuse_splits((), (characters,))
    from core.models import ModelError
    from core.train.assemble import (
        Choices,
        add_int8,
        assemble,
        choose_threshold,
        colours_of,
        examples_in,
        load_characters,
        projection_of,
        put_in_place,
        trained_on_pictures,
    )
    from core.train.face_data import TrainingDataError
    from core.train.trained import learned_among
    from core.voc import AnnotationError

    faces = [face, *(beside or [])]
    unread: list[str] = []
    try:
        with _enough_memory(_LESS_JOINED):
            choices = Choices(mirrored=mirrored, divided=divided)
            if colours is not None:
                side = trained_on_pictures(picture).side
                choices = replace(choices, colours=colours_of(colours, side, unread.append))
            if unlabelled:
                projection = projection_of(faces, unlabelled, choices, left_out=unread.append)
                choices = replace(choices, projection=projection)
            named = load_characters(characters, choices.framing, unread.append)
            crops = examples_in(unlabelled) if unlabelled else named.pixels
            pictures = examples_in([colours or characters], "squeeze")
            learned = learned_among(named.pixels, faces)
            with TemporaryDirectory() as work:
                made = assemble(face, picture, Path(work) / "extractor", choices, beside=faces[1:])
                add_int8(made, crops, pictures)
                threshold = choose_threshold(made, named, false_accepts)
                put_in_place(made, out)
    except (TrainingDataError, AnnotationError, ModelError) as error:
        raise Failure(str(error)) from error
    tell_unread(unread)
    if learned:
        messages.print(
            f"One of the networks was trained on {learned:,} of the {len(named.labels):,} pictures"
            f" of {characters}, or on copies of them, so that the threshold is too low; give"
            " characters that none was trained on."
        )
    results.print(
        f"The extractor is in {out}; two faces are the same character from a likeness of"
        f" {threshold:.3f} on."
    )


def _is_extractor(folder: Path) -> bool:
    from core.models.extractor import CONFIGURATION

    return (folder / CONFIGURATION).exists()


def _with_name(folder: Path) -> Path:
    """The same folder by a path that ends in its name, as `.` and `..` do not."""
    return folder.resolve() if folder.name in ("", "..") else folder


def _origin(out: Path, checkpoint: str, terms: str, resume: bool) -> Origin:
    """Where a training comes from: of this command, or of the one that it goes on with."""
    from core.train.origin import Origin, begun

    return begun(out, Origin(_command(), terms), checkpoint, resume)


def _command() -> str:
    """This command as it can be typed again."""
    return shlex.join(["familiar", *sys.argv[1:]])


def tell_unread(files: list[str]) -> None:
    """Say how many files were left out, if any."""
    if files:
        messages.print(
            f"{len(files):,} files could not be read and were left out, {files[0]} first."
        )


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
    if count := len(files) - pictures.total():
        messages.print(
            f"{count:,} pictures directly in {folder} belong to no label and were left out."
        )
    alone = [label for label in pictures if pictures[label] == 1 and label not in without]
    if alone:
        messages.print(
            f"Labels in {folder} with one picture alone, which were left out: {', '.join(alone)}."
        )


def _tell(problem: str | None) -> None:
    if problem is not None:
        messages.print(problem)
