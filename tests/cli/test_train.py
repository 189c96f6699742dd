"""`familiar train`: what reaches the trainings, and what is shown of them."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import core.train.detector as detector_training
import core.train.extractor as extractor_training
import core.train.refiner as refiner_training
import core.train.report as training_report
from core.models import SHIPPED, ModelError
from core.models.tensorflow_runtime import tf
from core.train import pretraining
from core.train.augment import stronger
from core.train.detector import DetectorTraining
from core.train.detector_changes import OFTEN
from core.train.extractor import TrainingProgress
from core.train.extractor_options import ExtractorTraining, of_pictures
from core.train.face_data import TrainingDataError
from core.train.origin import Origin
from core.train.pretraining import Pretraining, PretrainingProgress
from core.train.pretraining import of_pictures as of_pictures_without_labels
from core.train.reached import RefinerReached
from core.train.refiner import RefinerTraining
from core.train.report import report_pretraining
from core.train.session import TrainingError, TrainingStep
from core.train.teacher import Unboxed
from core.voc import AnnotationError
from tests.cli.commands import ended
from tests.core.fakes import drawn_gallery
from tests.core.train.test_session import begun

REACHED = RefinerReached(
    first_stage_tuning_ap50=None,
    tuning_ap50=None,
    first_stage_share=0.5,
    way_of_boxes=0.5,
    threshold=0.5,
    tuning_precision_at_threshold=None,
    tuning_recall_at_threshold=None,
    tuning_pictures_with_a_box_at_threshold=None,
    windows_without_faces=0,
    boxes_there_at_threshold=None,
    validation_ap50=None,
    training_pictures=1,
    training_boxes=1,
    taught_pictures=0,
    tuning_pictures=0,
    tuning_boxes=0,
    validation_pictures=0,
    validation_boxes=0,
    copies_left_out=0,
    unboxed_left_to_judge_on=0,
    training_views=1,
    seconds=1.0,
)


class Called:
    """Stands in for a training: keeps what it was given, shows progress, or fails."""

    def __init__(self, result: object, shown: object, failure: Exception | None = None) -> None:
        self.result, self.shown, self.failure = result, shown, failure
        self.given: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}

    def __call__(self, *given: Any, **named: Any) -> object:
        self.given, self.named = given, named
        if self.failure is not None:
            raise self.failure
        named["progress"](self.shown)
        return self.result


class Reported:
    """Stands in for the report on a finished training: keeps what it was given."""

    def __init__(self, problem: str | None = None) -> None:
        self.problem = problem
        self.given: tuple[Any, ...] = ()
        self.named: dict[str, Any] = {}

    def __call__(self, *given: Any, **named: Any) -> str | None:
        self.given, self.named = given, named
        return self.problem


@pytest.fixture(autouse=True)
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Results without `--out` go into the working directory."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))


@pytest.fixture(autouse=True)
def reported(monkeypatch: pytest.MonkeyPatch) -> Reported:
    report = Reported()
    monkeypatch.setattr(training_report, "report_detector", report)
    monkeypatch.setattr(training_report, "report_extractor", report)
    monkeypatch.setattr(training_report, "report_pretraining", report)
    return report


def test_detector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, more = tmp_path / "faces", tmp_path / "more"
    faces.mkdir()
    more.mkdir()
    shown = TrainingStep(2, 5, 10, 10, 0.25, 0.5)
    left_out = {"copies_left_out": 1234, "unboxed_left_to_judge_on": 56}
    training = Called(REACHED.model_copy(update={"validation_ap50": 0.625} | left_out), shown)
    monkeypatch.setattr(detector_training, "train", training)
    out = tmp_path / "out"
    options = ("--out", out, "--also", tmp_path / "more", "--epochs", 5, "--seed", 3, "--resume")
    further = ("--start", out / "w", "--unboxed", faces, "--crops", more, "--rate", 0.5)
    taught = ("--teacher", more, "--strong", "--kept", 0.5, "--plain-epochs", 0)
    assert ended("train", "detector", faces, *options, *further, *taught) == 0
    folders, place, how = training.given
    assert list(folders) == [faces, more]
    assert place == out
    assert how == DetectorTraining(
        epochs=5, seed=3, rate=0.5, strong=OFTEN, share_of_start=0.5, plain_epochs=0
    )
    assert training.named["start"] == out / "w"
    assert training.named["teacher"] == more
    assert training.named["unboxed"] == [Unboxed(faces), Unboxed(more, each_a_face=True)]
    assert training.named["resume"] is True
    told = capsys.readouterr()
    assert "Epoch 2 of 5, loss 0.250, AP50 0.500" in told.err
    for said in ("1,234 pictures are nearly some", "56 pictures without boxes were left out"):
        assert said in told.err
    assert "0.625" in told.out
    assert str(out / "familiar-face") in told.out


def test_a_teacher_may_be_the_shipped_detector_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As all other commands name it; a folder of that name here is that folder."""
    training = Called(REACHED, TrainingStep(2, 5, 10, 10, 0.25, 0.5))
    monkeypatch.setattr(detector_training, "train", training)
    options = ("--unboxed", tmp_path, "--teacher", "familiar-face")
    assert ended("train", "detector", tmp_path, *options) == 0
    assert training.named["teacher"] == SHIPPED / "familiar-face"
    Path("familiar-face").mkdir()
    assert ended("train", "detector", tmp_path, *options) == 0
    assert training.named["teacher"] == Path("familiar-face")


def test_refiner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, more = tmp_path / "faces", tmp_path / "more"
    faces.mkdir()
    more.mkdir()
    reached = REACHED.model_copy(update={"first_stage_tuning_ap50": 0.625, "tuning_ap50": 0.75})
    training = Called(reached, TrainingStep(2, 5, 10, 10, 0.25, 0.5))
    monkeypatch.setattr(refiner_training, "train", training)
    out = tmp_path / "out"
    options = ("--out", out, "--detector", more, "--also", more, "--epochs", 5, "--seed", 3)
    further = ("--start", out / "w", "--unboxed", faces, "--crops", more, "--rate", 0.5)
    assert ended("train", "refiner", faces, *options, *further, "--strong", "--resume") == 0
    folders, first, place, how = training.given
    assert list(folders) == [faces, more]
    assert (first, place) == (more, out)
    assert how == RefinerTraining(epochs=5, seed=3, rate=0.5, strong=OFTEN)
    assert training.named["start"] == out / "w"
    assert training.named["unboxed"] == [Unboxed(faces), Unboxed(more, each_a_face=True)]
    assert training.named["resume"] is True
    told = capsys.readouterr()
    assert "Epoch 2 of 5, loss 0.250, AP50 0.500" in told.err
    assert "0.625 before, 0.750 with it" in told.out
    assert str(out / "familiar-face") in told.out
    assert "has no networks in int8" in told.err
    (out / "familiar-face" / "int8").mkdir(parents=True)
    (out / "familiar-face" / "int8" / "1.onnx").touch()
    assert ended("train", "refiner", faces, *options, *further) == 0
    assert "int8" not in capsys.readouterr().err


@pytest.mark.parametrize("loss", ["arcface", "attributes"])
def test_pictures_that_a_loss_does_not_learn_from_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: str
) -> None:
    given = ("--unlabelled", tmp_path, "--loss", loss, "--out", tmp_path / "out")
    assert ended("train", "extractor", tmp_path, *given) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert f"Nothing is learned from --unlabelled with --loss {loss}; leave it out." in told
    assert not (tmp_path / "out").exists()


def test_a_network_that_nothing_can_be_made_of_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    given = ("--of", "pictures", "--backbone", "ir-se50", "--device", "cpu")
    assert ended("train", "extractor", tmp_path, *given) == 1
    assert "leave --backbone out, or train it on faces." in capsys.readouterr().err
    assert training.given == ()


def test_extractor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, more = tmp_path / "faces", tmp_path / "more"
    faces.mkdir()
    more.mkdir()
    out = tmp_path / "out"
    training = Called(
        out / "weights.safetensors", TrainingProgress(4, 40, 1, 2.5, 0.75, ended=True)
    )
    monkeypatch.setattr(extractor_training, "train", training)
    options = ("--out", out, "--of", "pictures", "--unlabelled", more, "--epochs", 4, "--seed", 3)
    further = ("--identities", 6, "--held-out", 2, "--device", "cpu", "--start", more, "--strong")
    apart = ("--without", "rezero", "--without", "steins_gate")
    assert ended("train", "extractor", faces, *options, *further, *apart) == 0
    folder, place, how = training.given
    assert (folder, place) == (faces, out)
    assert how == replace(
        of_pictures(),
        epochs=4,
        seed=3,
        identities=6,
        held_out=2,
        without=("rezero", "steins_gate"),
        device="cpu",
        augmentation=stronger(of_pictures().augmentation),
    )
    assert training.named["unlabelled"] == more
    assert training.named["start"] == more
    assert training.named["resume"] is False
    told = capsys.readouterr()
    assert "Epoch 1 of 4, loss 2.500, mAP 0.750" in told.err
    assert str(out / "weights.safetensors") in told.out


def test_pretraining(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heads, more = tmp_path / "heads", tmp_path / "more"
    heads.mkdir()
    more.mkdir()
    out = tmp_path / "out"
    shown = PretrainingProgress(4, 40, 1, 2.5, 0.75, ended=True)
    training = Called(out / "trunk.safetensors", shown)
    monkeypatch.setattr(pretraining, "train", training)
    options = ("--out", out, "--epochs", 4, "--seed", 3, "--device", "cpu", "--resume")
    assert ended("train", "pretraining", heads, more, *options) == 0
    assert training.given == ([heads, more], out, Pretraining(epochs=4, seed=3, device="cpu"))
    assert training.named["resume"] is True
    whole = ("--of", "pictures", "--device", "cpu")
    assert ended("train", "pretraining", heads, *whole) == 0
    assert training.given == (
        [heads],
        Path("runs/pretraining-pictures"),
        replace(of_pictures_without_labels(), seed=1),
    )
    told = capsys.readouterr()
    assert "Epoch 1 of 4, loss 2.500, 75.0% of the views recognised" in told.err
    assert f"begin with them: --start {out}" in " ".join(told.out.split())


def test_a_pretraining_ends_in_weights_curves_and_a_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_report, "report_pretraining", report_pretraining)
    heads, out = drawn_gallery(tmp_path / "heads", each=4), tmp_path / "out"
    brief = ("--epochs", 2, "--device", "cpu", "--terms", "Drawn here.", "--out", out)
    assert ended("train", "pretraining", heads, *brief) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch")]
    curve = json.loads((out / "metrics.json").read_text())["curve"]
    assert [line.partition(",")[0] for line in told] == ["Epoch 1 of 2", "Epoch 2 of 2"]
    for point, line in zip(curve, told, strict=True):
        assert f"loss {point['loss']:.3f}, {point['recognised']:.1%} of the views" in line
    card = (out / "README.md").read_text()
    assert "Drawn here." in card
    assert (out / "figures" / "curves.png").is_file()
    assert (out / "trunk.safetensors").is_file()
    assert ended("train", "pretraining", heads, *brief) == 1
    assert "holds a finished training" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("kind", ["detector", "refiner"])
def test_without_a_terminal_each_epoch_is_told_at_its_end_with_its_mean_loss(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given a session's own reports on two epochs of three steps, measured after each."""

    def training(*_given: Any, progress: Callable[[TrainingStep], None], **_named: Any) -> Any:
        session, checkpoint = begun(), tmp_path / "checkpoint.safetensors"
        for losses, reached in (((4.0, 2.0, 3.0), 0.5), ((2.0, 1.0, 0.0), 0.75)):
            session.run_epoch(
                losses,
                lambda loss, _rate: loss,
                steps=3,
                checkpoint=checkpoint,
                progress=progress,
            )
            session.tuning = reached
        return REACHED

    for module in (detector_training, refiner_training):
        monkeypatch.setattr(module, "train", training)
    (faces := tmp_path / "faces").mkdir()
    further = ("--detector", faces) if kind == "refiner" else ()
    assert ended("train", kind, faces, *further, "--out", tmp_path / "out") == 0
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("Epoch")] == [
        "Epoch 1 of 2, loss 3.000",
        "Epoch 2 of 2, loss 1.000, AP50 0.500 before it",
    ]


@pytest.mark.parametrize("held_out", [0, 2])
def test_without_a_terminal_an_extractors_epochs_are_told_at_their_ends(
    held_out: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces, out = drawn_gallery(tmp_path / "faces", each=4), tmp_path / "out"
    brief = ("--epochs", 3, "--identities", 2, "--held-out", held_out, "--device", "cpu")
    assert ended("train", "extractor", faces, *brief, "--out", out) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Epoch")]
    curve = json.loads((out / "metrics.json").read_text())["curve"]
    expected = [f"Epoch {point['epoch']} of 3, loss {point['loss']:.3f}" for point in curve]
    assert [line.partition(", mAP")[0] for line in told] == expected
    assert len(told) == 3
    assert all(("mAP" in line) is bool(held_out) for line in told)


@pytest.mark.parametrize(
    ("kind", "module", "failure"),
    [
        ("detector", detector_training, TrainingError("The checkpoint is another's.")),
        ("detector", detector_training, AnnotationError("There is no annotation.")),
        ("refiner", refiner_training, ModelError("There is no detector.")),
        ("extractor", extractor_training, TrainingDataError("There are no pictures.")),
        ("pretraining", pretraining, TrainingDataError("There is one picture alone.")),
    ],
    ids=["checkpoint", "annotation", "detector", "pictures", "one picture"],
)
def test_what_cannot_be_trained_is_a_sentence(
    kind: str,
    module: object,
    failure: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "train", Called(None, None, failure))
    further = ("--detector", tmp_path) if kind == "refiner" else ()
    assert ended("train", kind, tmp_path, *further) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.strip().splitlines()[-1] == str(failure)


def test_more_labels_held_out_than_there_are_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    faces = drawn_gallery(tmp_path / "faces")
    labels = len(list(faces.iterdir()))
    given = ("--held-out", labels, "--device", "cpu", "--out", tmp_path / "out")
    assert ended("train", "extractor", faces, *given) == 1
    told = capsys.readouterr().err
    assert f"Of {labels} labels, {labels} cannot be held out" in told
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("kind", "module", "failure", "helps"),
    [
        (
            "detector",
            detector_training,
            tf.errors.ResourceExhaustedError(None, None, "OOM"),
            "CUDA",
        ),
        ("refiner", refiner_training, MemoryError(), "fewer pictures, or train on another device"),
        (
            "extractor",
            extractor_training,
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
            "fewer --identities",
        ),
        (
            "extractor",
            extractor_training,
            RuntimeError("alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
            "another --device",
        ),
    ],
    ids=["GPU of TensorFlow", "main memory", "GPU of PyTorch", "main memory of PyTorch"],
)
def test_memory_that_does_not_suffice_is_a_sentence_on_what_helps(
    kind: str,
    module: object,
    failure: Exception,
    helps: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(module, "train", Called(None, None, failure))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    further = ("--detector", tmp_path) if kind == "refiner" else ("--device", "cpu")
    further = () if kind == "detector" else further
    assert ended("train", kind, tmp_path, *further, "--out", tmp_path.parent / "out") == 1
    (told,) = (line for line in capsys.readouterr().err.splitlines() if "memory" in line)
    assert told.startswith("There is not enough memory; end what else uses it, ")
    assert helps in told


def test_a_fault_of_the_program_is_not_told_as_the_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in (ValueError, RuntimeError, NotImplementedError):
        fault = kind("operands could not be broadcast together")
        monkeypatch.setattr(extractor_training, "train", Called(None, None, fault))
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        assert ended("train", "extractor", tmp_path, "--device", "cpu") == 1
        told = capsys.readouterr().err
        assert f"Something unexpected went wrong ({kind.__name__}: operands" in told


def test_faces_are_what_an_extractor_learns_from_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    assert ended("train", "extractor", tmp_path, "--device", "cpu") == 0
    assert training.given[2] == ExtractorTraining()


def test_each_kind_of_network_has_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    for kind in ("faces", "pictures"):
        assert ended("train", "extractor", tmp_path, "--of", kind, "--device", "cpu") == 0
        assert training.given[1] == Path(f"runs/extractor-{kind}")


def test_folders_are_called_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: Reported
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    check = drawn_gallery(tmp_path / "faces" / "check")
    monkeypatch.chdir(check)
    given = ("--check", ".", "--also", "..", "--unlabelled", ".", "--device", "cpu")
    assert ended("train", "extractor", ".", *given, "--out", tmp_path / "out") == 0
    assert list(reported.named["checks"]) == ["check"]
    assert (reported.given[1], reported.named["unlabelled"]) == (check, check)
    assert reported.named["also"] == [tmp_path / "faces"]


@pytest.mark.parametrize("kind", ["detector", "refiner"])
def test_folders_with_boxes_are_called_by_their_names_in_the_card(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: Reported
) -> None:
    for module in (detector_training, refiner_training):
        monkeypatch.setattr(module, "train", Called(REACHED, TrainingStep(1, 1, 1, 1, 0.5, None)))
    inner = tmp_path / "faces" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    further = ("--detector", ".") if kind == "refiner" else ()
    given = ("--also", "..", "--unboxed", ".", "--crops", "..", "--out", tmp_path / "out")
    assert ended("train", kind, ".", *given, *further) == 0
    assert reported.given[1] == [inner, tmp_path / "faces"]
    unboxed = [Unboxed(inner), Unboxed(tmp_path / "faces", each_a_face=True)]
    assert reported.named["unboxed"] == unboxed


@pytest.mark.parametrize(
    ("kind", "module", "checkpoint"),
    [
        ("detector", detector_training, "checkpoint.safetensors"),
        ("refiner", refiner_training, "checkpoint.safetensors"),
        ("extractor", extractor_training, "checkpoint.pt"),
    ],
)
def test_a_training_that_goes_on_keeps_its_terms_and_its_first_command(
    kind: str,
    module: object,
    checkpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reported: Reported,
) -> None:
    """Given one that was killed after its first checkpoint."""
    faces, out = tmp_path / "faces", tmp_path / "out"
    faces.mkdir()
    further = ("--detector", str(faces)) if kind == "refiner" else ()
    command = ["train", kind, str(faces), *further, "--out", str(out)]

    def killed(*_given: Any, **_named: Any) -> object:
        (out / checkpoint).touch()
        raise KeyboardInterrupt

    def run(*more: str) -> Origin:
        monkeypatch.setattr(sys, "argv", ["familiar", *command, *more])
        ended(*command, *more)
        told = reported.given or (None,)
        return next((each for each in told if isinstance(each, Origin)), Origin(""))

    monkeypatch.setattr(module, "train", killed)
    run("--terms", "Drawn by code.")
    shown = TrainingStep(1, 1, 1, 1, 0.5, None)
    result = (tmp_path, TrainingProgress(1, 1, 1, 0.5)) if kind == "extractor" else (REACHED, shown)
    monkeypatch.setattr(module, "train", Called(*result))
    first = " ".join(["familiar", *command, "--terms", "'Drawn by code.'"])
    assert run("--resume") == Origin(first, "Drawn by code.")
    assert run("--resume", "--terms", "Free.") == Origin(first, "Free.")
    assert run("--resume") == Origin(first, "Free.")
    (out / checkpoint).unlink()
    anew = run()
    assert (anew.terms, "--terms" in anew.command) == ("", False)


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        *(("detector", option) for option in ("", "--also", "--unboxed", "--crops")),
        *(("refiner", option) for option in ("", "--also", "--unboxed", "--crops")),
        *(("extractor", option) for option in ("", "--also", "--unlabelled", "--check")),
    ],
)
@pytest.mark.parametrize("out", [(), ("--out", "here")], ids=["default", "named"])
def test_a_result_is_never_written_where_pictures_are_read(
    kind: str,
    option: str,
    out: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its figures would be pictures to learn from the next time."""
    training = Called(None, None)
    for module in (detector_training, refiner_training, extractor_training):
        monkeypatch.setattr(module, "train", training)
    faces, read = (drawn_gallery(tmp_path / name) for name in ("faces", "read"))
    monkeypatch.chdir(read)
    given = (faces, option, ".") if option else (".",)
    further = ("--detector", faces) if kind == "refiner" else ()
    assert ended("train", kind, *given, *further, *out) == 1
    named = out[1] if out else f"runs/{kind}{'-faces' if kind == 'extractor' else ''}"
    assert f"{named} lies in {read}, which is only read" in capsys.readouterr().err
    assert training.given == ()


@pytest.mark.parametrize(
    ("option", "named"), [("", "train"), ("--also", "train"), ("--check", "val")]
)
def test_both_sides_of_a_split_are_no_labels(
    option: str,
    named: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    monkeypatch.chdir(tmp_path)
    faces = drawn_gallery(tmp_path / "faces")
    for side in ("train", "val"):
        drawn_gallery(tmp_path / "split" / side)
    given = (faces, option, "split") if option else ("split",)
    assert ended("train", "extractor", *given, "--device", "cpu") == 1
    told = capsys.readouterr().err
    assert f"split holds both sides of a split, train and val; name split/{named}." in told
    assert training.given == ()
    assert ended("train", "extractor", "split/train", "--device", "cpu") == 0


def test_pictures_from_which_nothing_is_learned_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given labels with one picture that can be read, and pictures of no label."""
    faces, more, check = (drawn_gallery(tmp_path / name) for name in ("faces", "more", "check"))
    for place in (faces / "single", faces / "half", faces / "apart", more / "alone", check / "one"):
        place.mkdir()
        shutil.copy(faces / "blue" / "0.png", place / "1.png")
    (faces / "half" / "2.png").write_text("no picture")
    (faces / "lost").mkdir()
    (faces / "lost" / "1.png").write_text("no picture")
    for name in ("a.png", "b.png"):
        shutil.copy(faces / "blue" / "0.png", faces / name)
    monkeypatch.chdir(tmp_path)
    given = ("faces", "--also", "more", "--check", "check", "--without", "apart", "--out", "out")
    brief = ("--epochs", 1, "--identities", 2, "--device", "cpu")
    assert ended("train", "extractor", *given, *brief) == 0
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "one picture" in line or "directly" in line] == [
        "2 pictures directly in faces belong to no label and were left out.",
        "Labels in faces with one picture alone, which were left out: half, single.",
        "Labels in more with one picture alone, which were left out: alone.",
        "Labels in check with one picture alone, which were left out: one.",
    ]
    assert "2 files could not be read and were left out" in " ".join(told)


def test_where_everything_is_learned_from_nothing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        extractor_training, "train", Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    )
    assert ended("train", "extractor", drawn_gallery(tmp_path / "a"), "--device", "cpu") == 0
    assert "left out" not in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_wrong_usage(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("train", "extractor", tmp_path, "--seed", seed, "--device", "cpu") == 2
    assert "--seed" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["detector", "refiner"])
@pytest.mark.parametrize("rate", ["-1", "2", "inf"])
def test_a_rate_out_of_range_is_wrong_usage(
    kind: str, rate: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("train", kind, tmp_path, "--rate", rate) == 2
    assert "--rate" in capsys.readouterr().err


def test_another_loss_network_and_margin_reach_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reported: Reported
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    triplets = ("--loss", "triplet", "--triplet-margin", 0.3, "--backbone", "ir-se50")
    check = drawn_gallery(tmp_path / "check")
    told = ("--check", check, "--terms", "Drawn by code.")
    assert ended("train", "extractor", tmp_path, *triplets, *told, "--device", "cpu") == 0
    how = training.given[2]
    assert (how.loss, how.triplet_margin, how.backbone) == ("triplet", 0.3, "ir-se50")
    assert how.sides == ((1.0, 112),)
    assert reported.given[2] == how
    assert reported.given[3].terms == "Drawn by code."
    assert list(reported.named["checks"]) == ["check"]


def test_a_set_to_measure_on_is_read_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    assert ended("train", "extractor", tmp_path, "--check", tmp_path, "--device", "cpu") == 1
    assert "at least two folders" in capsys.readouterr().err
    assert training.given == ()


def test_a_device_that_is_not_here_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("train", "extractor", tmp_path, "--device", "gpu") == 1
    assert "no device gpu here" in capsys.readouterr().err


def test_a_device_that_computes_nothing_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended("train", "extractor", tmp_path, "--device", "meta") == 1
    assert "The device meta computes nothing; choose cpu" in capsys.readouterr().err


def test_a_margin_that_is_no_finite_number_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("--loss", "triplet", "--triplet-margin", "inf", "--device", "cpu")
    assert ended("train", "extractor", tmp_path, *wrong) == 1
    assert "is a finite number" in capsys.readouterr().err


def test_a_margin_of_another_loss_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = ("--loss", "arcface", "--triplet-margin", 0.3, "--device", "cpu")
    assert ended("train", "extractor", tmp_path, *wrong) == 1
    assert "arcface has no margin between triplets" in capsys.readouterr().err


def test_missing_figures_are_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reported: Reported,
    capsys: pytest.CaptureFixture[str],
) -> None:
    training = Called(tmp_path, TrainingProgress(1, 2, 0, 1.0))
    monkeypatch.setattr(extractor_training, "train", training)
    reported.problem = "There are no figures."
    assert ended("train", "extractor", tmp_path, "--device", "cpu") == 0
    assert "There are no figures." in capsys.readouterr().err
