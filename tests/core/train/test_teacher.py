"""A trained detector boxes pictures that nobody boxed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from core.face import Pixels
from core.models.detector import SavedModelDetector
from core.models.tensorflow_runtime import tf
from core.train.crops import write_crops
from core.train.detector_network import DetectorNetwork
from core.train.parts import kept_of
from core.train.teacher import (
    FindBoxes,
    Lessons,
    Teacher,
    Unboxed,
    collect,
    load_teacher,
    of_detector,
    of_network,
    teach,
)
from core.voc import Annotation, AnnotationError
from tests.core.train.refiner_drawings import write_first_stage
from tests.core.train.test_crops import RedFinder, save
from tests.core.train.test_dataset import drawing

Found = list[tuple[tuple[float, float, float, float], float]]
BOX = (1 / 8, 1 / 2, 3 / 8, 1.0)
"""In shares of the picture's width and height."""
MIRRORED = (5 / 8, 1 / 2, 7 / 8, 1.0)
"""`BOX` in the mirror image."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "pictures"
    made.mkdir()
    for number in range(1, 4):
        cv2.imwrite(str(made / f"{number}.png"), np.full((64, 128, 3), 40 * number, np.uint8))
    return made


class Answering:
    """Sees the same in every picture, and counts how many it is shown at a time."""

    def __init__(self, straight: Found, mirrored: Found) -> None:
        self.answers = (straight, mirrored)
        self.looks: list[int] = []

    def __call__(self, pictures: Sequence[Pixels]) -> list[Any]:
        found = self.answers[len(self.looks) % 2]
        self.looks.append(len(pictures))
        shares = np.array([box for box, _ in found], np.float32).reshape(-1, 4)
        scores = np.array([score for _, score in found], np.float32)
        return [(shares * np.tile(each.shape[1::-1], 2), scores) for each in pictures]


def taught(folder: Path, look: FindBoxes, *, each_a_face: bool = False, **others: Any) -> list[Any]:
    cache = folder.parent / "taught.safetensors"
    unboxed = [Unboxed(folder, each_a_face)]
    return teach(collect(Teacher(look, "one"), unboxed, side=256, **others), cache)


def test_what_both_looks_show_is_a_face_in_pixels_of_its_picture(folder: Path) -> None:
    look = Answering([(BOX, 0.9)], [(MIRRORED, 0.5)])

    first, *others = taught(folder, look)

    assert len(others) == 2
    np.testing.assert_allclose(first.boxes, [[16, 32, 48, 64]])
    assert first.kinds.tolist() == [1]
    assert first.zoom == 1.5


@pytest.mark.parametrize(
    ("straight", "mirrored"),
    [([(BOX, 0.9)], []), ([], [(MIRRORED, 0.9)]), ([(BOX, 0.4)], [(MIRRORED, 0.5)])],
)
def test_what_one_look_alone_shows_or_both_hardly_is_in_doubt(
    folder: Path, straight: Found, mirrored: Found
) -> None:
    look = Answering(straight, mirrored)

    samples = taught(folder, look)

    assert [sample.kinds.tolist() for sample in samples] == [[-1]] * 3
    for sample in samples:
        np.testing.assert_allclose(sample.boxes, [[16, 32, 48, 64]])  # in the mirror, too


def test_what_hardly_looks_like_a_face_is_none(folder: Path) -> None:
    look = Answering([(BOX, 0.2)], [])

    assert [len(sample.boxes) for sample in taught(folder, look)] == [0, 0, 0]


def test_face_crops_without_a_sure_face_are_left_out(folder: Path) -> None:
    others = shutil.copytree(folder, folder.parent / "others")
    (others / "3.png").unlink()
    look = Answering([(BOX, 0.4)], [(MIRRORED, 0.4)])

    unboxed = [Unboxed(folder, each_a_face=True), Unboxed(others)]
    lessons = collect(Teacher(look, "one"), unboxed, side=256)
    assert len(lessons.pictures) == 5
    assert look.looks == []

    assert len(teach(lessons, folder.parent / "cache")) == 2


def test_a_detector_that_is_sure_of_no_crop_is_refused(folder: Path) -> None:
    look = Answering([(BOX, 0.4)], [])
    with pytest.raises(AnnotationError, match=r"sure of no face in .*pictures; give it other"):
        taught(folder, look, each_a_face=True)


def test_large_pictures_are_kept_no_larger_than_training_windows_need(folder: Path) -> None:
    cv2.imwrite(str(folder / "1.png"), np.full((600, 1200, 3), 80, np.uint8))
    look = Answering([(BOX, 0.9)], [(MIRRORED, 0.5)])
    large, *_ = taught(folder, look)
    assert large.pixels.shape == (256, 512, 3)
    np.testing.assert_allclose(large.boxes, [[64, 128, 192, 256]])


def test_pictures_for_validation_are_not_looked_at(folder: Path) -> None:
    (folder / "3.png").rename(folder / "20.png")
    look = Answering([], [])

    assert len(taught(folder, look)) == 2
    assert look.looks == [2, 2]


def test_what_is_no_file_is_passed_over(folder: Path) -> None:
    (folder / "folder.png").mkdir()
    (folder / "broken.jpg").symlink_to(folder / "nowhere")
    look = Answering([], [])
    assert len(taught(folder, look)) == 3


def test_what_is_hidden_is_passed_over(folder: Path) -> None:
    (folder / ".thumbnails").mkdir()
    for hidden in (".thumbnails/1.png", "._1.png"):
        shutil.copy(folder / "1.png", folder / hidden)
    look = Answering([], [])
    assert len(taught(folder, look)) == 3


def test_what_cannot_be_read_is_told(folder: Path) -> None:
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8 no picture")
    look = Answering([], [])
    told: list[str] = []
    taught(folder, look, left_out=told.append)
    assert told == [str(folder / "damaged.jpg")]


def test_what_is_tuned_or_reported_on_is_not_trained_on(folder: Path) -> None:
    """Under whatever name it lies among the pictures without boxes."""
    look = Answering([(BOX, 0.9)], [(MIRRORED, 0.9)])
    boxed = shutil.copy(folder / "2.png", folder.parent / "00010.png")
    kept = kept_of([Annotation(Path(boxed), np.zeros((0, 4), np.float32), ())])

    with pytest.raises(AnnotationError, match=r"pictures/2\.png is one of the boxed pictures"):
        taught(folder, look, kept=kept)
    assert look.looks == []
    # Nothing is learned from pictures of such numbers, whatever they show.
    (folder / "2.png").rename(folder / "20.png")
    assert len(taught(folder, look, kept=kept)) == 2


def test_what_is_nearly_tuned_or_reported_on_is_left_out(folder: Path) -> None:
    look = Answering([(BOX, 0.9)], [(MIRRORED, 0.9)])
    boxed = folder.parent / "00010.png"
    cv2.imwrite(str(boxed), drawing(7))
    cv2.imwrite(str(folder / "4.jpg"), cv2.resize(drawing(7), (130, 180)))
    cv2.imwrite(str(folder / "6.jpg"), drawing(8))
    kept = kept_of([Annotation(boxed, np.zeros((0, 4), np.float32), ())])

    lessons = collect(Teacher(look, "one"), [Unboxed(folder)], side=256, kept=kept)

    samples = teach(lessons, folder.parent / "cache")
    assert [sample.pixels.shape[:2] for sample in samples] == [(64, 128)] * 3 + [(60, 60)]
    assert lessons.copies == 1


def test_a_crop_counts_as_the_picture_that_it_was_cut_from(folder: Path) -> None:
    boxed = folder.parent / "boxed"
    for name in ("00001.png", "00005.png", "00010.png", "00023.png"):
        save(boxed / name, (20, 20, 60, 60), (120, 20, 160, 60))
        Image.open(boxed / name).rotate(int(name[:5])).save(boxed / name)  # each has other bytes
    crops = folder.parent / "crops"
    assert write_crops(boxed, crops, RedFinder()).crops == 8
    tuning = Annotation(boxed / "00005.png", np.zeros((0, 4), np.float32), ())

    lessons = of_folders(crops, kept=kept_of([tuning]))

    assert (len(lessons.pictures), lessons.copies, lessons.judged) == (4, 2, 2)
    shutil.rmtree(boxed)  # what the crops were cut from is known by its number alone
    assert (len(of_folders(crops).pictures), of_folders(crops).judged) == (6, 2)


def of_folders(*folders: Path, **others: Any) -> Lessons:
    unboxed = [Unboxed(each) for each in folders]
    return collect(Teacher(Answering([], []), "one"), unboxed, side=256, **others)


def test_what_is_left_out_of_a_folder_is_counted(folder: Path) -> None:
    for name in ("10.png", "20.png"):
        shutil.copy(folder / "1.png", folder / name)
    lessons = of_folders(folder, shutil.copytree(folder, folder.parent / "again"))
    assert (len(lessons.pictures), lessons.judged, lessons.copies) == (6, 4, 0)


def test_a_folder_of_which_nothing_is_learned_is_refused_beside_a_full_one(folder: Path) -> None:
    other = folder.parent / "other"
    other.mkdir()
    with pytest.raises(AnnotationError, match=r"no readable picture in .*other; give another"):
        of_folders(folder, other)

    boxed = folder.parent / "00010.png"
    cv2.imwrite(str(boxed), drawing(7))
    kept = kept_of([Annotation(boxed, np.zeros((0, 4), np.float32), ())])
    cv2.imwrite(str(other / "1.jpg"), cv2.resize(drawing(7), (130, 180)))
    for name in ("10.png", "20.png"):
        shutil.copy(folder / "1.png", other / name)
    (other / "2.jpg").write_bytes(b"no picture")
    with pytest.raises(AnnotationError) as refused:
        of_folders(folder, other, kept=kept)
    said = str(refused.value)
    assert said.startswith(f"There is no picture to learn from in {other}: ")
    for reason in ("1 are nearly ones", "2 are kept for judging", "1 cannot be read; give another"):
        assert reason in said


def test_a_teacher_that_computes_in_another_precision_is_another(
    folder: Path, tmp_path: Path
) -> None:
    network = DetectorNetwork(16)
    exact, coarse = (
        of_network(network, "one", 96, precision) for precision in ("float32", "bfloat16")
    )
    detector = SavedModelDetector.load(write_first_stage(tmp_path / "stage"))
    before = of_detector(detector)
    detector.precision = "int8"
    keys = [
        collect(teacher, [Unboxed(folder)], side=256).key
        for teacher in (exact, coarse, before, of_detector(detector))
    ]
    assert len(set(keys)) == 4


def test_nothing_is_looked_at_twice_unless_something_changed(folder: Path) -> None:
    look = Answering([(BOX, 0.9)], [(MIRRORED, 0.9)])
    first = taught(folder, look)

    again = taught(folder, look)
    assert len(look.looks) == 2
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)

    cv2.imwrite(str(folder / "1.png"), np.full((64, 128, 3), 200, np.uint8))
    taught(folder, look)
    assert len(look.looks) == 4


def test_a_real_network_looks_at_pictures_of_all_shapes(folder: Path) -> None:
    cv2.imwrite(str(folder / "4.png"), np.full((300, 70, 3), 90, np.uint8))
    network = DetectorNetwork(16)
    for _, score, _, _ in network.heads:
        score.bias.assign(tf.fill([1], 0.5))  # an untrained network that sees faces everywhere

    teacher = of_network(network, "one", 96, "float32")

    for sample in taught(folder, teacher.look):
        height, width = sample.pixels.shape[:2]
        assert len(sample.boxes) > 0
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= np.array([width, height] * 2) + 1e-3).all()


def test_any_detector_may_say_where_faces_are(folder: Path, tmp_path: Path) -> None:
    pixels = np.zeros((64, 128, 3), np.uint8)
    pixels[20:40, 12:32] = 255
    cv2.imwrite(str(folder / "4.png"), pixels)
    teacher = load_teacher(write_first_stage(tmp_path / "stage"))

    *others, found = taught(folder, teacher.look)

    assert [len(sample.boxes) for sample in others] == [0, 0, 0]
    # It boxes too far to the right, in the mirror too: neither look seconds the other.
    np.testing.assert_allclose(found.boxes, [[19, 20, 39, 40], [5, 20, 25, 40]], atol=0.1)
    assert found.kinds.tolist() == [-1, -1]


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no readable picture"):
        taught(tmp_path / "nothing", Answering([], []))
