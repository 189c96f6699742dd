"""One training at a time writes into a folder, and none over another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core.files import alone, replacing
from core.models import ModelError
from core.problem import Problem
from core.train import detector, extractor, pretraining, refiner
from core.train.face_data import TrainingDataError
from core.train.results import why_taken
from core.voc import AnnotationError

TRAININGS: dict[str, Callable[[Path, Path], object]] = {
    "extractor": extractor.train,
    "pretraining": lambda folder, out: pretraining.train([folder], out),
    "detector": lambda folder, out: detector.train([folder], out),
    "refiner": lambda folder, out: refiner.train([folder], folder, out),
}


@pytest.mark.parametrize("kind", TRAININGS)
def test_of_two_trainings_into_one_folder_the_second_is_refused_at_once(
    tmp_path: Path, kind: str
) -> None:
    """Before anything is read: there are no pictures here."""
    out = tmp_path / "runs" / "result"
    with (
        alone(out),
        pytest.raises(BlockingIOError, match="another command is writing this") as refused,
    ):
        TRAININGS[kind](tmp_path / "pictures", out)
    assert refused.value.filename == str(out)
    assert not out.exists()
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("kind", TRAININGS)
def test_what_a_killed_training_was_writing_is_gone_when_one_begins(
    tmp_path: Path, kind: str
) -> None:
    """It is as large as a checkpoint; there are no pictures here to go on with."""
    out = tmp_path / "runs" / "result"
    out.mkdir(parents=True)
    for name in ("checkpoint.pt", "checkpoint.safetensors", "detector.safetensors", "README.md"):
        with replacing(out / name) as partial:
            pass
        partial.write_bytes(b"half of it")
    whole = [out / "checkpoint.pt", out / "checkpoint.safetensors", out / "detector.safetensors"]
    for path in whole:
        path.unlink()
    (out / ".mine.partial").touch()

    with pytest.raises((AnnotationError, ModelError, Problem, TrainingDataError)):
        TRAININGS[kind](tmp_path / "pictures", out)

    left = {path.name.split(".")[1] for path in out.iterdir() if path.suffix == ".partial"}
    assert left == {"README", "mine"}


@pytest.mark.parametrize(
    ("held", "begins", "goes_on"),
    [
        (("checkpoint.pt",), "go on with it with --resume", None),
        (("checkpoint.pt", "metrics.json"), "or keep this one with --resume", None),
        (("metrics.json",), "holds a finished training; choose", "cannot be gone on with"),
        (("checkpoint.safetensors",), "was begun; choose", "cannot be gone on with"),
        (("curve.csv",), None, None),
    ],
)
def test_to_go_on_is_offered_where_it_is_possible(
    tmp_path: Path, held: tuple[str, ...], begins: str | None, goes_on: str | None
) -> None:
    for name in held:
        (tmp_path / name).touch()
    for resume, said in ((False, begins), (True, goes_on)):
        why = why_taken(tmp_path, "checkpoint.pt", resume)
        assert (why is None) == (said is None)
        assert (said or "") in (why or "")
    offered = "--resume" in (why_taken(tmp_path, "checkpoint.pt", resume=False) or "")
    assert offered == ("checkpoint.pt" in held)
