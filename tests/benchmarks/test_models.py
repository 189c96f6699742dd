"""What `python -m benchmarks models` counts and prints."""

from __future__ import annotations

import time

import numpy as np
import pytest

from benchmarks import models
from benchmarks.models import (
    SIDE,
    MeasuredModel,
    _product_rate,
    graph_operations,
    measure_alone,
    measure_detector,
    measure_whole,
    notes,
    picture_with_a_face,
    quickest,
    table,
)
from core.face import Pixels
from core.models import (
    DEFAULT_DETECTOR,
    SHIPPED,
    load_detector,
    load_extractor,
    tensorflow_runtime,
)
from core.models.detector import SavedModelDetector, letterboxed
from core.models.extractor import FamiliarExtractor
from core.models.quantised import QuantisedNetwork, after, network_path
from core.models.tensorflow_runtime import tf
from core.train.detector_network import DetectorNetwork


def test_operations_of_a_graph_counted_by_hand() -> None:
    wide, deep = tf.ones((3, 3, 3, 8)), tf.ones((5, 5, 8, 1))

    def look(pictures):
        maps = tf.nn.conv2d(tf.cast(pictures, tf.float32), wide, 2, "SAME")
        maps = tf.nn.depthwise_conv2d(maps, deep, [1, 1, 1, 1], "VALID")
        return {"maps": maps + 1.0}

    entering = tf.TensorSpec([None, None, None, 3], tf.uint8, name="input_tensor")
    function = tf.function(look, input_signature=[entering]).get_concrete_function()
    first = 16 * 10 * 8 * 27
    second = 12 * 6 * 8 * 25
    assert graph_operations(function, np.zeros((32, 20, 3), np.uint8)) == 2 * (first + second)


def test_the_processor_is_measured_without_a_gpu_that_computing_would_have_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class StoppedError(Exception):
        pass

    order: list[str] = []

    def compute(*_: object) -> None:
        order.append("computed")
        raise StoppedError

    monkeypatch.setattr(tensorflow_runtime, "keep_off_gpu", lambda: order.append("kept off"))
    monkeypatch.setattr(tf.random, "normal", compute)
    with pytest.raises(StoppedError):
        measure_detector("CPU")
    assert order == ["kept off", "computed"]


def test_the_shipped_detector_needs_more_for_a_larger_picture() -> None:
    detector = load_detector()
    assert isinstance(detector, SavedModelDetector)
    small, middling, large = (
        graph_operations(detector.signature, np.zeros((side, detector.longest, 3), np.uint8))
        for side in (detector.longest - 192, detector.longest - 96, detector.longest)
    )
    # One square is looked at again in each of them, whatever there is to be seen.
    assert large - middling == middling - small > 0


def test_the_picture_that_is_timed_shows_one_face_and_costs_a_second_look() -> None:
    detector = load_detector()
    assert isinstance(detector, SavedModelDetector)
    picture = picture_with_a_face()
    assert picture.shape == (SIDE, SIDE, 3)
    (faces,) = detector.detect([picture])
    assert [face.score > detector.threshold for face in faces[:2]] in ([True], [True, False])
    seen, _ = letterboxed(picture, detector.longest)
    assert [looks_again(seen), looks_again(np.zeros_like(seen))] == [1, 0]
    with_four = np.tile(seen[::2, ::2], (2, 2, 1))
    assert looks_again(with_four) > 1
    one, four = (graph_operations(detector.signature, each) for each in (seen, with_four))
    assert four > one


def looks_again(picture: Pixels) -> int:
    """How many squares of a picture the second stage of the shipped detector looks at."""
    folder = SHIPPED / DEFAULT_DETECTOR
    first = QuantisedNetwork(network_path(folder, 1).read_bytes(), threads=1)
    after_first = SavedModelDetector.load(folder).model.signatures[after(1)]
    known = {name: tf.constant(each) for name, each in first(picture[None]).items()}
    return len(after_first(input_tensor=tf.constant(picture[None]), **known)["there"])


def test_an_exported_network_needs_what_its_layers_say() -> None:
    network = DetectorNetwork(16)
    entering = tf.TensorSpec([None, None, None, 3], tf.uint8)
    function = tf.function(network, input_signature=[entering])
    counted = graph_operations(function.get_concrete_function(), np.zeros((64, 32, 3), np.uint8))
    # The stem alone: 32 x 16 places, 16 channels, 3 x 3 x 3 numbers each.
    assert counted > 2 * 32 * 16 * 16 * 27
    twice = graph_operations(function.get_concrete_function(), np.zeros((64, 64, 3), np.uint8))
    assert twice == 2 * counted


def test_a_mirror_image_is_counted() -> None:
    extractor = load_extractor()
    assert isinstance(extractor, FamiliarExtractor)
    face = extractor.configuration.face
    once = face.model_copy(update={"mirrored": False, "divided": False})
    twice = face.model_copy(update={"mirrored": True, "divided": False})
    assert twice.multiply_adds == 2 * once.multiply_adds
    # Divided among the networks, both looks take as much as one.
    assert face.multiply_adds == once.multiply_adds


def measured(device: str, precision: str = "float32") -> MeasuredModel:
    return MeasuredModel(
        "detector, 352 x 352",
        device,  # type: ignore[arg-type]
        precision,
        {1: 0.02, 2: 0.03, 4: 0.1},
        3_000_000_000,
        2e11,
    )


def test_a_picture_in_the_best_batch_takes_least() -> None:
    model = measured("CPU")
    assert model.best == 2
    assert model.of_one(1) == 0.02
    assert model.rate(2) == pytest.approx(2e11)
    assert table([model, measured("CPU", "bfloat16")]).row_count == 2


def test_what_is_left_out_is_said() -> None:
    said = " ".join(notes([measured("CPU")]))
    assert "The CPU has no instructions for bfloat16" in said
    assert "TensorFlow sees no GPU" in said
    assert "PyTorch sees no GPU" in said
    both = [
        measured("CPU"),
        measured("CPU", "bfloat16"),
        measured("GPU"),
        measured("GPU", "bfloat16"),
    ]
    said = " ".join(notes(both))
    assert "no instructions" not in said
    assert "TensorFlow" not in said


def test_the_quickest_of_several_runs_counts() -> None:
    runs: list[int] = []
    assert quickest(lambda: runs.append(1), least_seconds=0.0) < 0.1
    assert len(runs) >= 4  # the first one only warms up


def test_the_time_of_several_runs_is_that_of_the_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, lasting = [0.0], iter([9.0, 3.0, 0.25, 2.0])
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run() -> None:
        clock[0] += next(lasting)

    assert quickest(run, least_seconds=0.0) == 0.25


def test_a_matrix_product_multiplies_and_adds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of 1024 x 1024 numbers is a sum of 1024 products."""
    monkeypatch.setattr(models, "quickest", lambda _: 0.5)
    assert _product_rate(lambda: None, "CPU") == 1024 * 1024 * (1024 + 1024) / 0.5


def test_the_way_from_a_picture_to_its_vectors_is_timed_as_a_whole() -> None:
    assert len(found := measure_alone(measure_whole, 3)) == 3
    assert all(0 < milliseconds < 60_000 for milliseconds in found)
