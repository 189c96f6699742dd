"""What a network sees, and from which score on it counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.face import Face
from core.models.detector import SavedModelDetector
from core.models.tensorflow_runtime import tf
from core.train import detector_choice
from core.train.detector_choice import choose_threshold, faces_in
from core.train.detector_export import export
from core.train.detector_network import DetectorNetwork, named_variables
from core.train.detector_sample import Sample


def test_looking_changes_nothing_and_learning_does() -> None:
    # The fault this guards against: validating in training mode, which moves the statistics.
    network = DetectorNetwork(16)
    before = {n: v.numpy() for n, v in named_variables(network).items()}
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)

    faces_in(network, pixels)
    assert all((v.numpy() == before[n]).all() for n, v in named_variables(network).items())

    network(tf.constant(pixels[None]), training=True)
    changed = {n for n, v in named_variables(network).items() if (v.numpy() != before[n]).any()}
    assert changed == {n for n in before if n.endswith(("mean", "variance"))}


def test_the_threshold_is_written_no_higher_than_the_box_it_was_chosen_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = (0.0, 0.0, 10.0, 10.0)
    found = (Face(box, float(np.float32(0.43457))),)
    monkeypatch.setattr(detector_choice, "faces_in", lambda *_: found)
    sample = Sample(np.zeros((64, 64, 3), np.uint8), np.array([box], np.float32))

    chosen = choose_threshold(DetectorNetwork(16), [sample])

    assert chosen.threshold == 0.4345
    assert chosen.recall == 1.0
    export(DetectorNetwork(16), tmp_path, 64, chosen.threshold)
    assert SavedModelDetector.load(tmp_path).threshold == chosen.threshold


def test_the_threshold_is_where_f2_is_highest(monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)
    found = {
        1: (Face(here, 0.9), Face(elsewhere, 0.2)),
        2: (Face(here, 0.6),),
        3: (Face(elsewhere, 0.5), Face(here, 0.3)),
        100: (Face(here, 0.4), Face(elsewhere, 0.35)),
        101: (Face(here, 0.1),),
    }
    monkeypatch.setattr(detector_choice, "faces_in", lambda _, pixels: found[int(pixels[0, 0, 0])])

    def pictures(names: list[int], boxes: list[tuple[float, ...]]) -> list[Sample]:
        array = np.array(boxes, np.float32).reshape(-1, 4)
        return [Sample(np.full((64, 64, 3), name, np.uint8), array) for name in names]

    faces, empty = pictures([1, 2, 3], [here]), pictures([100, 101], [])

    # Hits by boxes and four times the faces: 1/13 at 0.9, 2/14 at 0.6, 2/15 at 0.5, 3/16 at 0.3,
    # 3/17 at 0.2.
    chosen = choose_threshold(DetectorNetwork(16), faces)
    assert chosen.threshold == 0.3
    assert (chosen.precision, chosen.recall) == (pytest.approx(3 / 4), pytest.approx(1.0))
    assert chosen.false is None

    # Twelve boxes in pictures without a face make it 3/28 at 0.3.
    chosen = choose_threshold(DetectorNetwork(16), faces, empty * 6)
    assert chosen.threshold == 0.6
    assert (chosen.precision, chosen.recall) == (pytest.approx(1.0), pytest.approx(2 / 3))
    assert chosen.false == 0.0
    assert choose_threshold(DetectorNetwork(16), faces, empty).false == pytest.approx(1 / 2)

    found[1] = found[2] = found[3] = ()
    assert choose_threshold(DetectorNetwork(16), faces, empty).threshold == 0.3
