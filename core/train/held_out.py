"""What is kept away from a training of the extractor's networks, copies of it included."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from core.face import Pixels
from core.train.copies import copied, prints_of
from core.train.extractor_options import ExtractorTraining
from core.train.face_data import (
    LabelledPictures,
    LeftOut,
    TrainingDataError,
    load_labelled,
    load_unlabelled,
    split_by_label,
    together,
)

HELD_OUT: Final = "held out"
"""What the labels are called that are kept away from training, where figures are given."""


def load_parted(
    folder: Path, also: Sequence[Path], options: ExtractorTraining, left_out: LeftOut | None
) -> tuple[LabelledPictures, dict[str, LabelledPictures]]:
    """What is learned from, and what of `folder` was kept away from it.

    Args:
        folder: ``<label>/<picture>``.
        also: Further folders of the same layout, from which no label is held out.
        options: Of the training.
        left_out: Told of each picture file that cannot be read.

    Returns:
        What is learned; and what is held out by `HELD_OUT`, where anything is.

    Raises:
        TrainingDataError: A folder cannot be trained on, one label alone or too many are held out,
            or `also` has labels or pictures that are held out.
    """
    if options.held_out == 1:
        raise TrainingDataError(
            "One held-out label has nothing to be told from; hold out two or more, or none."
        )

    def load(place: Path, without: Sequence[str] = ()) -> LabelledPictures:
        return load_labelled(
            place, options.stored_side, fit=options.fit, left_out=left_out, without=without
        )

    learned, apart = parted(load(folder, options.without), options)
    further = [load(each) for each in also]
    kept_away = set(apart.names) if apart is not None else set()
    for place, part in zip(also, further, strict=True):
        if apart is not None:
            _refuse_held_out(folder, apart.pixels, place, part.pixels)
        if shared := sorted(kept_away.intersection(part.names)):
            raise TrainingDataError(
                f"{place} has labels that are held out of {folder}: {', '.join(shared[:3])}; take"
                " them out of it, or choose another seed."
            )
    return together([learned, *further]), {} if apart is None else {HELD_OUT: apart}


def parted(
    everything: LabelledPictures, options: ExtractorTraining
) -> tuple[LabelledPictures, LabelledPictures | None]:
    """What is learned of a folder, without copies of what is held out, and what is held out.

    Raises:
        TrainingDataError: All pictures of a label are such copies, or too few labels would be left.
    """
    kept, held = split_by_label(len(everything.names), options.held_out, options.seed)
    learned = everything.only(kept)
    if not options.held_out:
        return learned, None
    apart = everything.only(held)
    return learned.where(~copied(prints_of(learned.pixels), prints_of(apart.pixels))), apart


def unlabelled_to_learn(
    folder: Path,
    options: ExtractorTraining,
    apart: LabelledPictures | None,
    left_out: LeftOut | None = None,
) -> Pixels:
    """A folder's pictures as they are learned without labels: without copies of held-out ones.

    Args:
        folder: Searched at any depth, zip files included.
        options: Of the training.
        apart: What is held out, if anything.
        left_out: Told of each picture file that cannot be read.

    Returns:
        ``(n, side, side, 3)``.

    Raises:
        TrainingDataError: There is none but such copies, or a zip file cannot be unpacked.
    """
    pictures = load_unlabelled(folder, options.stored_side, options.fit, left_out)
    if apart is None:
        return pictures
    kept = ~copied(prints_of(pictures), prints_of(apart.pixels))
    if not kept.any():
        raise TrainingDataError(
            f"All pictures of {folder} are copies of pictures that are held out; leave it out, or"
            " choose another seed."
        )
    return pictures if kept.all() else np.asarray(pictures[kept])


def _refuse_held_out(folder: Path, apart: Pixels, place: Path, pixels: Pixels) -> None:
    if count := int(copied(prints_of(apart), prints_of(pixels)).sum()):
        raise TrainingDataError(
            f"{place} holds copies of {count} pictures that are held out of {folder}; take them out"
            " of it, or choose another seed."
        )
