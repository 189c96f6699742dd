"""A trained detector boxes pictures that nobody boxed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from core.models.detector import SavedModelDetector
from core.models.tensorflow_runtime import tf
from core.train import teacher
from core.train.detector_network import DetectorNetwork
from core.train.parts import kept_of
from core.train.refiner_network import FirstStage
from core.train.teacher import Unboxed, teach
from core.voc import Annotation, AnnotationError
from tests.core.train.refiner_drawings import write_first_stage
from tests.core.train.test_dataset import drawing

Found = list[tuple[tuple[float, float, float, float], float]]
BOX = (32.0, 64.0, 96.0, 128.0)
MIRRORED = (160.0, 64.0, 224.0, 128.0)
"""`BOX` in the mirror image of a square of 256 pixels."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(1, 4):
        cv2.imwrite(str(made / f"{number}.png"), np.full((64, 128, 3), 40 * number, np.uint8))
    return made


def answering(monkeypatch: pytest.MonkeyPatch, straight: Found, mirrored: Found) -> list[int]:
    """Let every picture show the same; what is given back counts the looks."""
    looks: list[int] = []

    def look(network: Any, squares: Any, precision: Any) -> list[Any]:
        found = (straight, mirrored)[len(looks) % 2]
        looks.append(len(squares))
        boxes = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
        return [(boxes, np.array([score for _, score in found], np.float32))] * len(squares)

    monkeypatch.setattr(teacher, "_look", look)
    return looks


def taught(folder: Path, *, each_a_face: bool = False) -> list[Any]:
    cache = folder.parent / "taught.safetensors"
    found, _ = teach(DetectorNetwork(16), "one", [Unboxed(folder, each_a_face)], cache, side=256)
    return found


def test_what_both_looks_show_is_a_face_in_pixels_of_its_picture(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.5)])

    first, *others = taught(folder)

    assert len(others) == 2
    np.testing.assert_allclose(first.boxes, [[16, 32, 48, 64]])  # 128 pixels were shown as 256
    assert first.kinds.tolist() == [1]
    assert first.zoom == 1.5


@pytest.mark.parametrize(
    ("straight", "mirrored"),
    [([(BOX, 0.9)], []), ([], [(MIRRORED, 0.9)]), ([(BOX, 0.4)], [(MIRRORED, 0.5)])],
)
def test_what_one_look_alone_shows_or_both_hardly_is_in_doubt(
    folder: Path, monkeypatch: pytest.MonkeyPatch, straight: Found, mirrored: Found
) -> None:
    answering(monkeypatch, straight, mirrored)

    samples = taught(folder)

    assert [sample.kinds.tolist() for sample in samples] == [[-1]] * 3
    for sample in samples:
        np.testing.assert_allclose(sample.boxes, [[16, 32, 48, 64]])  # in the mirror, too


def test_what_hardly_looks_like_a_face_is_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [(BOX, 0.2)], [])

    assert [len(sample.boxes) for sample in taught(folder)] == [0, 0, 0]


def test_face_crops_without_a_sure_face_are_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = shutil.copytree(folder, folder.parent / "others")
    (others / "3.png").unlink()
    answering(monkeypatch, [(BOX, 0.4)], [(MIRRORED, 0.4)])

    unboxed = [Unboxed(folder, each_a_face=True), Unboxed(others)]
    found, _ = teach(DetectorNetwork(16), "one", unboxed, folder.parent / "cache", side=256)

    assert len(found) == 2


def test_a_detector_that_is_sure_of_no_crop_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [(BOX, 0.4)], [])
    with pytest.raises(AnnotationError, match=r"sure of no face in .*pictures; give it other"):
        taught(folder, each_a_face=True)


def test_large_pictures_are_kept_no_larger_than_training_windows_need(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2.imwrite(str(folder / "1.png"), np.full((600, 1200, 3), 80, np.uint8))
    answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.5)])
    large, *_ = taught(folder)
    assert large.pixels.shape == (256, 512, 3)
    np.testing.assert_allclose(large.boxes, [[64, 128, 192, 256]])  # and 512 were shown as 256


def test_pictures_for_validation_are_not_looked_at(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "3.png").rename(folder / "20.png")
    looks = answering(monkeypatch, [], [])

    assert len(taught(folder)) == 2
    assert looks == [2, 2]


def test_what_is_no_file_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "folder.png").mkdir()
    (folder / "broken.jpg").symlink_to(folder / "nowhere")
    answering(monkeypatch, [], [])
    assert len(taught(folder)) == 3


def test_what_is_hidden_is_passed_over(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".thumbnails").mkdir()
    for hidden in (".thumbnails/1.png", "._1.png"):
        shutil.copy(folder / "1.png", folder / hidden)
    answering(monkeypatch, [], [])
    assert len(taught(folder)) == 3


def test_what_cannot_be_read_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8 no picture")
    answering(monkeypatch, [], [])
    told: list[str] = []
    cache = folder.parent / "cache"
    unboxed = [Unboxed(folder)]
    teach(DetectorNetwork(16), "one", unboxed, cache, side=256, left_out=told.append)
    assert told == [str(folder / "damaged.jpg")]


def test_what_is_tuned_or_reported_on_is_not_trained_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under whatever name it lies among the pictures without boxes."""
    answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.9)])
    boxed = shutil.copy(folder / "2.png", folder.parent / "00010.png")
    kept = kept_of([Annotation(Path(boxed), np.zeros((0, 4), np.float32), ())])

    def learn() -> int:
        cache = folder.parent / "cache"
        network = DetectorNetwork(16)
        return len(teach(network, "one", [Unboxed(folder)], cache, side=256, kept=kept)[0])

    with pytest.raises(AnnotationError, match=r"pictures/2\.png is one of the boxed pictures"):
        learn()
    assert not (folder.parent / "cache").exists()
    # Nothing is learned from pictures of such numbers, whatever they show.
    (folder / "2.png").rename(folder / "20.png")
    assert learn() == 2


def test_what_is_nearly_tuned_or_reported_on_is_left_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.9)])
    boxed = folder.parent / "00010.png"
    cv2.imwrite(str(boxed), drawing(7))
    cv2.imwrite(str(folder / "4.jpg"), cv2.resize(drawing(7), (130, 180)))
    cv2.imwrite(str(folder / "6.jpg"), drawing(8))
    kept = kept_of([Annotation(boxed, np.zeros((0, 4), np.float32), ())])
    unboxed = [Unboxed(folder)]

    found, _ = teach(
        DetectorNetwork(16), "one", unboxed, folder.parent / "cache", side=256, kept=kept
    )

    assert [sample.pixels.shape[:2] for sample in found] == [(64, 128)] * 3 + [(60, 60)]


def test_nothing_is_looked_at_twice_unless_something_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.9)])
    first = taught(folder)

    again = taught(folder)
    assert len(looks) == 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)

    cv2.imwrite(str(folder / "1.png"), np.full((64, 128, 3), 200, np.uint8))
    taught(folder)
    assert len(looks) == 4


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"no boxes" * 99),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "of something else": lambda path: save_file({"boxes": np.zeros((3, 4))}, path),
    "without scores": lambda path: rewritten(path, scores=None),
    "with too few boxes": lambda path: rewritten(path, boxes=np.zeros((2, 4), np.float32)),
    "with too few scores": lambda path: rewritten(path, scores=np.zeros(2, np.float32)),
}


def rewritten(path: Path, **others: np.ndarray | None) -> None:
    """Put other tensors, or none, into a file under the same key."""
    with safe_open(path, framework="np") as file:
        key = file.metadata()
    tensors = load_file(path) | others
    save_file({name: value for name, value in tensors.items() if value is not None}, path, key)


@pytest.mark.parametrize("damage", DAMAGES)
def test_boxes_that_were_kept_and_are_damaged_are_found_anew(
    damage: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = answering(monkeypatch, [(BOX, 0.9)], [(MIRRORED, 0.9)])
    first = taught(folder)
    cache = folder.parent / "taught.safetensors"
    whole = cache.read_bytes()
    DAMAGES[damage](cache)

    again = taught(folder)

    assert len(looks) == 4
    assert cache.read_bytes() == whole
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_a_real_network_looks_at_pictures_of_all_shapes(folder: Path) -> None:
    cv2.imwrite(str(folder / "4.png"), np.full((300, 70, 3), 90, np.uint8))
    network = DetectorNetwork(16)
    for _, score, _, _ in network.heads:
        score.bias.assign(tf.fill([1], 0.5))  # an untrained network that sees faces everywhere

    samples, _ = teach(
        network, "one", [Unboxed(folder)], folder.parent / "taught.safetensors", side=256
    )

    for sample in samples:
        height, width = sample.pixels.shape[:2]
        assert len(sample.boxes) > 0
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= np.array([width, height] * 2) + 1e-3).all()


def test_any_detector_may_say_where_faces_are(folder: Path, tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[20:40, 10:30] = 255
    cv2.imwrite(str(folder / "4.png"), pixels)
    first = FirstStage(SavedModelDetector.load(write_first_stage(tmp_path / "stage")))

    *others, found = teach(first, "two", [Unboxed(folder)], tmp_path / "taught", side=256)[0]

    assert [len(sample.boxes) for sample in others] == [0, 0, 0]
    # It boxes too far to the right, in the mirror too: neither look seconds the other.
    np.testing.assert_allclose(found.boxes, [[17, 20, 37, 40], [3, 20, 23, 40]], atol=1)
    assert found.kinds.tolist() == [-1, -1]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no readable picture"):
        taught(tmp_path / "nothing")
