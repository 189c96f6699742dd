"""What a training kept is gone on with or begun with, or refused in a sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from core.models.backbones import NetworkShape
from core.train.extractor import TrainingProgress, train
from core.train.extractor_names import Loss
from core.train.face_data import TrainingDataError, split_by_label
from core.train.origin import Origin
from core.train.report import load_checks, report_extractor
from core.train.results import EXTRACTOR_CHECKPOINT, LEARNED, METRICS
from core.train.trained import learned_among
from tests.core.train.small_training import TINY, same_weights


def rewritten(path: Path, **others: object) -> None:
    """Put other parts into a checkpoint."""
    torch.save(torch.load(path, weights_only=True) | others, path)


def test_the_seconds_of_a_resumed_training_go_on(folder: Path, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(report: TrainingProgress) -> None:
        if report.ended:
            raise Stopped

    with pytest.raises(Stopped):
        train(folder, tmp_path, TINY, progress=stop)
    curve = json.loads(torch.load(tmp_path / EXTRACTOR_CHECKPOINT, weights_only=True)["curve"])
    curve[0]["seconds"] = 1000.0
    rewritten(tmp_path / EXTRACTOR_CHECKPOINT, curve=json.dumps(curve))
    train(folder, tmp_path, TINY, resume=True)
    seconds = [point["seconds"] for point in json.loads((tmp_path / METRICS).read_text())["curve"]]
    assert seconds == sorted(seconds)
    assert (seconds[0], len(seconds)) == (1000.0, 3)


def test_a_training_goes_on_from_what_it_began_with(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(report: TrainingProgress) -> None:
        if report.ended:
            raise Stopped

    out = tmp_path / "out"
    with pytest.raises(Stopped):
        train(folder, out, TINY, unlabelled=others, start=trained, progress=stop)
    with pytest.raises(TrainingDataError, match="another --start"):
        train(folder, out, TINY, unlabelled=others, resume=True)
    train(folder, out, TINY, unlabelled=others, start=trained, resume=True)


def test_a_training_begins_with_an_earlier_one(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    still = replace(TINY, epochs=1, rate=1e-9, sides=((1.0, 24),))
    weights = train(folder, tmp_path / "next", still, unlabelled=others, start=trained)
    before, after = load_file(trained / "weights.safetensors"), load_file(weights)
    assert torch.allclose(before["embed.weight"], after["embed.weight"], atol=1e-5)
    shape = NetworkShape((16, 16), (1, 1), 8, colour_channels=4, colour_cells=2)
    with pytest.raises(TrainingDataError, match="another network"):
        train(folder, tmp_path / "other", replace(still, shape=shape), start=trained)


@pytest.mark.parametrize("loss", [Loss.ARCFACE, Loss.TRIPLET, Loss.ATTRIBUTES])
def test_a_training_with_another_loss_begins_with_the_network_of_an_earlier_one(
    folder: Path, trained: Path, tmp_path: Path, loss: Loss
) -> None:
    still = replace(TINY, loss=loss, epochs=1, rate=1e-9, sides=((1.0, 24),))
    weights = train(folder, tmp_path / "next", still, start=trained)
    before, after = load_file(trained / "weights.safetensors"), load_file(weights)
    assert torch.allclose(before["embed.weight"], after["embed.weight"], atol=1e-5)
    further = tmp_path / "further"
    train(folder, further, replace(TINY, epochs=1), start=tmp_path / "next")
    assert (further / "weights.safetensors").is_file()


def test_a_training_begins_with_none_that_learned_what_is_held_out_now(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    """As many labels, but others: those held out by another seed have been learned there."""
    other = replace(TINY, seed=12)
    assert split_by_label(8, TINY.held_out, 11)[1].tolist() != (
        split_by_label(8, TINY.held_out, 12)[1].tolist()
    )
    with pytest.raises(TrainingDataError, match="learned other labels"):
        train(folder, tmp_path / "out", other, unlabelled=others, start=trained)


def test_pictures_that_an_earlier_training_learned_are_not_held_out(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    """The same labels, of which a learned and a held-out one have changed their pictures."""
    kept, held = split_by_label(8, TINY.held_out, TINY.seed)
    changed = tmp_path / "changed"
    shutil.copytree(folder, changed)
    names = sorted(path.name for path in folder.iterdir())
    for one, other in ((kept[0], held[0]), (held[0], kept[0])):
        shutil.rmtree(changed / names[one])
        shutil.copytree(folder / names[other], changed / names[one])
    with pytest.raises(TrainingDataError, match="learned 6 of the pictures that are held out now"):
        train(changed, tmp_path / "out", TINY, start=trained)

    start = tmp_path / "start"
    shutil.copytree(trained, start)
    (start / LEARNED).write_bytes(b"no tensors")
    with pytest.raises(TrainingDataError, match=r"holds no prints .* Begin with another training"):
        train(changed, tmp_path / "out", TINY, start=start)
    (start / LEARNED).unlink()
    with pytest.raises(TrainingDataError, match=r"cannot be read.* begin with another training"):
        train(changed, tmp_path / "out", TINY, start=start)


def test_what_an_earlier_training_learned_counts_as_learned(folder: Path, tmp_path: Path) -> None:
    """Split by picture once a training has learned all of them."""
    once = replace(TINY, epochs=1, held_out=0)
    train(folder, tmp_path / "first", once)
    for path in folder.rglob("*.png"):
        side = tmp_path / ("val" if path.stem in ("4", "5") else "train") / path.parent.name
        side.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, side)
    out = tmp_path / "next"
    train(tmp_path / "train", out, once, start=tmp_path / "first")

    checks = load_checks([tmp_path / "val"], once)
    assert learned_among(checks["val"].pixels, [out]) == 16
    report_extractor(out, tmp_path / "train", once, Origin("familiar"), checks=checks)
    told = "16 pictures of `val` or copies of them were trained on"
    assert told in (out / "README.md").read_text()


def test_a_folder_without_a_training_is_no_beginning(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="holds no training to begin with"):
        train(folder, tmp_path / "out", TINY, start=tmp_path)


def test_a_checkpoint_of_another_training_is_refused(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / EXTRACTOR_CHECKPOINT).write_bytes((trained / EXTRACTOR_CHECKPOINT).read_bytes())
    with pytest.raises(TrainingDataError, match="other options"):
        train(folder, tmp_path, replace(TINY, margin=0.2), unlabelled=others, resume=True)


def test_a_checkpoint_of_other_pictures_is_refused(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    """The same names of labels, and one picture of them changed."""
    (tmp_path / EXTRACTOR_CHECKPOINT).write_bytes((trained / EXTRACTOR_CHECKPOINT).read_bytes())
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    label = sorted(pictures.iterdir())[int(split_by_label(8, TINY.held_out, TINY.seed)[0][0])]
    shutil.copy(label / "0.png", label / "1.png")
    with pytest.raises(TrainingDataError, match="other pictures"):
        train(pictures, tmp_path, TINY, unlabelled=others, resume=True)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"no checkpoint" * 99),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-400]),
    "no archive": lambda path: path.write_bytes(b"(lp0\n."),
    "a list": lambda path: torch.save([1, 2], path),
    "without a curve": lambda path: rewritten(path, curve=None),
    "options that are no JSON": lambda path: rewritten(path, options="{"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_a_sentence_and_left_as_it_is(
    damage: str, folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path / "kept")
    DAMAGES[damage](tmp_path / "kept" / EXTRACTOR_CHECKPOINT)
    before = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    with pytest.raises(TrainingDataError, match="is damaged or no checkpoint") as resumed:
        train(folder, tmp_path / "kept", TINY, unlabelled=others, resume=True)
    with pytest.raises(TrainingDataError, match="is damaged or no checkpoint") as begun:
        train(folder, tmp_path / "out", TINY, unlabelled=others, start=tmp_path / "kept")
    assert "remove it and start again" in str(resumed.value)
    assert "begin with another training" in str(begun.value)
    for raised in (resumed, begun):
        assert str(raised.value).startswith(str(tmp_path / "kept" / EXTRACTOR_CHECKPOINT))
        assert "weights_only" not in str(raised.value)
    assert {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == before


@pytest.mark.parametrize("shape", [None, (3, 3)])
def test_a_checkpoint_of_another_network_is_a_sentence_and_left_as_it_is(
    shape: tuple[int, int] | None, folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    """As after a change to the network that no option tells."""
    checkpoint = tmp_path / EXTRACTOR_CHECKPOINT
    checkpoint.write_bytes((trained / EXTRACTOR_CHECKPOINT).read_bytes())
    run = torch.load(checkpoint, weights_only=True)["run"]
    for state in (run["network"], run["average"]):
        del state["embed.weight"]
        if shape is not None:
            state["embed.weight"] = torch.zeros(shape)
    rewritten(checkpoint, run=run)
    before = checkpoint.read_bytes()
    with pytest.raises(TrainingDataError, match="is of another network"):
        train(folder, tmp_path, TINY, unlabelled=others, resume=True)
    start = tmp_path / "start"
    shutil.copytree(trained, start)
    shutil.copy(checkpoint, start)
    with pytest.raises(TrainingDataError, match="had another network"):
        train(folder, tmp_path / "out", TINY, unlabelled=others, start=start)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [EXTRACTOR_CHECKPOINT]
    assert checkpoint.read_bytes() == before


def test_a_checkpoint_is_gone_on_from_on_another_device(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    (tmp_path / EXTRACTOR_CHECKPOINT).write_bytes((trained / EXTRACTOR_CHECKPOINT).read_bytes())
    numbered = replace(TINY, device="cpu:0")
    weights = train(folder, tmp_path, numbered, unlabelled=others, resume=True)
    assert same_weights(weights, trained / "weights.safetensors")
