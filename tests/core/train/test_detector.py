"""Training of the detector, on a tiny network and drawn pictures."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file

from core.evaluate_detector import evaluate_boxed
from core.files import replacing
from core.models import tensorflow_runtime
from core.models.detector import SavedModelDetector
from core.models.tensorflow_runtime import tf
from core.train import detector
from core.train import session as session_module
from core.train.detector import (
    DetectorTraining,
    TrainingError,
    TrainingStep,
    train,
)
from core.train.detector_choice import exported_score, faces_in
from core.train.detector_data import batches
from core.train.detector_network import DetectorNetwork, Stage, cells_of, named_variables
from core.train.detector_optimiser import orthogonal
from core.train.detector_weights import learned_by, read_weights, write_weights
from core.train.parts import split
from core.train.reached import Reached
from core.train.teacher import Unboxed
from core.voc import AnnotationError, read_folder
from tests.core.train.trainings import assert_same_training

TINY = DetectorTraining(
    epochs=12,
    batch=4,
    side=64,
    longest=96,
    width=16,
    rate=5e-3,
    warm_up=2,
    plain_epochs=0,  # their losses are higher, and hide that it learns
    tune_every=12,
    precision="float32",
    threads=1,
    seed=2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty drawn pictures with a disc each: eighteen are left to learn from and one to tune."""
    made = tmp_path_factory.mktemp("faces")
    generator = np.random.default_rng(0)
    for number in range(1, 21):
        # On grounds of their own, or some would be taken for copies of others.
        ground = np.random.default_rng(number).integers(80, 101, (4, 6, 3), np.uint8)
        pixels = cv2.resize(ground, (96, 64))
        x, y = generator.integers(20, 70), generator.integers(20, 44)
        cv2.circle(pixels, (int(x), int(y)), 14, (200, 220, 250), -1)
        cv2.imwrite(str(made / f"{number:03d}.png"), pixels)
        (made / f"{number:03d}.xml").write_text(
            "<annotation><object><name>face</name><bndbox>"
            f"<xmin>{x - 14}</xmin><ymin>{y - 14}</ymin><xmax>{x + 15}</xmax><ymax>{y + 15}</ymax>"
            "</bndbox></object></annotation>"
        )
    return made


@pytest.fixture(scope="module")
def told() -> list[TrainingStep]:
    """What `finished` was told while it was trained."""
    return []


@pytest.fixture(scope="module")
def finished(
    folder: Path, told: list[TrainingStep], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("finished")
    train(folder, out, TINY, progress=told.append)
    return out


def test_it_writes_weights_a_curve_figures_and_a_detector(finished: Path, folder: Path) -> None:
    with (finished / "curve.csv").open(newline="") as file:
        curve = list(csv.DictReader(file))
    assert [row["epoch"] for row in curve] == [str(epoch) for epoch in range(1, 13)]
    losses = [float(row["loss"]) for row in curve]
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])
    reached = Reached.read(finished)
    assert reached is not None
    assert reached.training_pictures == 17
    assert reached.validation_pictures == 2
    parts = split(read_folder(folder))
    assert reached.training_boxes == sum(len(each.boxes) for each in parts.training)
    assert reached.tuning_pictures == len(parts.tuning)
    assert reached.tuning_boxes == sum(len(each.boxes) for each in parts.tuning) > 0
    assert reached.validation_boxes == sum(len(each.boxes) for each in parts.validation) > 0
    assert reached.taught_pictures == 0
    loaded = SavedModelDetector.load(finished / "familiar-face")
    as_it_runs = SavedModelDetector.load(finished / "familiar-face", precision="int8")
    figures, _ = evaluate_boxed(split(read_folder(folder)).validation, as_it_runs)
    assert reached.validation_ap50 == pytest.approx(figures.average_precision)
    assert loaded.threshold == pytest.approx(reached.threshold, abs=1e-4)
    assert not list(finished.glob("*.partial"))


def test_the_exported_detector_sees_what_the_network_sees(finished: Path) -> None:
    network = read_weights(finished / "detector.safetensors")
    pixels = np.random.default_rng(1).integers(0, 256, (72, 96, 3), np.uint8)
    expected = faces_in(network, pixels)

    (found,) = SavedModelDetector.load(finished / "familiar-face").detect([pixels])

    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(
        [f.score for f in found[:5]], [f.score for f in expected[:5]], atol=2e-3
    )
    np.testing.assert_allclose(found[0].box, expected[0].box, atol=0.5)


def test_it_exports_int8_as_well(finished: Path, folder: Path) -> None:
    pixels = cv2.imread(str(folder / "005.png"))
    exact, coarse = (
        SavedModelDetector.load(finished / "familiar-face", precision=precision).detect([pixels])
        for precision in ("float32", "int8")
    )
    assert coarse != exact
    assert coarse[0][0].score == pytest.approx(exact[0][0].score, abs=0.05)


@pytest.mark.usefixtures("finished")
def test_progress_is_told_after_every_step(told: list[TrainingStep]) -> None:
    steps = [(p.epoch, p.step) for p in told]
    assert steps == [(epoch, step) for epoch in range(1, 13) for step in range(1, 5)]
    assert {(p.epochs, p.steps) for p in told} == {(12, 4)}


KILLED_IN_THE_SECOND_EPOCH = """
import os, signal, sys
from pathlib import Path
from core.train.detector import DetectorTraining, train

def kill(progress):
    if (progress.epoch, progress.step) == (2, 2):
        os.kill(os.getpid(), signal.SIGKILL)

train(Path(sys.argv[1]), Path(sys.argv[2]), eval(sys.argv[3]), progress=kill)
"""


def test_a_killed_training_goes_on_to_the_same_weights(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_SECOND_EPOCH, str(folder), str(tmp_path), repr(TINY)],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    with replacing(tmp_path / "checkpoint.safetensors") as half:
        half.write_bytes((tmp_path / "checkpoint.safetensors").read_bytes())
    half.write_bytes(b"half a checkpoint")

    after: list[TrainingStep] = []
    train(folder, tmp_path, TINY, resume=True, progress=after.append)

    assert after[0].epoch == 2
    assert not half.exists()
    expected = load_file(finished / "detector.safetensors")
    found = load_file(tmp_path / "detector.safetensors")
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        np.testing.assert_array_equal(found[name], weights, err_msg=name)


def test_a_training_stopped_within_an_epoch_goes_on_there_to_the_same_weights(
    folder: Path,
    finished: Path,
    told: list[TrainingStep],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before: list[TrainingStep] = []

    def stop(progress: TrainingStep) -> None:
        before.append(progress)
        if (progress.epoch, progress.step) == (2, 3):
            raise KeyboardInterrupt

    with monkeypatch.context() as now:
        now.setattr(session_module, "SECONDS_UNTIL_KEPT", 0.0)
        with pytest.raises(KeyboardInterrupt):
            train(folder, tmp_path, TINY, progress=stop)

    after: list[TrainingStep] = []
    train(folder, tmp_path, TINY, resume=True, progress=after.append)

    assert before + after == told
    assert_same_training(tmp_path, finished, "detector.safetensors")


def test_another_seed_starts_from_other_weights() -> None:
    one, again, other = (named_variables(DetectorNetwork(16, seed)) for seed in (0, 0, 1))

    kernels = [name for name in one if name.endswith("kernel")]
    assert all((one[n].numpy() == again[n].numpy()).all() for n in kernels)
    assert all((one[n].numpy() != other[n].numpy()).any() for n in kernels)


def test_a_checkpoint_of_other_options_is_refused(folder: Path, finished: Path) -> None:
    with pytest.raises(TrainingError, match="other options or other pictures"):
        train(folder, finished, replace(TINY, rate=1e-4), resume=True)


def test_a_finished_training_that_is_gone_on_with_stays_as_it_is(
    folder: Path, finished: Path
) -> None:
    """What was trained on top of its detector knows that by its files."""
    files = sorted(path for path in finished.rglob("*") if path.is_file())
    before = [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files]

    reached = train(folder, finished, TINY, resume=True)

    assert reached == Reached.read(finished)
    files = sorted(path for path in finished.rglob("*") if path.is_file())
    assert [(path, path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


@pytest.mark.parametrize("gone", ["familiar-face", "metrics.json"])
def test_a_training_killed_before_its_end_was_written_writes_it(
    gone: str, folder: Path, finished: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    if gone == "metrics.json":
        (out / gone).write_text('{"threshold": 0.5}')
    else:
        shutil.rmtree(out / gone)
        (out / "detector.safetensors").unlink()

    reached = train(folder, out, TINY, resume=True)

    weights = (finished / "detector.safetensors").read_bytes()
    assert (out / "detector.safetensors").read_bytes() == weights
    assert reached == Reached.read(finished)
    SavedModelDetector.load(out / "familiar-face")


def test_a_training_is_not_written_over_another(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stop(progress: TrainingStep) -> None:
        if progress.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(folder, out, TINY, progress=stop)
    before = (out / "checkpoint.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="was begun; go on with it with --resume"):
        train(folder, out, TINY)
    assert (out / "checkpoint.safetensors").read_bytes() == before

    other = tmp_path / "other"
    other.mkdir()
    (other / "weights.safetensors").write_bytes(b"of an extractor")
    with pytest.raises(TrainingError, match="of another kind, or its"):
        train(folder, other, TINY, resume=True)
    assert [path.name for path in other.iterdir()] == ["weights.safetensors"]


def test_a_finished_training_is_not_replaced(folder: Path, finished: Path) -> None:
    before = (finished / "detector.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a finished training; choose another folder"):
        train(folder, finished, TINY)
    assert (finished / "detector.safetensors").read_bytes() == before


def test_a_checkpoint_of_other_pictures_is_refused(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    changed = Path(shutil.copytree(folder, tmp_path / "changed"))
    cv2.imwrite(str(changed / "001.png"), 255 - cv2.imread(str(changed / "001.png")))
    with pytest.raises(TrainingError, match="other options or other pictures"):
        train(changed, finished, TINY, resume=True)


def test_a_damaged_picture_is_named_before_anything_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    for number in ("001", "005", "010"):
        damaged = Path(shutil.copytree(folder, tmp_path / number)) / f"{number}.png"
        damaged.write_bytes(damaged.read_bytes()[:150])
        with pytest.raises(AnnotationError, match=rf"{number}\.png: damaged\."):
            train(damaged.parent, tmp_path / "out", TINY, progress=pytest.fail)


def test_a_training_begins_with_an_earlier_one_and_learns_from_what_that_one_sees(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    options = replace(TINY, epochs=1, rate=1e-9, plain_epochs=0)
    unboxed = tmp_path / "unboxed"
    unboxed.mkdir()
    for picture in sorted(folder.glob("00[!5].png"))[:6]:
        (unboxed / picture.name).write_bytes(picture.read_bytes())
    start = finished / "detector.safetensors"

    train(folder, tmp_path / "out", options, start=start, unboxed=[Unboxed(unboxed)])

    assert len(load_file(tmp_path / "out" / "taught.safetensors")["counts"]) == 6
    before, after = load_file(start), load_file(tmp_path / "out" / "detector.safetensors")
    for name, weights in before.items():
        if not name.endswith(("mean", "variance")):
            np.testing.assert_allclose(after[name], weights, atol=1e-5, err_msg=name)


def test_the_finished_detector_is_judged_without_hiding_the_gpu_that_trained_it(
    folder: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden: list[bool] = []
    monkeypatch.setattr(tensorflow_runtime, "keep_off_gpu", lambda: hidden.append(True))
    validation = split(read_folder(folder)).validation
    score = exported_score(finished / "familiar-face", validation)
    assert score == json.loads((finished / "metrics.json").read_text())["validation_ap50"]
    assert not hidden


def test_a_share_of_the_starting_weights_is_kept(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    start = finished / "detector.safetensors"
    options = replace(TINY, epochs=1, average=0.0, rate=0.02, warm_up=1)
    ends = {}
    for share in (0.0, 0.25, 1.0):
        out = tmp_path / str(share)
        train(folder, out, replace(options, share_of_start=share), start=start)
        ends[share] = load_file(out / "detector.safetensors")
    before, after = load_file(start), ends[0.0]
    assert any(np.abs(after[name] - before[name]).max() > 0.01 for name in before)
    for name, weights in before.items():
        mixed = 0.75 * after[name] + 0.25 * weights
        np.testing.assert_allclose(ends[0.25][name], mixed, atol=1e-5, err_msg=name)
        np.testing.assert_allclose(ends[1.0][name], weights, atol=1e-6, err_msg=name)
    network = read_weights(tmp_path / "0.25" / "detector.safetensors")
    pixels = cv2.cvtColor(cv2.imread(str(folder / "005.png")), cv2.COLOR_BGR2RGB)
    (found,) = SavedModelDetector.load(tmp_path / "0.25" / "familiar-face").detect([pixels])
    assert found[0].score == pytest.approx(faces_in(network, pixels)[0].score, abs=2e-3)


def test_weights_remember_what_they_learned_and_those_before_them(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    def hashes(pictures: Iterable[Path]) -> set[str]:
        return {hashlib.sha256(picture.read_bytes()).hexdigest() for picture in pictures}

    everything = sorted(folder.glob("*.png"))
    kept = {folder / f"{name}.png" for name in ("005", "010", "020")}
    learned = hashes(set(everything) - kept)
    start = finished / "detector.safetensors"
    assert learned_by(start) == learned

    # What the first training learned is reported on in another folder.
    other = tmp_path / "other"
    other.mkdir()
    for place, number in ((folder / "001.png", "010"), (folder / "002.png", "001")):
        for suffix in (".png", ".xml"):
            shutil.copy(place.with_suffix(suffix), (other / number).with_suffix(suffix))
    with pytest.raises(AnnotationError) as refused:
        train(other, tmp_path / "out", TINY, start=start, progress=pytest.fail)
    for said in (str(start), "1 of the pictures", "010.png first", "begin with other weights"):
        assert said in str(refused.value)

    unboxed = tmp_path / "unboxed"
    unboxed.mkdir()
    cv2.imwrite(str(unboxed / "1.png"), np.random.default_rng(5).integers(0, 256, (64, 64, 3)))
    options = replace(TINY, epochs=1)
    train(folder, tmp_path / "next", options, start=start, unboxed=[Unboxed(unboxed)])
    after = learned_by(tmp_path / "next" / "detector.safetensors")
    assert after == learned | hashes([unboxed / "1.png"])
    train(folder, tmp_path / "last", options, start=tmp_path / "next" / "detector.safetensors")
    assert learned_by(tmp_path / "last" / "detector.safetensors") == after


def test_without_a_start_nothing_can_be_kept(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="can some be kept"):
        train(folder, tmp_path, replace(TINY, share_of_start=0.5))


def test_a_finished_detector_boxes_what_has_no_boxes(
    folder: Path, finished: Path, tmp_path: Path
) -> None:
    options = replace(TINY, epochs=1, strong=1.0)
    pictures = Path(shutil.copytree(folder, tmp_path / "unboxed"))
    unboxed = [Unboxed(pictures)]
    with pytest.raises(AnnotationError, match=r"005\.png is one of the boxed pictures"):
        train(folder, tmp_path, options, teacher=finished / "familiar-face", unboxed=unboxed)
    (pictures / "005.png").unlink()

    reached = train(folder, tmp_path, options, teacher=finished / "familiar-face", unboxed=unboxed)

    # By their numbers 10 and 20 are kept away from it.
    assert len(load_file(tmp_path / "taught.safetensors")["counts"]) == 17
    assert reached.taught_pictures == 17
    assert reached.unboxed_left_to_judge_on == 2


@pytest.mark.parametrize("change", [{}, {"batch": 32}, {"rate": 1e-4}])
def test_whether_there_is_anything_to_train_is_known_before_pictures_are_boxed(
    folder: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, float],
) -> None:
    pictures = Path(shutil.copytree(folder, tmp_path / "unboxed"))
    (pictures / "005.png").unlink()
    options, out = replace(TINY, epochs=1), tmp_path / "out"
    given = {"teacher": finished / "familiar-face", "unboxed": [Unboxed(pictures)], "resume": True}
    reached = train(folder, out, options, **given)
    (out / "taught.safetensors").unlink()
    monkeypatch.setattr(detector, "teach", lambda *_: pytest.fail("pictures were boxed"))

    if change:
        with pytest.raises(TrainingError, match=r"fewer than a batch|with other options"):
            train(folder, out, replace(options, **change), **given)
    else:
        assert train(folder, out, options, **given) == reached


def test_a_detector_that_has_nothing_to_box_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none are given"):
        train(folder, tmp_path, TINY, teacher=tmp_path)


def test_the_last_epochs_have_fewer_strong_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    def note(*given, strong, **further):
        asked.append(strong)
        return batches(*given, strong=strong, **further)

    monkeypatch.setattr(detector, "batches", note)
    train(folder, tmp_path, replace(TINY, epochs=2, plain_epochs=1, strong=0.8))
    assert asked == [0.8, pytest.approx(0.2)]


def test_pictures_without_boxes_need_a_detector(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="need a trained detector"):
        train(folder, tmp_path, TINY, unboxed=[Unboxed(folder)])


def test_what_is_no_detector_is_refused_as_a_start(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"nothing")
    with pytest.raises(TrainingError, match="does not hold a detector's weights"):
        train(folder, tmp_path / "out", TINY, start=tmp_path / "weights")


def test_a_start_of_another_width_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    start = tmp_path / "detector.safetensors"
    write_weights(start, DetectorNetwork(32), 32, ["ab" * 32])
    sentence = "detector.safetensors is of width 32, the detector to be trained of width 16"
    with pytest.raises(TrainingError, match=sentence):
        train(tmp_path / "nowhere", tmp_path / "out", TINY, start=start)
    assert not (tmp_path / "out").exists()


def test_without_a_box_to_tune_by_it_is_trained_all_the_same(folder: Path, tmp_path: Path) -> None:
    pictures = shutil.copytree(folder, tmp_path / "pictures")
    (pictures / "005.xml").write_text("<annotation></annotation>")
    reached = train(pictures, tmp_path / "out", replace(TINY, epochs=1, tune_every=1))
    assert (reached.tuning_ap50, reached.threshold) == (None, 0.3)
    assert reached.validation_ap50 is not None
    assert SavedModelDetector.load(tmp_path / "out" / "familiar-face").threshold == 0.3


def test_small_pictures_to_tune_by_are_seen_as_large_as_the_detector_sees_them(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []

    def note(_network, samples):
        sides.extend(max(sample.pixels.shape) for sample in samples)
        return 0.5

    monkeypatch.setattr(detector, "score", note)
    train(folder, tmp_path, replace(TINY, epochs=1, longest=128, tune_every=1))
    assert set(sides) == {128}


def test_the_threshold_is_chosen_on_windows_of_the_tuning_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def note(annotations, _):
        asked.extend(annotation.number for annotation in annotations)
        raise AnnotationError("Enough is known.")

    monkeypatch.setattr(detector, "windows_without_faces", note)
    monkeypatch.setattr(detector, "score", lambda *_: 0.5)
    with pytest.raises(AnnotationError, match="Enough"):
        train(folder, tmp_path, replace(TINY, epochs=1))
    assert asked == [5]


def test_fewer_pictures_than_a_batch_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="17 training pictures are fewer than a batch of 32"):
        train(folder, tmp_path, replace(TINY, batch=32))


@pytest.mark.parametrize("size", [(64, 64), (64, 96), (128, 32)])
def test_every_cell_of_every_map_answers(size: tuple[int, int]) -> None:
    logits, boxes = DetectorNetwork(16)(tf.zeros([2, *size, 3]))

    cells = sum((size[0] // s) * (size[1] // s) for s in (4, 8, 16, 32))
    assert logits.shape == (2, cells)
    assert boxes.shape == (2, cells, 4)
    assert (boxes.numpy()[..., 2:] > boxes.numpy()[..., :2]).all()


@pytest.mark.parametrize("folded", [False, True])
def test_a_coarse_map_may_be_enlarged_after_its_share_was_taken(folded: bool) -> None:
    generator = np.random.default_rng(3)
    stage = Stage(generator, 6 + 4, 8, 1)
    for variable in stage.variables:
        if len(variable.shape) == 1:  # as a training leaves them
            variable.assign(generator.uniform(0.3, 0.9, variable.shape))
    if folded:
        stage.split.fold()
    coarse, fine = (
        tf.constant(generator.normal(0, 1, (2, *size)).astype(np.float32))
        for size in ((3, 5, 6), (6, 10, 4))
    )
    enlarged = tf.repeat(tf.repeat(coarse, 2, axis=1), 2, axis=2)
    expected = stage(tf.concat([enlarged, fine], -1), training=False)
    assert float(tf.math.reduce_std(expected)) > 0.1
    np.testing.assert_allclose(stage.of_both(coarse, fine, training=False), expected, atol=1e-4)


def test_cells_stand_row_by_row_with_x_before_y() -> None:
    cells = cells_of(64)

    assert cells.centres.numpy()[:3].tolist() == [[2, 2], [6, 2], [10, 2]]
    assert cells.centres.numpy()[16].tolist() == [2, 6]
    assert cells.strides.numpy().tolist() == [4] * 256 + [8] * 64 + [16] * 16 + [32] * 4


@pytest.mark.parametrize("shape", [(40, 16), (16, 40), (144, 16)])
def test_steps_of_kernels_are_near_orthogonal(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)

    values = np.linalg.svd(orthogonal(tf.constant(matrix)).numpy(), compute_uv=False)

    assert values.min() > 0.3
    assert values.max() < 1.3
