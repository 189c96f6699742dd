"""The trainings that are compared, on drawn pictures and with small networks."""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest

import core.methods.training
from core.methods.training import (
    OF_PICTURES,
    Budget,
    Name,
    TrainingFolders,
    contents,
    result_of,
    train_all,
    trainings,
)
from core.models.backbones import NetworkShape
from core.train.extractor import TrainingProgress
from core.train.extractor_options import ExtractorTraining
from core.train.face_data import load_labelled
from tests.core.fakes import drawn_gallery


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn_gallery(tmp_path_factory.mktemp("gallery"), each=4)


def test_series_are_left_out_of_what_pictures_are_learned_from_alone(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, tuple[str, ...]] = {}

    def train(name: Name, options: ExtractorTraining, *_: object, **__: object) -> Path:
        seen[name] = options.without
        return tmp_path

    monkeypatch.setattr(core.methods.training, "result_of", train)
    folders = TrainingFolders(gallery, gallery, tmp_path, ("blue",))
    train_all(folders, Budget(), lambda _: nullcontext(lambda _: None))
    assert {name for name, without in seen.items() if without == ("blue",)} == OF_PICTURES
    assert {without for name, without in seen.items() if name not in OF_PICTURES} == {()}


def test_what_is_linked_or_hidden_is_neither_compared_nor_trained_on(
    gallery: Path, tmp_path: Path
) -> None:
    for name in ("dark", "emerald"):
        shutil.copytree(gallery / name, tmp_path / name)
    os.symlink(gallery / "blue", tmp_path / "linked")
    shutil.copytree(gallery / "coral", tmp_path / ".hidden")
    os.symlink(gallery / "amber" / "0.png", tmp_path / "dark" / "linked.png")
    shutil.copy(gallery / "amber" / "1.png", tmp_path / "dark" / ".hidden.png")
    seen = [path for path, _ in contents(tmp_path)]
    assert seen == [f"{name}/{place}.png" for name in ("dark", "emerald") for place in range(4)]
    learned = load_labelled(tmp_path, 32)
    assert learned.names == ("dark", "emerald")
    assert len(learned.pixels) == len(seen)


def test_every_network_sees_as_many_pixels() -> None:
    of_each = trainings(Budget(40.0))
    assert len(of_each) == 8
    for name, options in of_each.items():
        side = options.sides[-1][1]
        assert options.steps is not None
        seen = options.steps * options.identities * options.pictures * side**2
        # A step is the smallest part of a budget.
        assert seen == pytest.approx(40e6, abs=options.identities * options.pictures * side**2)
        assert options.unlabelled_in_batch == 0, name


def small(name: Name) -> ExtractorTraining:
    return replace(
        trainings(Budget(0.01))[name],
        shape=NetworkShape((8, 16), (1, 1), 8, 4, 2),
        sides=((1.0, 24),),
        stored_side=32,
        identities=4,
        pictures=2,
        epochs=1,
        steps=2,
    )


def test_what_is_trained_is_kept_and_other_options_have_their_own_place(
    gallery: Path, tmp_path: Path
) -> None:
    options = small("facenet")
    first = result_of("facenet", options, gallery, tmp_path)
    before = (first / "weights.safetensors").stat().st_mtime_ns
    assert result_of("facenet", options, gallery, tmp_path) == first
    assert (first / "weights.safetensors").stat().st_mtime_ns == before
    assert result_of("facenet", replace(options, seed=8), gallery, tmp_path) != first
    # The same characters, but a picture of one is another now: what saw the old one may not answer.
    others = shutil.copytree(gallery, tmp_path / "others")
    shutil.copy(others / "blue" / "0.png", others / "amber" / "0.png")
    assert result_of("facenet", options, others, tmp_path) != first


def test_what_earlier_code_trained_is_trained_anew(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = small("facenet")
    first = result_of("facenet", options, gallery, tmp_path)
    monkeypatch.setattr(core.methods.training, "FORMAT", core.methods.training.FORMAT + 1)
    assert result_of("facenet", options, gallery, tmp_path) != first


def test_a_file_that_this_user_may_not_read_is_told_and_ends_nothing(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(gallery, tmp_path / "gallery")
    closed = folder / "blue" / "0.png"
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        if path == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    told: list[str] = []
    first = result_of("facenet", small("facenet"), folder, tmp_path, left_out=told.append)
    assert told == [str(closed)]
    monkeypatch.undo()  # what is readable now is another picture
    assert result_of("facenet", small("facenet"), folder, tmp_path) != first


def test_a_training_that_was_stopped_is_gone_on_with(gallery: Path, tmp_path: Path) -> None:
    options = replace(small("facenet"), epochs=2, steps=4)

    def stop(now: TrainingProgress) -> None:
        if now.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        result_of("facenet", options, gallery, tmp_path, progress=stop)
    steps: list[int] = []
    result_of("facenet", options, gallery, tmp_path, progress=lambda now: steps.append(now.step))
    assert steps == [3, 4]


def test_nothing_is_trained_without_pictures_to_train_on(tmp_path: Path) -> None:
    def refuse(name: str) -> object:
        raise AssertionError(f"{name} was trained")

    folders = TrainingFolders(None, None, tmp_path)
    assert train_all(folders, Budget(), refuse) == {}
