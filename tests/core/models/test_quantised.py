"""Networks in int8, and a detector that has some."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cli.demo import gallery as demo
from cli.demo.characters import CHARACTERS
from core.face import Pixels
from core.models import DEFAULT_DETECTOR, SHIPPED, Detector, ModelError, load_detector
from core.models.detector import SavedModelDetector
from core.models.quantised import QuantisedNetwork, network_path, network_paths
from core.models.tensorflow_runtime import tf
from core.train.quantise import quantised

GENERATOR = np.random.default_rng(0)
KERNEL = tf.constant(GENERATOR.normal(0, 0.02, (3, 3, 3, 4)).astype(np.float32))
PICTURES = GENERATOR.integers(0, 256, (6, 32, 32, 3), np.uint8)


def edges(pictures):
    return {"edges": tf.nn.relu(tf.nn.conv2d(pictures, KERNEL, 2, "SAME"))}


@pytest.fixture(scope="module")
def network() -> QuantisedNetwork:
    return QuantisedNetwork(quantised(edges, list(PICTURES)), threads=1)


def expected(pictures: Pixels) -> np.ndarray:
    return edges(tf.cast(pictures, tf.float32))["edges"].numpy()


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 64), (6, 96, 32)])
def test_a_network_says_nearly_what_it_said_in_single_precision(network, shape) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    exact = expected(pictures)
    found = network(pictures)["edges"]
    assert found.shape == exact.shape
    assert 0 < np.abs(found - exact).mean() < 0.02 * exact.mean()


def test_no_picture_gives_no_maps(network) -> None:
    assert network(PICTURES[:0])["edges"].shape == (0, 0, 0, 4)


def test_many_threads_get_their_own_answers(network) -> None:
    pictures = [PICTURES[i : i + 1 + i % 3] for i in range(6)]
    alone = [network(each)["edges"] for each in pictures]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda each: network(each)["edges"], pictures * 5))
    for one, other in zip(alone * 5, together, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def shipped() -> Detector:
    return load_detector(precision="int8")


def drawn(number: int, side: int) -> Pixels:
    picture = demo.picture(CHARACTERS[number], number).convert("RGB")
    return np.asarray(picture.resize((side, side + 40 * number)))


def test_a_picture_is_answered_alike_alone_and_among_others(shipped: Detector) -> None:
    pictures = [drawn(0, 300), np.zeros((80, 200, 3), np.uint8), drawn(1, 240), drawn(0, 300)]
    together = shipped.detect(pictures)
    assert not together[1]
    assert together[0][0].score > shipped.threshold < together[2][0].score
    for picture, faces in zip(pictures, together, strict=True):
        (alone,) = shipped.detect([picture])
        np.testing.assert_allclose([f.score for f in alone], [f.score for f in faces], atol=1e-4)
        np.testing.assert_allclose([f.box for f in alone], [f.box for f in faces], atol=0.01)


def test_without_networks_single_precision_is_taken(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / DEFAULT_DETECTOR / "saved_model", tmp_path / "saved_model")
    (asked, exact) = (
        SavedModelDetector.load(tmp_path, described=False, precision=precision).detect(
            [drawn(0, 300)]
        )
        for precision in ("int8", "float32")
    )
    assert asked == exact != [()]


@pytest.mark.parametrize("content", [b"no network", quantised(edges, list(PICTURES))])
def test_networks_of_another_detector_are_refused(tmp_path: Path, content: bytes) -> None:
    for part in ("saved_model", "int8"):
        shutil.copytree(SHIPPED / DEFAULT_DETECTOR / part, tmp_path / part)
    (tmp_path / "saved_model" / "fingerprint.pb").unlink(missing_ok=True)
    network_path(tmp_path, 3).write_bytes(content)
    assert len(network_paths(tmp_path)) == 3
    with pytest.raises(ModelError, match="int8 does not belong to the detector beside it"):
        SavedModelDetector.load(tmp_path, described=False, precision="int8")
    SavedModelDetector.load(tmp_path, described=False, precision="float32")


def test_a_damaged_network_is_refused_before_it_is_run(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / DEFAULT_DETECTOR, tmp_path / "detector")
    with network_path(tmp_path / "detector", 2).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(ModelError, match=r"2\.tflite is damaged or was replaced"):
        SavedModelDetector.load(tmp_path / "detector", precision="int8")
