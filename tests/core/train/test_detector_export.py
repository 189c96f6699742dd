"""What is exported of networks, in single precision and in int8."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.face import Face, Pixels
from core.models.detector import SavedModelDetector
from core.train.detector_export import examples_of, export, export_both
from core.train.detector_network import DetectorNetwork
from core.train.detector_sample import Sample
from core.train.refiner_network import Agreement, FirstStage, RefinerNetwork
from core.train.report import is_in_int8
from tests.core.train.refiner_drawings import SIDE, drawn

EXAMPLES = [drawn(np.random.default_rng(seed))[0] for seed in range(4)]
PICTURE = drawn(np.random.default_rng(9))[0]
HALVES = Agreement(0.5, 0.5)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that knows nothing and proposes a lot."""
    network = DetectorNetwork(16, seed=1)
    for _, logit, _, _ in network.heads:
        logit.kernel.assign(logit.kernel * 30.0)
        logit.bias.assign([-1.0])
    folder = tmp_path_factory.mktemp("first")
    export(network, folder, SIDE, 0.5, EXAMPLES)
    return folder


def export_second(first: Path, folder: Path, examples: list[Pixels]) -> Path:
    stage = FirstStage(SavedModelDetector.load(first))
    network = RefinerNetwork(16, seed=4)
    network.score.kernel.assign(network.score.kernel * 30.0)
    network.place.kernel.assign(network.place.kernel * 10.0)
    export_both(
        stage,
        network,
        folder,
        agreement=HALVES,
        longest=SIDE,
        threshold=0.5,
        examples=examples,
    )
    return folder


def networks_of(folder: Path) -> list[str]:
    return [path.name for path in SavedModelDetector.load(folder).networks]


def best(folder: Path, precision) -> Face:
    (faces,) = SavedModelDetector.load(folder, precision=precision).detect([PICTURE])
    return faces[0]


def test_both_stages_in_int8_say_what_they_say_in_single_precision(
    first: Path, tmp_path: Path
) -> None:
    both = export_second(first, tmp_path / "both", EXAMPLES)
    assert networks_of(both) == ["1.onnx", "2.onnx"]
    told = {
        (folder, precision): best(folder, precision)
        for folder in (first, both)
        for precision in ("float32", "int8")
    }
    for folder in (first, both):
        exact, coarse = (told[folder, precision] for precision in ("float32", "int8"))
        assert coarse != exact
        assert coarse.score == pytest.approx(exact.score, abs=0.05)
        np.testing.assert_allclose(coarse.box, exact.box, atol=4)
    # The second stage has had its word.
    assert abs(told[both, "int8"].score - told[first, "int8"].score) > 0.02


def test_without_examples_there_is_no_int8(first: Path, tmp_path: Path) -> None:
    both = export_second(first, tmp_path / "both", EXAMPLES)
    exact = best(both, "float32")
    export_second(first, both, [])  # in place of the one before
    assert networks_of(both) == []
    assert best(both, "int8") == best(both, "float32") == exact


def test_a_first_stage_that_has_no_int8_leaves_both_without(tmp_path: Path) -> None:
    export(DetectorNetwork(16), tmp_path / "first", SIDE, 0.5)
    both = export_second(tmp_path / "first", tmp_path / "both", EXAMPLES)
    assert networks_of(both) == []


def test_a_first_stage_of_two_networks_leaves_both_without(first: Path, tmp_path: Path) -> None:
    both = export_second(first, tmp_path / "both", EXAMPLES)
    again = export_second(both, tmp_path / "again" / "familiar-face", EXAMPLES)
    assert networks_of(again) == []
    assert not is_in_int8(tmp_path / "again")
    export_second(first, again, EXAMPLES)
    assert is_in_int8(tmp_path / "again")


def test_where_nothing_is_proposed_there_is_nothing_to_quantise_by(tmp_path: Path) -> None:
    network = DetectorNetwork(16)
    for _, logit, _, _ in network.heads:
        logit.bias.assign([-20.0])
    export(network, tmp_path / "first", SIDE, 0.5, EXAMPLES)
    assert networks_of(tmp_path / "first") == ["1.onnx"]
    assert networks_of(export_second(tmp_path / "first", tmp_path / "both", EXAMPLES)) == []


@pytest.mark.parametrize(
    ("there", "first_and_last"), [(3, (0, 2)), (64, (0, 63)), (127, (0, 126)), (1000, (0, 999))]
)
def test_examples_come_from_all_over(there: int, first_and_last: tuple[int, int]) -> None:
    samples = [Sample(np.full((1, 1, 3), n), np.empty((0, 4), np.float32)) for n in range(there)]
    found = [int(pixels[0, 0, 0]) for pixels in examples_of(samples)]
    assert (found[0], found[-1]) == first_and_last
    assert len(found) == min(there, 64)
