"""What a training on boxed pictures has reached, kept in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from core.train.reached import Reached
from core.train.results import METRICS

REACHED = Reached(
    tuning_ap50=0.5,
    threshold=0.375,
    tuning_precision_at_threshold=0.75,
    tuning_recall_at_threshold=0.625,
    windows_without_faces=9,
    boxes_there_at_threshold=0.25,
    training_pictures=17,
    training_boxes=18,
    taught_pictures=2,
    tuning_pictures=4,
    tuning_boxes=5,
    validation_ap50=0.8125,
    validation_pictures=3,
    validation_boxes=3,
    copies_left_out=0,
    unboxed_left_to_judge_on=0,
    seconds=30.0,
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Reached.read(tmp_path) is None
    REACHED.write(tmp_path)
    assert Reached.read(tmp_path) == REACHED


def test_one_that_lacks_a_figure_cannot_be_read(tmp_path: Path) -> None:
    REACHED.write(tmp_path)
    told = json.loads((tmp_path / METRICS).read_text())
    del told["tuning_boxes"]
    (tmp_path / METRICS).write_text(json.dumps(told))
    assert Reached.read(tmp_path) is None
