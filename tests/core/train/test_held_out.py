"""What is held out of a training is not learned, and no copy of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from core.train.extractor import train
from core.train.face_data import TrainingDataError, load_labelled, split_by_label
from core.train.held_out import parted
from core.train.origin import Origin
from core.train.report import report_extractor
from tests.core.train.small_training import TINY, same_weights, saved_again


def test_what_is_held_out_is_not_learned_from_a_further_folder(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDataError, match="held out of"):
        train(folder, tmp_path / "out", TINY, also=[folder])


def test_copies_of_what_is_held_out_are_not_learned_from(folder: Path, tmp_path: Path) -> None:
    further = tmp_path / "further"
    for label in folder.iterdir():
        shutil.copytree(label, further / f"copy-of-{label.name}")
    with pytest.raises(TrainingDataError, match=r"further holds copies of 12 pictures that are"):
        train(folder, tmp_path / "out", TINY, also=[further])


def test_copies_of_what_is_held_out_are_not_learned_without_labels_either(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in folder.iterdir())
    kept, held = split_by_label(len(names), TINY.held_out, TINY.seed)
    more = tmp_path / "more"
    shutil.copytree(others, more)
    for number in held:
        saved_again(folder / names[number], more / "other3", names[number])

    weights = train(folder, tmp_path / "out", TINY, unlabelled=more)

    assert len(list((more / "other3").iterdir())) == 18
    assert same_weights(weights, trained / "weights.safetensors")
    alone = tmp_path / "alone"
    alone.mkdir()
    saved_again(folder / names[held[0]], alone, "held")
    with pytest.raises(TrainingDataError, match="alone are copies of pictures that are held out"):
        train(folder, tmp_path / "other", TINY, unlabelled=alone)
    saved_again(folder / names[kept[0]], alone, "kept")
    train(folder, tmp_path / "other", replace(TINY, epochs=1), unlabelled=alone)


def test_labels_that_are_left_out_are_neither_learned_nor_held_out(
    folder: Path, tmp_path: Path
) -> None:
    fewer = tmp_path / "fewer"
    shutil.copytree(folder, fewer)
    for label in ("c1", "c6"):
        shutil.rmtree(fewer / label)
    whole = replace(TINY, epochs=1, without=("c1", "c6"))
    weights = train(folder, tmp_path / "out", whole)
    assert same_weights(weights, train(fewer, tmp_path / "other", replace(TINY, epochs=1)))
    report_extractor(tmp_path / "out", folder, whole, Origin("familiar train extractor"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "24 pictures of 4 characters; 2 more were held out" in card
    with pytest.raises(TrainingDataError, match="other options"):
        train(folder, tmp_path / "out", replace(whole, without=("c1",)), resume=True)


def test_one_held_out_label_is_refused_before_anything_is_trained(
    folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(TrainingDataError, match="hold out two or more"):
        train(folder, tmp_path / "out", replace(TINY, held_out=1))
    assert not (tmp_path / "out").exists()


def test_copies_of_held_out_pictures_are_not_learned_under_another_label(
    folder: Path, tmp_path: Path
) -> None:
    names = sorted(path.name for path in folder.iterdir())
    _, held = split_by_label(len(names), TINY.held_out, TINY.seed)
    kept = next(name for number, name in enumerate(names) if number not in held)
    leaking = tmp_path / "leaking"
    shutil.copytree(folder, leaking)
    with Image.open(folder / names[held[0]] / "0.png") as picture:
        picture.resize((72, 80)).save(leaking / kept / "zzz.jpg", quality=90)
    learned, apart = parted(load_labelled(leaking, TINY.stored_side), TINY)
    assert (len(learned.labels), apart and len(apart.labels)) == (36, 12)
    once = replace(TINY, epochs=1)
    train(leaking, tmp_path / "second", once)
    checks = {"check": load_labelled(folder, TINY.stored_side).only(held)}
    report_extractor(tmp_path / "second", leaking, once, Origin("familiar"), checks=checks)
    card = (tmp_path / "second" / "README.md").read_text()
    assert "36 pictures of 6 characters; 2 more were held out" in card
    assert "were trained on" not in card
    for path in (leaking / kept).iterdir():
        shutil.copy(folder / names[held[1]] / "1.png", path)
    with pytest.raises(TrainingDataError, match=rf"All pictures of {kept} are copies"):
        train(leaking, tmp_path / "third", replace(TINY, epochs=1))
