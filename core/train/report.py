"""What is written beside the weights of a finished training: figures, curves and model card."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from core.face import Vectors
from core.likeness import Likeness
from core.models.quantised import network_path
from core.retrieval import retrieval
from core.train.card import TERMS_UNKNOWN, ModelCard, write_card
from core.train.copies import copies_among, prints_of, read_prints
from core.train.extractor_names import Kind
from core.train.extractor_options import LEARNS_UNLABELLED, LIKENESS, ExtractorTraining
from core.train.face_data import LabelledPictures, LeftOut, load_labelled
from core.train.figures import FiguresUnavailable, draw_curves, draw_figures
from core.train.held_out import HELD_OUT, parted, unlabelled_to_learn
from core.train.origin import Origin
from core.train.reached import Reached, RefinerReached
from core.train.results import CURVE, DETECTOR, LEARNED, METRICS, TRUNK
from core.train.trained import TrainedNetwork

if TYPE_CHECKING:  # it brings TensorFlow with it
    from core.train.teacher import Unboxed

FIGURES: Final = "figures"
SHOWN: Final = 1_500
"""Pictures at most that stand for all that was trained on, where nothing else is measured."""

MEASURED: Final = 6_000
"""Pictures of another set that are measured and drawn at most: they make 18 million pairs."""

_TRAINED_ON: Final = "trained on"
_WITH_A_BOX: Final = "share with a box there"


def load_checks(
    folders: Sequence[Path], options: ExtractorTraining, left_out: LeftOut | None = None
) -> dict[str, LabelledPictures]:
    """Further sets to measure on, by the names of their folders; by paths where that is another's.

    Args:
        folders: ``<label>/<picture>``.
        options: Of the training that is to be measured.
        left_out: Told of each picture file that cannot be read.

    Raises:
        core.train.face_data.TrainingDataError: A set has too few pictures.
    """
    names = [folder.name for folder in folders]
    sets: dict[str, LabelledPictures] = {}
    taken = {_place(HELD_OUT), _place(_TRAINED_ON)}
    for folder in folders:
        often = names.count(folder.name) > 1 or _place(folder.name) in taken
        name = folder.as_posix() if often else folder.name
        while _place(name) in taken:
            name += "_"
        taken.add(_place(name))
        sets[name] = load_labelled(folder, options.stored_side, fit=options.fit, left_out=left_out)
    return sets


def _place(name: str) -> str:
    """Where the figures of a set lie, within all figures."""
    return re.sub(r"[^\w.-]+", "-", name)


def report_extractor(
    out: Path,
    folder: Path,
    options: ExtractorTraining,
    origin: Origin,
    *,
    also: Sequence[Path] = (),
    unlabelled: Path | None = None,
    start: Path | None = None,
    checks: Mapping[str, LabelledPictures] | None = None,
) -> str | None:
    """Measure the finished network once on each set, write the card, and draw.

    Of a large set so many pictures are measured as `MEASURED` says.

    Args:
        out: What `core.train.extractor.train` wrote; gets ``figures/`` and the card.
        folder: That it was trained on.
        options: That it was trained with.
        origin: For the card.
        also: Further folders that it was trained on.
        unlabelled: That it was trained on too.
        start: That it began with.
        checks: Further sets to measure on, by name; see `load_checks`.

    Returns:
        None, or a sentence on why there are no figures.

    Raises:
        core.train.face_data.TrainingDataError: The folder cannot be read any longer.
    """
    checks = checks or {}
    everything = load_labelled(
        folder, options.stored_side, fit=options.fit, without=options.without
    )
    own, apart = parted(everything, options)
    data = _labelled(folder, own, apart, also, options)
    learned = [read_prints(out / LEARNED)]
    if unlabelled is not None and options.loss in LEARNS_UNLABELLED:
        others = unlabelled_to_learn(unlabelled, options, apart)
        learned.append(prints_of(others))
        data.append(
            f"`{unlabelled.name}`: {len(others):,} pictures without labels, each as one of its own"
        )
    if start is not None and (start / TRUNK).is_file():
        data += [f"{line}, learned beforehand" for line in _without_labels(start)]
    sets = ({} if apart is None else {HELD_OUT: apart}) | dict(checks)
    network = TrainedNetwork(out, device=options.device)
    # Where nothing was kept away, what was learned is shown, and said to be that.
    measured = {
        name: _measured(network, pictures, MEASURED if sets else SHOWN)
        for name, pictures in (sets or {_TRAINED_ON: own}).items()
    }
    copies = {name: copies_among(each.pixels, learned) for name, each in checks.items()}
    faces, likeness = options.of == Kind.FACES, LIKENESS[options.loss]
    card = ModelCard(
        title=f"{'Face' if faces else 'Picture'} network ({options.backbone}, {options.loss})",
        what=(
            f"{'A face' if faces else 'A whole picture'} of {network.side} x {network.side} pixels"
            f" becomes {network.dimensions} numbers, which are compared by their"
            f" {likeness.name} {'likeness' if likeness.name == 'cosine' else 'distance'}."
        ),
        data=data,
        terms=origin.terms or TERMS_UNKNOWN,
        command=origin.command,
        seed=options.seed,
        metrics={name: each.figures for name, each in measured.items()},
        limits=_limits(measured, copies),
        figures={},
    )
    # What took hours is told already, should a figure fail.
    write_card(card, out)
    shown: dict[str, str] = {}
    problem = _draw_sets(out, measured, likeness, shown)
    curve = json.loads((out / METRICS).read_bytes())["curve"]
    lines = {"loss": [(point["epoch"], point["loss"]) for point in curve]}
    if options.held_out:
        lines[f"mAP, {HELD_OUT}"] = [
            (point["epoch"], point[HELD_OUT]["mean_average_precision"]) for point in curve
        ]
    problem = _draw_curves(out, lines, shown) or problem
    write_card(replace(card, figures=shown), out)
    return problem


def _labelled(
    folder: Path,
    own: LabelledPictures,
    apart: LabelledPictures | None,
    also: Sequence[Path],
    options: ExtractorTraining,
) -> list[str]:
    """A line on each folder of labelled pictures that was trained on."""
    lines = [
        f"`{folder.name}`: {len(own.labels):,} pictures of {len(own.names)} "
        + ("characters" if options.of == Kind.FACES else "labels")
        + ("" if apart is None else f"; {len(apart.names)} more were held out")
    ]
    known = set(own.names)
    for each in also:
        further = load_labelled(each, options.stored_side, fit=options.fit)
        new = set(further.names) - known
        known |= new
        lines.append(f"`{each.name}`: {len(further.labels):,} pictures of {len(new)} more")
    return lines


@dataclass(frozen=True, slots=True)
class _Measured:
    """A set as the finished network sees it.

    Attributes:
        pictures: All of it, or some of a large one.
        there: Pictures of the whole set.
        vectors: Of `pictures`.
        figures: By their names in the card.
    """

    pictures: LabelledPictures
    there: int
    vectors: Vectors
    figures: dict[str, float | None]


def _measured(network: TrainedNetwork, everyone: LabelledPictures, most: int) -> _Measured:
    pictures = drawn_of(everyone, most)
    vectors = network.embed(pictures.pixels)
    found = retrieval(vectors, pictures.labels, LIKENESS[network.loss])
    figures: dict[str, float | None] = {
        "characters": len(pictures.names),
        "pictures": len(pictures.labels),
        "P@1": found.precision_at_1,
        "P@5": found.precision_at_5,
        "mAP": found.mean_average_precision,
        "equal error rate": found.equal_error_rate,
    }
    return _Measured(pictures, len(everyone.labels), vectors, figures)


def _limits(measured: Mapping[str, _Measured], copies: Mapping[str, int]) -> list[str]:
    """How far to trust a network and its figures; `copies` are those that it learned of a set."""
    return [
        "Leave-one-out figures on few characters of few makers; other styles may do worse.",
        "Figures of `trained on` show what was remembered, not what will be recognised."
        if _TRAINED_ON in measured
        else "Sets of other characters differ in difficulty: compare figures of one set alone.",
        *(
            f"Figures of `{name}` are those of {len(each.pictures.labels):,} of its"
            f" {each.there:,} pictures, drawn by chance."
            for name, each in measured.items()
            if len(each.pictures.labels) < each.there
        ),
        *(
            f"{count:,} pictures of `{name}` or copies of them were trained on: its figures"
            " show what was remembered."
            for name, count in copies.items()
            if count
        ),
        "It says how alike two drawings are, not who is shown; not for photographs of people.",
    ]


def _draw_sets(
    out: Path, measured: Mapping[str, _Measured], likeness: Likeness, shown: dict[str, str]
) -> str | None:
    """Draw each set, and add the files to `shown`; or a sentence on why there are no figures."""
    for name, each in measured.items():
        place = out / FIGURES / _place(name)
        try:
            files = draw_figures(place, each.pictures, each.vectors, likeness)
        except FiguresUnavailable as error:
            return str(error)
        shown |= {f"{name}: {file.stem}": file.relative_to(out).as_posix() for file in files}
    return None


def _without_labels(pretraining: Path) -> list[str]:
    """A line on each folder that a training without labels learned from."""
    folders = json.loads((pretraining / METRICS).read_bytes())["folders"]
    return [f"`{each['folder']}`: {each['pictures']:,} pictures without labels" for each in folders]


def report_pretraining(out: Path, origin: Origin) -> str | None:
    """Draw the curves of a finished training without labels, and write its card.

    Args:
        out: What `core.train.pretraining.train` wrote; gets ``figures/`` and the card.
        origin: For the card.

    Returns:
        None, or a sentence on why there are no figures.
    """
    metrics = json.loads((out / METRICS).read_bytes())
    options, curve = metrics["options"], metrics["curve"]
    faces = options["of"] == Kind.FACES
    shown: dict[str, str] = {}
    lines = {
        "loss": [(point["epoch"], point["loss"]) for point in curve],
        "views recognised": [(point["epoch"], point["recognised"]) for point in curve],
    }
    problem = _draw_curves(out, lines, shown)
    card = ModelCard(
        title=f"Trunk of a {'face' if faces else 'picture'} network, trained without labels",
        what=(
            "Weights that `familiar train extractor` can begin with (`--start`). They were learned"
            f" by telling two views of a {'head' if faces else 'picture'},"
            f" of {options['side']} x {options['side']} pixels, from those of others."
        ),
        data=_without_labels(out),
        terms=origin.terms or TERMS_UNKNOWN,
        command=origin.command,
        seed=options["seed"],
        metrics={"views of the last epoch": {"share recognised": curve[-1]["recognised"]}},
        limits=[
            "No extractor by itself: what tells characters apart is learned afterwards.",
            "That a view is recognised says nothing of how well a character will be.",
        ],
        figures=shown,
    )
    write_card(card, out)
    return problem


def is_in_int8(out: Path) -> bool:
    """Whether the detector that a training exported into `out` has networks in int8."""
    return network_path(out / DETECTOR, 1).exists()


def report_detector(
    out: Path,
    folders: Sequence[Path],
    reached: Reached,
    seed: int,
    origin: Origin,
    *,
    unboxed: Sequence[Unboxed] = (),
) -> str | None:
    """Draw the curves of a finished detector, of one stage or two, and write its card.

    Args:
        out: What `core.train.detector.train` or `core.train.refiner.train` wrote; gets
            ``figures/`` and the card.
        folders: That it was trained on.
        reached: What that training returned.
        seed: That it was trained with.
        origin: For the card.
        unboxed: Pictures without boxes that it was trained on, too.

    Returns:
        None, or a sentence on why there are no figures.
    """
    with (out / CURVE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lines = {
        "loss": [(float(row["epoch"]), float(row["loss"])) for row in rows],
        "AP50, tuning pictures": [
            (float(row["epoch"]), float(row["tuning_ap50"])) for row in rows if row["tuning_ap50"]
        ],
    }
    shown: dict[str, str] = {}
    problem = _draw_curves(out, lines, shown)
    omitted = [
        (
            reached.copies_left_out,
            "as nearly the same as some that are kept for tuning and validation",
        ),
        (
            reached.unboxed_left_to_judge_on,
            "so that something remains to judge on: of those without boxes, by their numbers",
        ),
    ]
    title = "Face detector"
    what = (
        "A picture becomes boxes around the faces of drawn people, each with a score; a"
        " TensorFlow SavedModel with the signature of the Object Detection API."
    )
    metrics: dict[str, dict[str, float | None]] = {
        "tuning pictures": {
            "AP50": reached.tuning_ap50,
            "threshold": reached.threshold,
            "precision there": reached.tuning_precision_at_threshold,
            "recall there": reached.tuning_recall_at_threshold,
        },
    }
    if isinstance(reached, RefinerReached):
        title = "Face detector of two stages"
        what += (
            " Its second stage looks again at each box that the first one proposes, judges it and"
            f" moves it: the first one's share of the score is {reached.first_stage_share:.3g}, and"
            f" boxes go {reached.way_of_boxes:.3g} of the way from its place to the second's."
        )
        found = reached.tuning_pictures_with_a_box_at_threshold
        metrics["tuning pictures"][_WITH_A_BOX] = found
        alone = reached.first_stage_tuning_ap50
        metrics["tuning pictures, first stage alone"] = {"AP50": alone}
    if count := reached.windows_without_faces:
        there = reached.boxes_there_at_threshold
        metrics[f"{count:,} windows of them without a face"] = {_WITH_A_BOX: there}
    metrics["validation pictures"] = {"AP50": reached.validation_ap50}
    card = ModelCard(
        title=title,
        what=what,
        data=[f"`{folder.name}`: pictures with boxes in Pascal VOC files" for folder in folders]
        + [
            f"`{each.folder.name}`: {'face crops' if each.each_a_face else 'pictures'} without"
            " boxes, in which a detector that was trained before said where faces are"
            for each in unboxed
        ]
        + _counts(reached)
        + [f"{count:,} pictures were left out, {why}" for count, why in omitted if count],
        terms=origin.terms or TERMS_UNKNOWN,
        command=origin.command,
        seed=seed,
        metrics=metrics,
        limits=[
            "The threshold was chosen on the tuning pictures, in single precision; other kinds of"
            " pictures may need another. AP50 on the validation pictures is that of the exported"
            f" detector, as it runs: in {'int8' if is_in_int8(out) else 'single precision'}.",
            "Small faces, faces from behind and faces of animals are missed more often.",
            "Made for drawings, not for photographs of people.",
        ],
        figures=shown,
    )
    write_card(card, out)
    return problem


def _counts(reached: Reached) -> list[str]:
    """From how much a detector learned and by how much it was judged, a line for each use."""
    uses = [
        ("to learn from", reached.training_pictures, reached.training_boxes),
        ("kept for tuning", reached.tuning_pictures, reached.tuning_boxes),
        ("kept for validation", reached.validation_pictures, reached.validation_boxes),
    ]
    counted = [
        f"{use}: {pictures:,} pictures with {boxes:,} boxes that people drew"
        for use, pictures, boxes in uses
    ]
    if taught := reached.taught_pictures:
        counted.append(f"to learn from, too: {taught:,} pictures without such boxes")
    return counted


def drawn_of(pictures: LabelledPictures, most: int) -> LabelledPictures:
    """All of a set, or no more than `most` (four or more) of its pictures, the same each time.

    They are those of whole labels, but of two labels at least, and of one no more than half of
    `most`.
    """
    if len(pictures.labels) <= most:
        return pictures
    rng = np.random.default_rng(0)
    order = rng.permutation(len(pictures.names))
    ends = np.cumsum(np.minimum(np.bincount(pictures.labels), most // 2)[order])
    labels = order[: max(2, int(np.searchsorted(ends, most, side="right")))]
    part = pictures.only(np.sort(labels))
    chosen = np.zeros(len(part.labels), bool)
    for label in range(len(part.names)):
        chosen[rng.permutation(np.flatnonzero(part.labels == label))[: most // 2]] = True
    return part.where(chosen)


def _draw_curves(
    out: Path, lines: Mapping[str, Sequence[tuple[float, float]]], shown: dict[str, str]
) -> str | None:
    file = out / FIGURES / "curves.png"
    try:
        draw_curves(lines, file)
    except FiguresUnavailable as error:
        return str(error)
    shown["training curves"] = file.relative_to(out).as_posix()
    return None
