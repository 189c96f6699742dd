"""A tiny training without labels on drawn pictures, and trainings that begin with it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.models.backbones import EmbeddingNetwork, NetworkShape, is_of_trunk
from core.train import pretraining
from core.train.copies import prints_of, read_prints
from core.train.extractor import train as train_extractor
from core.train.extractor_names import Backbone, Kind, Loss
from core.train.extractor_options import ExtractorTraining, fit_of, of_loss
from core.train.extractor_options import of_pictures as pictures_extractor
from core.train.face_data import TrainingDataError, load_unlabelled
from core.train.origin import Origin
from core.train.pretraining import Pretraining, PretrainingProgress, drawn_rows, of_pictures, train
from core.train.report import report_extractor, report_pretraining
from core.train.results import LEARNED, METRICS, PRETRAINING_CHECKPOINT, TRUNK
from core.train.schedule import learning_rate
from tests.core.train.small_training import STILL, TINY, draw_folder, same_weights

SMALL = Pretraining(
    shape=TINY.shape,
    side=24,
    stored_side=32,
    epochs=3,
    batch=16,
    seed=12,
    bfloat16=False,
)


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of two kinds, 48 and 18 of them."""
    folder = tmp_path_factory.mktemp("heads")
    return (
        draw_folder(folder / "many", name="head", seed=21),
        draw_folder(folder / "few", characters=3, name="other", seed=22),
    )


@pytest.fixture(scope="module")
def pretrained(heads: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pretrained")
    torch.set_num_threads(1)
    train(heads, out, SMALL)
    return out


def test_it_writes_the_trunk_alone_its_curve_and_what_it_learned(
    heads: tuple[Path, Path], pretrained: Path
) -> None:
    trunk = load_file(pretrained / TRUNK)
    network = EmbeddingNetwork(SMALL.shape).state_dict()
    assert {name: tuple(value.shape) for name, value in trunk.items()} == {
        name: tuple(value.shape)
        for name, value in network.items()
        if name.split(".")[0] in {"stem", "stages", "feature_norm"}
        and not name.endswith("num_batches_tracked")
    }
    metrics = json.loads((pretrained / METRICS).read_text())
    assert [point["epoch"] for point in metrics["curve"]] == [1, 2, 3]
    assert [each["pictures"] for each in metrics["folders"]] == [48, 18]
    known = read_prints(pretrained / LEARNED)
    everything = np.concatenate([load_unlabelled(each, SMALL.stored_side) for each in heads])
    assert np.array_equal(known.hashes, prints_of(everything).hashes)


def test_what_is_kept_is_the_running_average(
    heads: tuple[Path, Path], pretrained: Path, tmp_path: Path
) -> None:
    kept = torch.load(pretrained / PRETRAINING_CHECKPOINT, weights_only=True)["run"]
    trunk = load_file(pretrained / TRUNK)
    for name, value in trunk.items():
        assert torch.equal(value, kept["average"][f"network.{name}"])
    last = kept["views"]["network.stem.0.weight"]
    assert not torch.equal(trunk["stem.0.weight"], last)
    weights = train(heads, tmp_path, replace(SMALL, average=0.0))
    assert torch.equal(load_file(weights)["stem.0.weight"], last)


def test_the_learning_rate_rises_and_falls(heads: tuple[Path, Path]) -> None:
    options = replace(SMALL, epochs=10, rate=1e-3, warmup=0.1)
    run = pretraining._Run(options, [load_unlabelled(each, 32) for each in heads])
    assert run.steps == 40
    for step in (0, 1, 3, 4, 20, 39):
        run.step = step
        run.take_step(run.draw(step))
        rates = {group["lr"] for group in run.optimiser.param_groups}
        assert rates == {learning_rate(step, 40, highest=1e-3, rising=4)}


@pytest.mark.parametrize("inside", ["", "head0"], ids=["the same", "one in the other"])
def test_a_folder_is_not_given_twice(heads: tuple[Path, Path], tmp_path: Path, inside: str) -> None:
    """A picture would be told from itself."""
    with pytest.raises(TrainingDataError, match="is given twice, by itself or within"):
        train([*heads, heads[0] / inside], tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_views_of_a_picture_come_to_be_told_from_those_of_others(
    heads: tuple[Path, Path], tmp_path: Path
) -> None:
    seen: list[PretrainingProgress] = []
    easy = replace(SMALL, epochs=12, rate=1e-2, augmentation=replace(STILL, mirror=0.5))
    train(heads, tmp_path, easy, progress=seen.append)
    assert [report.step for report in seen] == list(range(1, seen[0].steps + 1))
    ends = [report for report in seen if report.ended]
    assert [report.epoch for report in ends] == list(range(1, 13))
    assert ends[-1].loss < 0.8 * ends[0].loss
    assert ends[-1].recognised > 0.9 > ends[0].recognised > 0


def test_a_picture_meets_its_own_other_view_and_no_other_picture_twice(
    heads: tuple[Path, Path],
) -> None:
    run = pretraining._Run(
        replace(SMALL, augmentation=STILL),
        [load_unlabelled(each, SMALL.stored_side) for each in heads],
    )
    for step in range(6):
        first, second = run.draw(step).chunk(2)
        assert torch.equal(first, second)
        assert len(torch.unique(first, dim=0)) == len(first) == 16


@pytest.mark.parametrize("step", range(8))
def test_every_second_batch_is_of_one_folder(step: int) -> None:
    rows = drawn_rows([90, 40, 250], 20, 3, step)
    numbers = [len(its) for its in rows]
    assert sum(numbers) == 20
    assert (max(numbers) == 20) == bool(step % 2)
    assert all(len(set(its.tolist())) == len(its) for its in rows)
    again = drawn_rows([90, 40, 250], 20, 3, step)
    assert all(np.array_equal(one, other) for one, other in zip(rows, again, strict=True))
    other = drawn_rows([90, 40, 250], 20, 4, step)
    assert not all(np.array_equal(one, two) for one, two in zip(rows, other, strict=True))


def test_folders_have_their_share_and_turn_by_the_root_of_their_size() -> None:
    counts, steps = [100, 400, 900], 3_000
    together = np.array([len(its) for its in drawn_rows(counts, 60, 0, 0)])
    assert together.tolist() == [10, 20, 30]
    turns = Counter(
        int(np.argmax([len(its) for its in drawn_rows(counts, 60, 0, step)]))
        for step in range(1, steps, 2)
    )
    shares = np.array([turns[place] for place in range(3)]) / (steps / 2)
    np.testing.assert_allclose(shares, [1 / 6, 2 / 6, 3 / 6], atol=0.04)


def test_a_folder_with_fewer_pictures_than_a_batch_gives_all_of_them() -> None:
    alone = [drawn_rows([5, 300], 20, 1, step) for step in range(1, 40, 2)]
    assert {(len(one), len(other)) for one, other in alone} == {(5, 0), (0, 20)}


def test_stopped_and_resumed_gives_the_same_weights(
    heads: tuple[Path, Path], pretrained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "SECONDS_UNTIL_KEPT", 0.0)

    class Stopped(Exception):
        pass

    def stop(report: PretrainingProgress) -> None:
        if report.step == 6:
            raise Stopped

    with pytest.raises(Stopped):
        train(heads, tmp_path, SMALL, progress=stop)
    assert not (tmp_path / TRUNK).exists()
    with pytest.raises(TrainingDataError, match="go on with it with --resume"):
        train(heads, tmp_path, SMALL)
    with pytest.raises(TrainingDataError, match="other options, other pictures"):
        train(heads, tmp_path, replace(SMALL, temperature=0.2), resume=True)
    with pytest.raises(TrainingDataError, match="other options, other pictures"):
        train(heads[:1], tmp_path, SMALL, resume=True)
    seen: list[PretrainingProgress] = []
    weights = train(heads, tmp_path, SMALL, resume=True, progress=seen.append)
    assert seen[0].step == 7
    assert same_weights(weights, pretrained / TRUNK)
    curves = [
        [
            (point["epoch"], point["loss"], point["recognised"])
            for point in json.loads((folder / METRICS).read_text())["curve"]
        ]
        for folder in (tmp_path, pretrained)
    ]
    assert curves[0] == curves[1]
    with pytest.raises(TrainingDataError, match="keep this one with --resume"):
        train(heads, tmp_path, SMALL)


def test_a_loss_that_is_no_number_ends_it(heads: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(TrainingDataError, match="no longer a number at step"):
        train(heads, tmp_path, replace(SMALL, rate=1e30))


def test_one_picture_cannot_be_told_from_others(heads: tuple[Path, Path], tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(next(heads[0].rglob("*.png")), alone)
    with pytest.raises(TrainingDataError, match="alone holds one picture alone"):
        train([heads[0], alone], tmp_path / "out", SMALL)
    assert not (tmp_path / "out").exists()


def test_an_extractor_begins_with_its_trunk(folder: Path, pretrained: Path, tmp_path: Path) -> None:
    still = replace(TINY, epochs=1, rate=1e-9, sides=((1.0, 24),))
    begun = load_file(train_extractor(folder, tmp_path / "begun", still, start=pretrained))
    random = load_file(train_extractor(folder, tmp_path / "random", still))
    trunk = load_file(pretrained / TRUNK)
    for name, value in begun.items():
        if "running" in name:
            continue
        expected = trunk[name] if is_of_trunk(name) else random[name]
        torch.testing.assert_close(value, expected, atol=1e-5, rtol=0, msg=name)
    assert not torch.allclose(random["stem.0.weight"], trunk["stem.0.weight"], atol=1e-2)
    learned = read_prints(tmp_path / "begun" / LEARNED).hashes
    assert set(read_prints(pretrained / LEARNED).hashes.tolist()) <= set(learned.tolist())


def test_a_training_that_began_with_a_trunk_goes_on_with_that_one_alone(
    folder: Path, pretrained: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(report: object) -> None:
        if report.ended:
            raise Stopped

    out = tmp_path / "out"
    with pytest.raises(Stopped):
        train_extractor(folder, out, TINY, start=pretrained, progress=stop)
    with pytest.raises(TrainingDataError, match="another --start"):
        train_extractor(folder, out, TINY, resume=True)
    other = tmp_path / "other"
    shutil.copytree(pretrained, other)
    trunk = load_file(other / TRUNK)
    trunk["stem.0.weight"][0, 0, 0, 0] += 1
    save_file(trunk, other / TRUNK)
    with pytest.raises(TrainingDataError, match="another --start"):
        train_extractor(folder, out, TINY, start=other, resume=True)
    train_extractor(folder, out, TINY, start=pretrained, resume=True)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (replace(TINY, shape=NetworkShape((8, 24), (1, 1), 8, 4, 2)), "of another shape: "),
        (replace(TINY, shape=NetworkShape((8,), (1,), 8, 4, 2)), "unknown: stages.1"),
        (replace(TINY, shape=replace(TINY.shape, attention=2)), "missing: attention"),
        (of_loss(TINY, Loss.ARCFACE, Backbone.IR_SE50), "unknown: feature_norm"),
    ],
    ids=["another width", "another depth", "with attention", "ir-se50"],
)
def test_a_trunk_of_another_network_is_refused(
    folder: Path, pretrained: Path, tmp_path: Path, options: object, why: str
) -> None:
    with pytest.raises(TrainingDataError, match=why) as refused:
        train_extractor(folder, tmp_path / "out", options, start=pretrained)  # type: ignore[arg-type]
    assert "Begin with another training, or with none." in str(refused.value)


def test_a_damaged_trunk_is_refused(folder: Path, pretrained: Path, tmp_path: Path) -> None:
    start = tmp_path / "start"
    shutil.copytree(pretrained, start)
    trunk = load_file(start / TRUNK)
    trunk["stem.0.weight"][0, 0, 0, 0] = torch.nan
    save_file(trunk, start / TRUNK)
    with pytest.raises(TrainingDataError, match=r"not of finite numbers: stem\.0\.weight"):
        train_extractor(folder, tmp_path / "out", TINY, start=start)
    (start / TRUNK).write_bytes(b"no tensors")
    with pytest.raises(TrainingDataError, match="not a file of weights"):
        train_extractor(folder, tmp_path / "out", TINY, start=start)


def test_a_training_without_labels_that_is_not_finished_gives_nothing_to_begin_with(
    folder: Path, pretrained: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    shutil.copy(pretrained / PRETRAINING_CHECKPOINT, start)
    with pytest.raises(TrainingDataError, match="once it is finished, `familiar train pre"):
        train_extractor(folder, tmp_path / "out", TINY, start=start)


def test_what_is_held_out_may_not_have_been_learned_without_labels(
    folder: Path, heads: tuple[Path, Path], tmp_path: Path
) -> None:
    train([*heads, folder], tmp_path / "start", replace(SMALL, epochs=1))
    with pytest.raises(TrainingDataError, match="learned 12 of the pictures that are held out now"):
        train_extractor(folder, tmp_path / "out", TINY, start=tmp_path / "start")
    train_extractor(
        folder, tmp_path / "out", replace(TINY, held_out=0, epochs=1), start=tmp_path / "start"
    )


def test_a_card_says_what_its_network_learned_beforehand(
    folder: Path, pretrained: Path, tmp_path: Path
) -> None:
    once = replace(TINY, epochs=1)
    train_extractor(folder, tmp_path, once, start=pretrained)
    report_extractor(tmp_path, folder, once, Origin("familiar"), start=pretrained)
    card = (tmp_path / "README.md").read_text()
    assert "`many`: 48 pictures without labels, learned beforehand" in card
    assert "`few`: 18 pictures without labels, learned beforehand" in card


def test_whole_pictures_are_squeezed_and_a_picture_network_begins_with_them(
    folder: Path, heads: tuple[Path, Path], tmp_path: Path
) -> None:
    assert fit_of(of_pictures().of) == "squeeze"
    whole = replace(SMALL, of=Kind.PICTURES, epochs=1)
    train(heads, tmp_path / "start", whole)
    known = read_prints(tmp_path / "start" / LEARNED)
    padded, squeezed = (
        np.concatenate([load_unlabelled(each, SMALL.stored_side, fit) for each in heads])
        for fit in ("pad", "squeeze")
    )
    assert np.array_equal(known.hashes, prints_of(squeezed).hashes)
    assert not np.array_equal(known.hashes, prints_of(padded).hashes)
    options = replace(TINY, of=Kind.PICTURES, epochs=1)
    train_extractor(folder, tmp_path / "out", options, start=tmp_path / "start")
    report_pretraining(tmp_path / "start", Origin("familiar train pretraining", ""))
    assert "# Trunk of a picture network" in (tmp_path / "start" / "README.md").read_text()


def test_both_kinds_have_the_shapes_of_the_trainings_that_begin_with_them() -> None:
    for kind, begun in (
        (Pretraining(), ExtractorTraining()),
        (of_pictures(), pictures_extractor()),
    ):
        assert (kind.shape, kind.of) == (begun.shape, begun.of)


def test_the_card_says_what_it_is_and_what_it_came_from(pretrained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(pretrained, out)
    assert report_pretraining(out, Origin("familiar train pretraining many few", "ours")) is None
    card = (out / "README.md").read_text()
    for told in (
        "# Trunk of a face network",
        "`many`: 48 pictures",
        "`few`: 18 pictures",
        "ours",
        "Seed 12",
        "--start",
    ):
        assert told in card
    assert (out / "figures" / "curves.png").is_file()
