"""Networks in int8, and a detector that has some."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from cli.demo import gallery as demo
from cli.demo.characters import CHARACTERS
from core.face import Pixels
from core.models import DEFAULT_DETECTOR, SHIPPED, Detector, ModelError, load_detector
from core.models.detector import SavedModelDetector
from core.models.onnx_session import open_session
from core.models.quantised import QuantisedNetwork, network_path
from core.models.tensorflow_runtime import tf
from core.train.onnx_of_tensorflow import of_tensorflow
from core.train.quantise import quantised

GENERATOR = np.random.default_rng(0)
KERNEL = GENERATOR.normal(0, 0.02, (3, 3, 3, 4)).astype(np.float32)
SECOND = GENERATOR.normal(0, 0.2, (3, 3, 4, 4)).astype(np.float32)
PICTURES = GENERATOR.integers(0, 256, (6, 32, 32, 3), np.uint8)


def edges(pictures):
    first = tf.nn.relu(tf.nn.conv2d(pictures, KERNEL, 2, "SAME"))
    return {"edges": tf.nn.relu(tf.nn.conv2d(first, SECOND, 1, "SAME"))}


@pytest.fixture(scope="module")
def content() -> bytes:
    return quantised(of_tensorflow(edges, "pictures"), list(PICTURES))


@pytest.fixture(scope="module")
def network(content: bytes) -> QuantisedNetwork:
    return QuantisedNetwork(content, threads=1)


def test_without_examples_nothing_is_quantised() -> None:
    with pytest.raises(ValueError, match="there are none"):
        quantised(of_tensorflow(edges, "pictures"), [])


def expected(pictures: Pixels) -> np.ndarray:
    return edges(tf.cast(pictures, tf.float32))["edges"].numpy()


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 32, 64), (6, 96, 32)])
def test_a_network_says_nearly_what_it_said_in_single_precision(network, shape) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    exact = expected(pictures)
    found = network(pictures)["edges"]
    assert found.shape == exact.shape
    assert 0 < np.abs(found - exact).mean() < 0.02 * exact.mean()


def test_threads_that_wait_leave_the_cores_to_other_libraries(content: bytes) -> None:
    options = open_session(content, "It", threads=2).get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert options.intra_op_num_threads == 2


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
    pictures = [drawn(0, 300), np.full((80, 200, 3), 128, np.uint8), drawn(1, 240), drawn(0, 300)]
    together = shipped.detect(pictures)
    assert not together[1]
    assert together[0][0].score > shipped.threshold < together[2][0].score
    for picture, faces in zip(pictures, together, strict=True):
        (alone,) = shipped.detect([picture])
        np.testing.assert_allclose([f.score for f in alone], [f.score for f in faces], atol=1e-4)
        np.testing.assert_allclose([f.box for f in alone], [f.box for f in faces], atol=0.01)


def copied(folder: Path, networks: Sequence[bytes] | None) -> Path:
    """The shipped detector with other networks, which `detector.json` lists; None: as many as it
    has, and none of them listed."""
    shutil.copytree(SHIPPED / DEFAULT_DETECTOR, folder)
    described = json.loads((folder / "detector.json").read_text())
    listed = {n: h for n, h in described["files"].items() if not n.startswith("int8/")}
    if networks is not None:
        shutil.rmtree(folder / "int8")
        (folder / "int8").mkdir()
        for number, content in enumerate(networks, start=1):
            network_path(folder, number).write_bytes(content)
            listed[f"int8/{number}.onnx"] = hashlib.sha256(content).hexdigest()
    (folder / "detector.json").write_text(json.dumps(described | {"files": listed}))
    return folder


def test_networks_that_are_not_listed_are_not_looked_at(tmp_path: Path) -> None:
    folder = copied(tmp_path / "detector", None)
    loaded = SavedModelDetector.load(folder, precision="int8")
    assert (loaded.precision, loaded.networks) == ("float32", ())
    pictures = [drawn(0, 300)]
    assert loaded.detect(pictures) == load_detector(precision="float32").detect(pictures) != [()]


OURS = [network_path(SHIPPED / DEFAULT_DETECTOR, number).read_bytes() for number in (1, 2)]


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda other: OURS[:1], id="one too few"),
        pytest.param(lambda other: [*OURS, other], id="one too many"),
        pytest.param(lambda other: OURS[::-1], id="in the wrong order"),
        pytest.param(lambda other: [OURS[0], other], id="of another detector"),
    ],
)
def test_networks_that_do_not_belong_to_the_detector_are_refused(
    tmp_path: Path, content: bytes, wrong: Callable[[bytes], list[bytes]]
) -> None:
    folder = copied(tmp_path / "detector", wrong(content))
    with pytest.raises(ModelError, match="int8 does not belong to the detector beside it"):
        SavedModelDetector.load(folder, precision="int8")
    SavedModelDetector.load(folder, precision="float32")


def test_a_listed_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    folder = copied(tmp_path / "detector", [OURS[0], b"no network"])
    with pytest.raises(ModelError, match=r"int8/2\.onnx cannot be used .*not an ONNX file"):
        SavedModelDetector.load(folder, precision="int8")
    SavedModelDetector.load(folder, precision="float32")


def test_it_runs_where_a_system_does_not_say_which_processors_are_ours(
    monkeypatch: pytest.MonkeyPatch, shipped: Detector
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert load_detector().detect([drawn(0, 300)]) == shipped.detect([drawn(0, 300)])


NOTHING = """
import numpy as np
from core.models import load_detector
grey = np.full((1, 80, 200, 3), 128, np.uint8)
print([load_detector(precision=each).detect(grey) for each in ("float32", "int8")])
"""


@pytest.mark.parametrize("onednn", ["0", "1"])
def test_where_nothing_is_proposed_there_is_no_face_whatever_tensorflow_convolves_with(
    onednn: str,
) -> None:
    """It takes oneDNN by itself on some processors, and without is what it takes on others."""
    said = subprocess.run(
        [sys.executable, "-c", NOTHING],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == "[[()], [()]]"


THREADS = """
from core.settings import ModelSettings
from core.models.chosen import load_detector_of
import core.models.quantised as quantised
from core.models.tensorflow_runtime import tf
told = []
network = quantised.QuantisedNetwork
quantised.QuantisedNetwork = lambda content, n: told.append(n) or network(content, n)
load_detector_of(ModelSettings(threads=1))
print(told, tf.config.threading.get_intra_op_parallelism_threads())
"""


def test_the_setting_of_threads_holds() -> None:
    said = subprocess.run(
        [sys.executable, "-c", THREADS], capture_output=True, text=True, check=True
    ).stdout
    assert said.strip() == "[1, 1] 1"


def test_a_damaged_network_is_refused_before_it_is_run(tmp_path: Path) -> None:
    shutil.copytree(SHIPPED / DEFAULT_DETECTOR, tmp_path / "detector")
    with network_path(tmp_path / "detector", 2).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(ModelError, match=r"2\.onnx is damaged or was replaced"):
        SavedModelDetector.load(tmp_path / "detector", precision="int8")
