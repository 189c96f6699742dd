"""A second look at what a detector proposes, on a tiny network and drawn pictures."""

from __future__ import annotations

import csv
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import core.train.refiner as refiner_training
from core.evaluate_detector import evaluate_boxed
from core.models import ModelError, tensorflow_runtime
from core.models.detector import GREY, SavedModelDetector
from core.models.tensorflow_runtime import tf
from core.train import refiner
from core.train import session as session_module
from core.train.detector_network import FIRST_LAYERS, DetectorNetwork
from core.train.detector_weights import learned_by, write_weights
from core.train.parts import contents_of, split
from core.train.reached import RefinerReached
from core.train.refiner import RefinerTraining, train
from core.train.refiner_choice import precision_of_both
from core.train.refiner_network import (
    CONTEXT,
    SIDE,
    Agreement,
    FirstStage,
    RefinerNetwork,
    agreed,
    cut_out,
    load_first_stage,
    moved,
    proposals,
    second_look,
    squares_around,
)
from core.train.session import TrainingError, TrainingStep
from core.train.teacher import Unboxed
from core.voc import AnnotationError, read_folder
from tests.core.train.refiner_drawings import drawn, write_first_stage, write_pictures
from tests.core.train.trainings import assert_same_training

TINY = RefinerTraining(
    epochs=4,
    batch=4,
    places=6,
    views=2.0,
    mosaic=0.0,
    width=16,
    rate=4e-3,
    warm_up=4,
    average=0.9,
    tune_every=2,
    precision="float32",
    threads=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-five drawn pictures: of 5 and 25 decisions are taken, 10 and 20 are left alone."""
    return write_pictures(tmp_path_factory.mktemp("pictures"), 25)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_first_stage(tmp_path_factory.mktemp("first") / "stage")


@pytest.fixture(scope="module")
def finished(folder: Path, first: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("finished")
    train(folder, first, out, TINY)
    return out


def test_it_learns_which_proposals_are_faces_and_where_they_are(
    finished: Path, first: Path, folder: Path
) -> None:
    reached = RefinerReached.read(finished)
    assert reached is not None
    assert reached.tuning_ap50 > reached.first_stage_tuning_ap50 + 0.2
    with (finished / "curve.csv").open(newline="") as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]
    both = SavedModelDetector.load(finished / "familiar-face")
    as_it_runs = SavedModelDetector.load(finished / "familiar-face", precision="int8")
    validation = split(read_folder(folder)).validation
    figures, _ = evaluate_boxed(validation, as_it_runs)
    assert reached.validation_ap50 == pytest.approx(figures.average_precision)
    assert reached.validation_pictures == 2
    parts = split(read_folder(folder))
    assert (reached.training_pictures, reached.tuning_pictures) == (21, 2)
    assert reached.training_boxes == sum(len(each.boxes) for each in parts.training) > 0
    assert reached.tuning_boxes == sum(len(each.boxes) for each in parts.tuning) > 0
    assert reached.validation_boxes == sum(len(each.boxes) for each in parts.validation) > 0
    assert both.threshold == pytest.approx(reached.threshold, abs=1e-4)
    assert both.longest == 96

    before, after = [], []
    for seed in range(100, 108):
        pixels, box = drawn(np.random.default_rng(seed))
        for detector, overlaps in ((SavedModelDetector.load(first), before), (both, after)):
            (faces,) = detector.detect([pixels])
            overlaps.append(_overlap(faces[0].box, box))
    assert np.mean(np.array(after) > 0.5) > 0.8
    assert np.mean(after) > np.mean(before) + 0.15


def test_a_finished_training_that_is_gone_on_with_stays_as_it_is(
    finished: Path, first: Path, folder: Path
) -> None:
    files = sorted(path for path in finished.rglob("*") if path.is_file())
    before = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    reached = train(folder, first, finished, TINY, resume=True)

    assert reached == RefinerReached.read(finished)
    files = sorted(path for path in finished.rglob("*") if path.is_file())
    assert [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def _overlap(a, b) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)]
    return shared / (sum(areas) - shared)


def test_the_finished_detector_says_the_same_of_a_picture_alone_and_among_others(
    finished: Path,
) -> None:
    detector = SavedModelDetector.load(finished / "familiar-face")
    pictures = [drawn(np.random.default_rng(seed))[0] for seed in range(3)]
    pictures.insert(1, np.full_like(pictures[0], 60))

    together = detector.detect(pictures)

    assert not together[1]
    for picture, faces in zip(pictures, together, strict=True):
        (alone,) = detector.detect([picture])
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            assert one.score == pytest.approx(other.score, abs=1e-4)
            np.testing.assert_allclose(one.box, other.box, atol=0.01)


def test_a_picture_in_which_nothing_is_proposed_has_no_faces(finished: Path) -> None:
    detector = SavedModelDetector.load(finished / "familiar-face")

    assert detector.detect([np.zeros((50, 80, 3), np.uint8)]) == [()]


KILLED_IN_THE_SECOND_EPOCH = """
import os, signal, sys
from pathlib import Path
import core.train.refiner as refiner_training
from core.train.refiner import RefinerTraining, train

def kill(progress):
    if (progress.epoch, progress.step) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)

folder, first, out = (Path(each) for each in sys.argv[1:4])
train(folder, first, out, eval(sys.argv[4]), progress=kill)
"""


def test_a_killed_training_goes_on_to_the_same_weights(
    folder: Path, first: Path, finished: Path, tmp_path: Path
) -> None:
    given = [str(folder), str(first), str(tmp_path), repr(TINY)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_SECOND_EPOCH, *given],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL

    after: list[TrainingStep] = []
    train(folder, first, tmp_path, TINY, resume=True, progress=after.append)

    assert after[0].epoch == 2
    expected = load_file(finished / "refiner.safetensors")
    found = load_file(tmp_path / "refiner.safetensors")
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_a_training_stopped_within_an_epoch_goes_on_there_to_the_same_weights(
    folder: Path, first: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(progress: TrainingStep) -> None:
        if (progress.epoch, progress.step) == (2, 3):
            raise KeyboardInterrupt

    with monkeypatch.context() as now:
        now.setattr(session_module, "SECONDS_UNTIL_KEPT", 0.0)
        with pytest.raises(KeyboardInterrupt):
            train(folder, first, tmp_path, TINY, progress=stop)

    after: list[TrainingStep] = []
    train(folder, first, tmp_path, TINY, resume=True, progress=after.append)

    assert (after[0].epoch, after[0].step) == (2, 4)
    assert_same_training(tmp_path, finished, "refiner.safetensors")


def test_weights_that_were_not_written_before_a_kill_are_written_at_the_end(
    folder: Path, first: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "familiar-face")
    (out / "refiner.safetensors").unlink()
    train(folder, first, out, TINY, resume=True)
    weights = (finished / "refiner.safetensors").read_bytes()
    assert (out / "refiner.safetensors").read_bytes() == weights


def test_weights_remember_what_they_learned_and_are_refused_where_that_is_kept(
    folder: Path, first: Path, finished: Path, tmp_path: Path
) -> None:
    start = finished / "refiner.safetensors"
    assert learned_by(start) == contents_of(split(read_folder(folder)).training)
    other = shutil.copytree(folder, tmp_path / "other")
    for suffix in (".png", ".xml"):
        (other / f"001{suffix}").rename(other / f"030{suffix}")
    with pytest.raises(AnnotationError, match=r"1 of the pictures .*030\.png first"):
        train(other, first, tmp_path / "out", TINY, start=start, progress=pytest.fail)


@pytest.mark.parametrize("name", ["detector.safetensors", "refiner.safetensors"])
def test_a_first_stage_that_learned_what_is_kept_is_refused(
    folder: Path, tmp_path: Path, name: str
) -> None:
    first, weights = write_first_stage(tmp_path / "familiar-face"), tmp_path / name
    kept = contents_of(split(read_folder(folder)).validation[:1])
    write_weights(weights, DetectorNetwork(16), 16, kept)
    with pytest.raises(AnnotationError, match=rf"{name} were trained on 1 of the .*010\.png"):
        train(folder, first, tmp_path / "out", TINY, progress=pytest.fail)
    weights.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=rf"{name} is damaged, which says what .* has learned"):
        train(folder, first, tmp_path / "out", TINY, progress=pytest.fail)


def test_what_a_first_stage_learned_is_remembered(folder: Path, tmp_path: Path) -> None:
    first = write_first_stage(tmp_path / "familiar-face")
    elsewhere = "ab" * 32
    write_weights(tmp_path / "detector.safetensors", DetectorNetwork(16), 16, [elsewhere])
    train(folder, first, tmp_path / "out", replace(TINY, epochs=1))
    learned = contents_of(split(read_folder(folder)).training) | {elsewhere}
    assert learned_by(tmp_path / "out" / "refiner.safetensors") == learned


@pytest.mark.parametrize("change", [{}, {"batch": 64}, {"rate": 1e-4}])
def test_whether_there_is_anything_to_train_is_known_before_pictures_are_boxed(
    folder: Path,
    first: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
) -> None:
    pictures = Path(shutil.copytree(folder, tmp_path / "unboxed"))
    for kept in split(read_folder(pictures)).tuning:
        kept.picture.unlink()
    options, out = replace(TINY, epochs=1), tmp_path / "out"
    reached = train(folder, first, out, options, unboxed=[Unboxed(pictures)])
    (out / "taught.safetensors").unlink()
    monkeypatch.setattr(refiner, "teach", lambda *_: pytest.fail("pictures were boxed"))

    def again() -> dict[str, float | int | None]:
        changed = replace(options, **change)
        return train(folder, first, out, changed, unboxed=[Unboxed(pictures)], resume=True)

    if change:
        with pytest.raises(TrainingError, match=r"fewer than a batch|with other options"):
            again()
    else:
        assert again() == reached


def test_before_and_with_it_are_measured_on_the_same_pictures(
    folder: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    _, empty = split(read_folder(folder)).tuning
    (pictures / f"{empty.picture.stem}.xml").write_text("<annotation></annotation>")
    measured: list[list[int]] = []

    def note(looked, agreement):
        measured.append([len(each.truths) for each in looked])
        return precision_of_both(looked, agreement)

    monkeypatch.setattr(refiner, "precision_of_both", note)
    train(pictures, first, tmp_path / "out", replace(TINY, epochs=1))
    assert measured == [[1]]


@pytest.mark.parametrize("change", [{"rate": 1e-4}, {"seed": 99}, {"views": 3.0}])
def test_a_checkpoint_of_other_options_is_refused_before_any_picture_is_looked_at(
    folder: Path,
    first: Path,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a picture was looked at")

    monkeypatch.setattr(refiner_training, "propose", refuse)
    with pytest.raises(TrainingError, match="other options or other pictures"):
        train(folder, first, finished, replace(TINY, **change), resume=True)


def test_a_finished_training_is_not_replaced(folder: Path, first: Path, finished: Path) -> None:
    before = (finished / "refiner.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a finished training; choose another folder"):
        train(folder, first, finished, TINY)
    assert (finished / "refiner.safetensors").read_bytes() == before


def test_what_was_proposed_in_other_pictures_is_not_taken_again(
    folder: Path, first: Path, finished: Path, tmp_path: Path
) -> None:
    for out in ("one", "other"):
        (tmp_path / out).mkdir()
        shutil.copy(finished / "proposed.safetensors", tmp_path / out)
    changed = Path(shutil.copytree(folder, tmp_path / "changed"))
    for picture in changed.glob("*.png"):
        cv2.imwrite(str(picture), 255 - cv2.imread(str(picture)))
    train(changed, first, tmp_path / "one", replace(TINY, epochs=1))
    train(folder, first, tmp_path / "other", replace(TINY, epochs=1))
    kept, one, other = (
        (path / "proposed.safetensors").read_bytes()
        for path in (finished, tmp_path / "one", tmp_path / "other")
    )
    assert one != kept
    assert other == kept


def test_it_begins_with_a_detectors_backbone_and_leaves_its_first_layers(
    folder: Path, first: Path, tmp_path: Path
) -> None:
    start = tmp_path / "detector.safetensors"
    write_weights(start, DetectorNetwork(16, seed=5), 16, ["ab" * 32])
    options = replace(TINY, epochs=1)
    pictures = Path(shutil.copytree(folder, tmp_path / "unboxed"))
    unboxed = [Unboxed(pictures)]
    with pytest.raises(AnnotationError, match="is one of the boxed pictures"):
        train(folder, first, tmp_path, options, start=start, unboxed=unboxed)
    for kept in split(read_folder(pictures)).tuning:
        kept.picture.unlink()

    train(folder, first, tmp_path, options, start=start, unboxed=unboxed)

    began, ended = load_file(start), load_file(tmp_path / "refiner.safetensors")
    for name in set(began) & set(ended):
        same = np.allclose(began[name], ended[name], rtol=1e-5)
        kept = name.split(".")[0] in FIRST_LAYERS and not name.endswith(("mean", "variance"))
        assert same == kept, name
    # Whatever the second stage begins with has boxed them, not the first stage.
    assert len(load_file(tmp_path / "taught.safetensors")["counts"]) == 21


def test_it_begins_with_a_second_stage_and_leaves_out_what_has_another_shape(
    folder: Path, first: Path, finished: Path, tmp_path: Path
) -> None:
    began = load_file(finished / "refiner.safetensors")
    began["whole.kernel"] = began["whole.kernel"][:, :, :-1]
    start = tmp_path / "start.safetensors"
    save_file(began, start, {"width": "16"})

    train(folder, first, tmp_path, replace(TINY, epochs=1), start=start)

    ended = load_file(tmp_path / "refiner.safetensors")
    for name in began:
        if name.split(".")[0] in FIRST_LAYERS and not name.endswith(("mean", "variance")):
            np.testing.assert_allclose(began[name], ended[name], rtol=1e-5)
    assert ended["whole.kernel"].shape[2] == began["whole.kernel"].shape[2] + 1
    with pytest.raises(TrainingError, match="of width 16, the second stage of width 32"):
        train(folder, first, tmp_path / "wider", replace(TINY, width=32), start=start)


def test_the_first_stage_boxes_what_nobody_boxed(
    folder: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def collect(teacher, *_, **__):
        asked.append(teacher.key)
        raise AnnotationError("Enough is known.")

    monkeypatch.setattr(refiner, "collect", collect)
    with pytest.raises(AnnotationError, match="Enough"):
        train(folder, first, tmp_path, TINY, unboxed=[Unboxed(folder)])

    assert asked == [f"{SavedModelDetector.load(first).sha256} float32"]


def test_the_threshold_is_chosen_on_windows_of_the_tuning_pictures(
    folder: Path, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(annotations, _):
        asked.extend(annotation.number for annotation in annotations)
        raise AnnotationError("Enough is known.")

    monkeypatch.setattr(refiner, "windows_without_faces", note)
    with pytest.raises(AnnotationError, match="Enough"):
        train(folder, first, tmp_path, TINY)
    assert asked == [5, 25]


def test_without_a_box_to_tune_by_it_is_trained_all_the_same(
    folder: Path, first: Path, tmp_path: Path
) -> None:
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    tuning = [each.picture for each in split(read_folder(folder)).tuning]
    assert tuning
    for picture in tuning:
        (pictures / picture.with_suffix(".xml").name).write_text("<annotation></annotation>")
    reached = train(pictures, first, tmp_path / "out", replace(TINY, epochs=1))
    assert reached.first_stage_tuning_ap50 is reached.tuning_ap50 is None
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_a_first_stage_takes_no_gpu_from_the_training(
    first: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[bool] = []
    monkeypatch.setattr(tensorflow_runtime, "keep_off_gpu", lambda: hidden.append(True))
    SavedModelDetector.load(first)
    assert hidden
    load_first_stage(first)
    assert hidden == [True]


def test_bad_input_is_refused_in_one_sentence(folder: Path, first: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="no detector in"):
        train(folder, tmp_path, out, TINY)
    with pytest.raises(AnnotationError, match="no Pascal VOC"):
        train(tmp_path, first, out, TINY)
    with pytest.raises(TrainingError, match=r"42 views .* fewer than a batch of 64"):
        train(folder, first, out, replace(TINY, batch=64))
    one_size = write_first_stage(tmp_path / "one-size", (96, 96))
    with pytest.raises(TrainingError, match="pictures of one size alone"):
        train(folder, one_size, out, TINY)
    one_at_a_time = write_first_stage(tmp_path / "one-at-a-time", batch=1)
    with pytest.raises(TrainingError, match="takes one picture at a time"):
        train(folder, one_at_a_time, out, TINY)
    weights = tmp_path / "weights"
    weights.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="does not hold a detector's weights"):
        train(folder, first, out, TINY, start=weights)
    write_weights(weights, DetectorNetwork(32), 32, ["ab" * 32])
    with pytest.raises(TrainingError, match="is of width 32, the second stage of width 16"):
        train(folder, first, out, TINY, start=weights)


class TestCutOut:
    """Squares around boxes, as the network looks at them."""

    def test_every_pixel_shows_what_is_there(self) -> None:
        rows, columns = np.mgrid[0:80, 0:200].astype(np.float32)
        ramp = np.stack([columns, rows, np.full_like(rows, 7)], -1)
        box = [60.0, 20.0, 80.0, 52.0]  # 20 wide and 32 high: the square is 64 from (38, 4)

        (cut,) = cut_out(tf.constant(ramp[None]), squares_around(tf.constant([box])), [0]).numpy()

        assert cut.shape == (SIDE, SIDE, 3)
        np.testing.assert_allclose(cut[0, :, 0], 38 + np.arange(64), atol=1e-3)
        np.testing.assert_allclose(cut[:, 0, 1], 4 + np.arange(64), atol=1e-3)
        np.testing.assert_allclose(cut[..., 2], 7, atol=1e-3)

    def test_outside_of_the_picture_is_grey(self) -> None:
        white = np.full((1, 40, 40, 3), 255, np.uint8)

        (cut,) = cut_out(
            tf.constant(white), squares_around(tf.constant([[0.0, 0.0, 32.0, 32.0]])), [0]
        ).numpy()

        assert (cut[:15] == GREY).all()
        assert (cut[:, :15] == GREY).all()
        assert (cut[17:55, 17:55] == 255).all()
        assert (cut[57:] == GREY).all()

    def test_it_is_cut_from_its_own_picture(self) -> None:
        pictures = np.stack([np.full((50, 50, 3), value, np.uint8) for value in (10, 20, 30)])
        squares = squares_around(tf.constant([[20.0, 20.0, 30.0, 30.0]] * 2))

        cut = cut_out(tf.constant(pictures), squares, [2, 0]).numpy()

        assert cut[0].max() == cut[0].min() == 30
        assert cut[1].max() == cut[1].min() == 10

    def test_the_square_is_around_the_longer_side(self) -> None:
        found = squares_around(tf.constant([[0.0, 10.0, 20.0, 50.0]])).numpy()

        assert found.tolist() == [[10, 30, CONTEXT * 40]]


def test_boxes_are_moved_by_shares_of_their_own_sides() -> None:
    box = tf.constant([[10.0, 20.0, 30.0, 60.0]])

    assert moved(tf.zeros([1, 4]), box).numpy().tolist() == box.numpy().tolist()
    shifted = moved(tf.constant([[0.5, -0.25, 0.0, 0.0]]), box).numpy()
    assert shifted.tolist() == [[20, 10, 40, 50]]
    larger = moved(tf.constant([[0.0, 0.0, np.log(2.0), np.log(0.5)]]), box).numpy()
    np.testing.assert_allclose(larger, [[0, 30, 40, 50]], atol=1e-4)


def test_what_is_not_proposed_is_not_looked_at() -> None:
    looks = []

    def network(squares, boxes, **_):
        looks.append(squares.numpy())
        # One width to the right.
        return tf.range(1.0, len(looks[-1]) + 1), tf.constant([[1.0, 0, 0, 0]] * len(looks[-1]))

    pictures = tf.constant(np.stack([np.full((40, 40, 3), v, np.uint8) for v in (50, 90)]))
    boxes = np.zeros((2, 3, 4), np.float32)
    boxes[0, 0], boxes[1] = [10, 12, 20, 22], [[4, 6, 30, 34], [15, 15, 25, 25], [1, 1, 9, 9]]
    scores = np.array([[0.5, 0, 0], [0.4, 0.3, 0.03]], np.float32)

    places, logits = second_look(network, pictures, tf.constant(boxes), tf.constant(scores))

    assert [square[32, 32, 0] for square in looks[0]] == [50, 90, 90]
    assert logits.numpy()[0, 0] == 1
    assert logits.numpy()[1, :2].tolist() == [2, 3]
    assert logits.numpy()[1, 2] == pytest.approx(np.log(0.03 / 0.97), abs=1e-3)
    np.testing.assert_allclose(places.numpy()[0, 0], [20, 12, 30, 22])
    np.testing.assert_allclose(places.numpy()[1, :2], [[30, 6, 56, 34], [25, 15, 35, 25]])
    np.testing.assert_allclose(places.numpy()[1, 2], boxes[1, 2])
    places, logits = second_look(
        RefinerNetwork(16), pictures, tf.constant(boxes), tf.zeros_like(scores)
    )
    np.testing.assert_allclose(places.numpy(), boxes)


def test_both_stages_agree_by_their_shares() -> None:
    proposed, places = tf.zeros([1, 3, 4]), tf.fill([1, 3, 4], 8.0)
    first = (proposed, tf.constant([[0.5, 0.9, 0.0]]))
    second = (places, tf.constant([[2.0, -1.0, 9.0]]))

    def said(share: float, way: float = 1.0):
        logits, boxes = agreed(first, second, Agreement(share, way))
        return logits.numpy()[0], boxes.numpy()[0]

    nine = np.log(9.0)
    np.testing.assert_allclose(said(1.0)[0][:2], [0, nine], atol=1e-4)
    np.testing.assert_allclose(said(0.0)[0][:2], [2, -1], atol=1e-4)
    np.testing.assert_allclose(said(0.25)[0][:2], [1.5, nine / 4 - 0.75], atol=1e-4)
    assert said(0.25)[0][2] < -20
    assert said(0.25)[1].tolist() == [[8.0] * 4] * 3
    assert said(0.25, 0.25)[1].tolist() == [[2.0] * 4] * 3


def test_proposals_of_other_classes_and_without_a_score_are_left_out(first: Path) -> None:
    detector = SavedModelDetector.load(first)
    pixels = np.zeros((1, 64, 96, 3), np.uint8)
    pixels[0, 20:40, 60:80] = 255

    ((boxes, scores),) = proposals(FirstStage(detector), pixels)
    np.testing.assert_allclose(boxes, [[67, 20, 87, 40]], atol=1e-3)
    np.testing.assert_allclose(scores, [0.4])

    detector.classes = (2,)
    ((boxes, scores),) = proposals(FirstStage(detector), pixels)
    assert boxes.shape == (0, 4)
    assert scores.shape == (0,)
