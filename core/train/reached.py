"""What a training on boxed pictures has reached, as its folder says it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from core.files import write_text
from core.train.results import METRICS

if TYPE_CHECKING:  # they bring TensorFlow with them
    from core.train.detector_sample import Sample
    from core.train.parts import Boxed
    from core.train.teacher import Lessons


class Counts(BaseModel):
    """From how much a training learns, decides and reports.

    Attributes:
        training_pictures: With boxes that people drew, to learn from.
        training_boxes: In them.
        taught_pictures: To learn from, too, in which a detector found the faces.
        tuning_pictures: To take decisions by.
        tuning_boxes: In them.
        validation_pictures: To report on.
        validation_boxes: In them.
        copies_left_out: Pictures that are nearly some that are kept, and were not learned from.
        unboxed_left_to_judge_on: Pictures without boxes that were left out by their numbers.
    """

    model_config = ConfigDict(frozen=True)

    training_pictures: int
    training_boxes: int
    taught_pictures: int
    tuning_pictures: int
    tuning_boxes: int
    validation_pictures: int
    validation_boxes: int
    copies_left_out: int
    unboxed_left_to_judge_on: int


def counted(
    boxed: Boxed,
    samples: Sequence[Sample],
    taught: Sequence[Sample],
    lessons: Lessons | None,
) -> Counts:
    """The counts of a training on boxed pictures.

    Args:
        boxed: The boxed pictures.
        samples: Those of them to learn from, decoded.
        taught: Pictures that nobody boxed, to learn from.
        lessons: Where those come from; None: there are none.
    """
    return Counts(
        training_pictures=len(samples),
        training_boxes=sum(len(each.boxes) for each in samples),
        taught_pictures=len(taught),
        tuning_pictures=len(boxed.tuning),
        tuning_boxes=boxed.tuning_boxes,
        validation_pictures=len(boxed.validation),
        validation_boxes=boxed.validation_boxes,
        copies_left_out=len(boxed.copies) + (lessons.copies if lessons else 0),
        unboxed_left_to_judge_on=lessons.judged if lessons else 0,
    )


class Reached(Counts):
    """What `core.train.detector.train` reaches, and from how much.

    Attributes:
        tuning_ap50: Average precision at an overlap of 0.5 on the tuning pictures, 0..1; None:
            none of them has a box.
        threshold: Score from which a box counts, 0..1.
        tuning_precision_at_threshold: Share of the boxes there that are faces; None: no box.
        tuning_recall_at_threshold: Share of the faces that are boxed there; None: no face.
        windows_without_faces: Cut out of the tuning pictures, to choose the threshold on.
        boxes_there_at_threshold: Share of them that have a box; None: there are none of them.
        validation_ap50: Average precision on the pictures kept for validation, by the detector as
            it runs; None: none of them has a box.
        seconds: That it trained.
    """

    tuning_ap50: float | None
    threshold: float
    tuning_precision_at_threshold: float | None
    tuning_recall_at_threshold: float | None
    windows_without_faces: int
    boxes_there_at_threshold: float | None
    validation_ap50: float | None
    seconds: float

    @classmethod
    def read(cls, out: Path) -> Self | None:
        """What the training in a folder has reached; None where that cannot be read."""
        try:
            return cls.model_validate_json((out / METRICS).read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, out: Path) -> None:
        """Put it into a training's folder."""
        write_text(out / METRICS, self.model_dump_json(indent=2) + "\n")


class RefinerReached(Reached):
    """What `core.train.refiner.train` reaches.

    Attributes:
        first_stage_tuning_ap50: Average precision of the first stage alone.
        first_stage_share: Of its score in that of both, 0..1.
        way_of_boxes: How far boxes go from the first stage's place to the second's, 0..1.
        tuning_pictures_with_a_box_at_threshold: Share of the tuning pictures; None: there are none.
        training_views: Windows and mosaics that were learned from.
    """

    first_stage_tuning_ap50: float | None
    first_stage_share: float
    way_of_boxes: float
    tuning_pictures_with_a_box_at_threshold: float | None
    training_views: int
