"""A tiny training on drawn pictures, from start to the weights."""

from __future__ import annotations

import colorsys
import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import pytest
import torch
from torch import nn

import core.train.extractor as extractor_training
import core.train.report as training_report
from core.methods.training import Budget, trainings
from core.models import SHIPPED, ModelError, irse50
from core.models.aligned import described as described_beside
from core.models.backbones import EmbeddingNetwork, NetworkShape
from core.models.extractor import FamiliarExtractor
from core.models.irse50 import IrSe50Description
from core.retrieval import retrieval
from core.train.attributes import COLOURS, estimated
from core.train.copies import prints_of, read_prints
from core.train.extractor import TrainingProgress, _Run, _write_results, embedded, train
from core.train.extractor_names import Backbone, Kind, Loss
from core.train.extractor_options import (
    UNIT_LENGTH,
    ExtractorTraining,
    described,
    of_loss,
    of_pictures,
)
from core.train.face_data import LabelledPictures, TrainingDataError, load_labelled, split_by_label
from core.train.held_out import parted
from core.train.networks import dimensions_of, new_network
from core.train.origin import Origin
from core.train.report import drawn_of, load_checks, report_extractor
from core.train.results import EXTRACTOR_CHECKPOINT, LEARNED, METRICS
from core.train.trained import TrainedNetwork, learned_among
from tests.core.train.small_training import TINY, draw_folder, same_weights, saved_again


def test_a_training_writes_weights_curves_and_figures(trained: Path) -> None:
    metrics = json.loads((trained / METRICS).read_text())
    assert [point["epoch"] for point in metrics["curve"]] == [1, 2, 3]
    assert metrics["labels"] == 6
    last = metrics["curve"][-1]["held out"]
    assert last["pictures"] == 12
    assert 0.0 <= last["mean_average_precision"] <= 1.0
    assert (trained / EXTRACTOR_CHECKPOINT).exists()


def test_a_training_keeps_what_its_labelled_pictures_are_known_again_by(
    folder: Path, others: Path, trained: Path
) -> None:
    everything = load_labelled(folder, TINY.stored_side)
    learned, apart = parted(everything, TINY)
    assert apart is not None
    assert learned_among(learned.pixels, [trained]) == len(learned.labels) == 36
    assert learned_among(apart.pixels, [trained]) == 0
    assert learned_among(everything.pixels, [trained, trained]) == 36
    with pytest.raises(ModelError, match="does not hold what `familiar train extractor` wrote"):
        learned_among(everything.pixels, [others, trained])
    kept, known = read_prints(trained / LEARNED), prints_of(learned.pixels)
    assert np.array_equal(kept.hashes, known.hashes)
    assert np.array_equal(kept.colours, known.colours)


def test_the_same_seed_gives_the_same_weights(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    again = train(folder, tmp_path / "again", TINY, unlabelled=others)
    assert same_weights(trained / "weights.safetensors", again)
    other = train(folder, tmp_path / "other", replace(TINY, seed=12), unlabelled=others)
    assert not same_weights(trained / "weights.safetensors", other)


def test_labels_of_further_folders_are_learned_and_none_is_held_out(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    further = draw_folder(tmp_path / "further", characters=3, name="further", seed=6)
    train(folder, tmp_path / "out", TINY, also=[further], unlabelled=others)
    metrics = json.loads((tmp_path / "out" / METRICS).read_text())
    assert metrics["labels"] == 9
    assert metrics["curve"][-1]["held out"]["pictures"] == 12
    assert not same_weights(trained / "weights.safetensors", tmp_path / "out/weights.safetensors")
    origin = Origin("familiar train extractor", "")
    report_extractor(tmp_path / "out", folder, TINY, origin, also=[further])
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`further`: 18 pictures of 3 more" in card


def test_progress_is_reported_after_every_step(folder: Path, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    train(folder, tmp_path, replace(TINY, epochs=2), progress=seen.append)
    assert [report.step for report in seen] == list(range(1, seen[0].steps + 1))
    assert [report.epoch for report in seen if report.mean_average_precision is not None] == [1, 2]


@pytest.mark.parametrize(
    ("seconds", "first"), [(300.0, 9), (0.0, 10)], ids=["from the epoch", "from the step"]
)
def test_killed_and_resumed_gives_the_same_weights(
    folder: Path, others: Path, trained: Path, tmp_path: Path, seconds: float, first: int
) -> None:
    """`kill -9` after step 9, in the middle of the third epoch, then a second process goes on.

    The checkpoint is the last epoch's, or, where so many seconds are over, the last step's.
    """
    program = textwrap.dedent(f"""
        import os, signal, sys
        from pathlib import Path
        import torch
        torch.set_num_threads(1)
        import importlib.util
        spec = importlib.util.spec_from_file_location("tiny", {__file__!r})
        tiny = importlib.util.module_from_spec(spec)
        sys.modules["tiny"] = tiny
        spec.loader.exec_module(tiny)
        tiny.extractor_training.SECONDS_UNTIL_KEPT = {seconds}
        def progress(report):
            if report.epoch == 2 and report.step % 5 == 4:
                os.kill(os.getpid(), signal.SIGKILL)
        tiny.train(Path({str(folder)!r}), Path({str(tmp_path)!r}), tiny.TINY,
                   unlabelled=Path({str(others)!r}), progress=progress)
    """)
    killed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(__file__).parents[3],
        env=os.environ | {"PYTHONPATH": "."},
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "weights.safetensors").exists()
    seen: list[TrainingProgress] = []
    weights = train(folder, tmp_path, TINY, unlabelled=others, resume=True, progress=seen.append)
    assert (seen[0].epoch, seen[0].step) == (2, first)
    assert same_weights(weights, trained / "weights.safetensors")
    curve = json.loads((tmp_path / METRICS).read_text())["curve"]
    assert [point["epoch"] for point in curve] == [1, 2, 3]
    unbroken = json.loads((trained / METRICS).read_text())["curve"]
    assert [point["loss"] for point in curve] == [point["loss"] for point in unbroken]


def test_a_finished_training_is_not_replaced(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(TrainingDataError, match="out holds a finished training; choose another"):
        train(folder, out, replace(TINY, seed=12), unlabelled=others)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    seen: list[TrainingProgress] = []
    weights = train(folder, out, TINY, unlabelled=others, resume=True, progress=seen.append)
    assert seen == []
    assert same_weights(weights, trained / "weights.safetensors")


def test_a_training_is_not_written_over_another(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(trained / EXTRACTOR_CHECKPOINT, begun)
    with pytest.raises(TrainingDataError, match="was begun; go on with it with --resume"):
        train(folder, begun, TINY, unlabelled=others)
    for name in ("metrics.json", "checkpoint.safetensors", "familiar-face"):
        other = tmp_path / name
        (other / name).mkdir(parents=True)
        with pytest.raises(TrainingDataError, match="of another kind, or its"):
            train(folder, other, TINY, unlabelled=others, resume=True)
        with pytest.raises(TrainingDataError, match=r"holds a (finished )?training"):
            train(folder, other, TINY, unlabelled=others)
        assert [path.name for path in other.iterdir()] == [name]


def test_a_loss_that_is_no_number_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        TrainingDataError, match=r"no longer a number at step \d+; start anew with another"
    ):
        train(folder, tmp_path / "out", replace(TINY, temperature=0.0))


def test_of_a_large_set_some_pictures_are_measured(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    monkeypatch.setattr(training_report, "MEASURED", 20)
    seen: list[int] = []

    def drawn(place: Path, pictures: LabelledPictures, *_: object) -> tuple[Path, ...]:
        seen.append(len(pictures.labels))
        return ()

    monkeypatch.setattr(training_report, "draw_figures", drawn)
    checks = {"check": load_labelled(folder, TINY.stored_side)}
    report_extractor(out, folder, TINY, Origin("familiar"), checks=checks)

    card = (out / "README.md").read_text()
    assert "| held out | 2 | 12 |" in card
    assert "| check | 3 | 18 |" in card
    assert "Figures of `check` are those of 18 of its 48 pictures, drawn by chance." in card
    assert "Figures of `held out` are those" not in card
    assert seen == [12, 18]


@pytest.mark.parametrize(
    ("counts", "most", "labels", "left"),
    [
        ([6] * 8, 48, 8, 48),
        ([6] * 8, 47, 7, 42),
        ([6] * 8, 5, 2, 4),
        ([40, 50, 3], 20, 2, 20),
    ],
    ids=["all", "whole labels", "two at least", "large labels"],
)
def test_no_more_pictures_are_drawn_than_are_asked_for(
    counts: list[int], most: int, labels: int, left: int
) -> None:
    all_labels = np.repeat(np.arange(len(counts)), counts)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (len(all_labels), 8, 8, 3)).astype(np.uint8)
    everyone = LabelledPictures(pixels, all_labels, tuple("abcdefgh"[: len(counts)]))
    once, again = drawn_of(everyone, most), drawn_of(everyone, most)
    assert np.array_equal(once.pixels, again.pixels)
    assert len(once.names) >= 2
    assert len(once.labels) <= most
    if counts[0] == 6:
        assert (len(once.names), len(once.labels)) == (labels, left)
    for row, label in zip(once.pixels, once.labels, strict=True):
        (place,) = np.flatnonzero((pixels == row).all((1, 2, 3)))
        assert everyone.names[all_labels[place]] == once.names[label]


def test_a_card_is_there_before_its_figures(
    folder: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)

    def too_large(*_: object) -> tuple[Path, ...]:
        raise MemoryError

    monkeypatch.setattr(training_report, "draw_figures", too_large)
    with pytest.raises(MemoryError):
        report_extractor(out, folder, TINY, Origin("familiar"))
    assert "| held out | 2 | 12 |" in (out / "README.md").read_text()


def test_a_card_counts_what_was_learned_without_labels(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    out, more, check = tmp_path / "out", tmp_path / "more", tmp_path / "check"
    shutil.copytree(trained, out)
    shutil.copytree(others, more)
    held = split_by_label(8, TINY.held_out, TINY.seed)[1]
    saved_again(folder / sorted(path.name for path in folder.iterdir())[held[0]], more, "held")
    for label in ("other2", "other5"):
        (check / label).mkdir(parents=True)
        saved_again(others / label, check / label, "again")

    checks = load_checks([check], TINY)
    report_extractor(out, folder, TINY, Origin("familiar"), unlabelled=more, checks=checks)

    card = (out / "README.md").read_text()
    assert "`more`: 48 pictures without labels" in card
    assert "12 pictures of `check` or copies of them were trained on" in card


def test_files_that_cannot_be_read_are_told(folder: Path, others: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    shutil.copytree(folder, pictures)
    (pictures / "c0" / "empty.png").touch()
    (tmp_path / "more").mkdir()
    for name in ("0.png", "1.png"):
        shutil.copy(others / "other0" / name, tmp_path / "more")
    (tmp_path / "more" / "broken.jpg").write_text("no picture")
    left_out: list[str] = []
    train(
        pictures,
        tmp_path / "out",
        replace(TINY, epochs=1),
        unlabelled=tmp_path / "more",
        left_out=left_out.append,
    )
    assert [Path(name).name for name in left_out] == ["empty.png", "broken.jpg"]


def test_the_last_epochs_see_larger_squares() -> None:
    run = _Run(replace(TINY, epochs=5), labelled(), None)
    seen = []
    while run.step < run.steps:
        seen.append(run.side())
        run.step += 1
    assert seen == [24] * (3 * run.steps // 5) + [32] * (2 * run.steps // 5)


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
@pytest.mark.parametrize("options", [ExtractorTraining(), of_pictures()], ids=["faces", "pictures"])
def test_the_last_epoch_of_a_short_training_is_at_the_side_that_is_used(
    options: ExtractorTraining, epochs: int
) -> None:
    run = _Run(replace(TINY, sides=options.sides, epochs=epochs), labelled(), None)
    run.step = run.steps - 1
    assert run.side() == options.sides[-1][1]


@pytest.mark.parametrize("epochs", [5, 6, 7, 10, 14])
@pytest.mark.parametrize("options", [ExtractorTraining(), of_pictures()], ids=["faces", "pictures"])
def test_longer_trainings_change_sides_after_their_shares(
    options: ExtractorTraining, epochs: int
) -> None:
    run = _Run(replace(TINY, sides=options.sides, epochs=epochs), labelled(), None)
    for epoch in range(epochs):
        run.step = epoch * run.steps // epochs
        until = [side for share, side in options.sides if epoch < round(share * epochs)]
        assert run.side() == until[0]


def test_a_device_that_computes_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="meta computes nothing; choose cpu"):
        replace(TINY, device="meta")


def test_a_name_as_text_means_the_loss_and_the_network_that_it_names() -> None:
    triplets = of_loss(TINY, cast(Loss, "triplet"), cast(Backbone, "familiar"), 0.3)
    assert triplets == of_loss(TINY, Loss.TRIPLET, Backbone.FAMILIAR, 0.3)
    batch = torch.randn(8, 4)
    labels, rows = torch.arange(8) % 2, np.arange(8)
    losses = [
        _Run(each, labelled(), None)._loss(batch, labels, rows)
        for each in (triplets, replace(triplets, loss=Loss.TRIPLET))
    ]
    assert losses[0] == losses[1]
    assert losses[0].ndim == 0
    assert type(new_network(cast(Backbone, "familiar"), TINY.shape)) is EmbeddingNetwork


@pytest.mark.parametrize("loss", [Loss.TRIPLET, Loss.TRIPLET_SEMIHARD])
def test_triplets_are_chosen_among_four_pictures_of_each_label(loss: Loss) -> None:
    """As many labels as the rows of `familiar compare-methods` have, which are the same method."""
    of_faces = of_loss(ExtractorTraining(), loss)
    assert (of_faces.identities, of_faces.pictures) == (16, 4)
    rows = trainings(Budget())
    assert {(each.identities, each.pictures) for each in rows.values()} == {(16, 4)}
    of_wholes = of_loss(of_pictures(), loss)
    assert (of_wholes.identities, of_wholes.pictures) == (18, 4)
    assert of_loss(ExtractorTraining(), Loss.ARCFACE).pictures == 2


@pytest.mark.parametrize("margin", [float("inf"), float("nan")])
def test_a_margin_that_is_no_finite_number_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match="is a finite number; choose one"):
        of_loss(TINY, Loss.TRIPLET, triplet_margin=margin)


def test_a_batch_has_all_unlabelled_pictures_where_there_are_fewer_than_it_takes() -> None:
    run = _Run(replace(TINY, unlabelled_in_batch=8), labelled(), labelled().pixels[:3])
    assert run.passes is not None
    assert sorted(run.passes.draw(0)) == [0, 1, 2]
    assert np.isfinite(run.take_step())


def test_pictures_without_labels_are_seen_by_losses_that_learn_from_them_alone() -> None:
    others = labelled().pixels
    assert _Run(TINY, labelled(), others).passes is not None
    assert _Run(replace(TINY, loss=Loss.ARCFACE), labelled(), others).passes is None


def test_checking_leaves_the_network_in_training_mode_and_unchanged() -> None:
    """Checked in training mode, a network would answer by its batch and move its averages."""
    network = EmbeddingNetwork(TINY.shape)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pictures = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3)).astype(np.uint8)
    all_together = embedded(network, pictures, 32)
    alone = np.concatenate([embedded(network, picture[None], 32) for picture in pictures])
    assert np.allclose(all_together, alone, atol=1e-5)
    assert network.training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def labelled() -> LabelledPictures:
    rng = np.random.default_rng(1)
    return LabelledPictures(
        rng.integers(0, 256, (24, 32, 32, 3)).astype(np.uint8),
        np.repeat(np.arange(6), 4),
        tuple("abcdef"),
    )


def test_what_is_kept_is_the_running_average_of_the_weights() -> None:
    run = _Run(replace(TINY, average=0.9), labelled(), None)
    name = next(iter(dict(run.network.named_parameters())))

    def now(network: nn.Module) -> torch.Tensor:
        return network.state_dict()[name].clone()

    expected = now(run.average)
    assert torch.equal(expected, now(run.network))
    for step in range(1, 4):
        run.take_step()
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * now(run.network)
        assert torch.allclose(now(run.average), expected, atol=1e-6)
    assert not torch.allclose(now(run.average), now(run.network))


def test_held_out_figures_are_those_of_what_is_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[np.ndarray] = []

    def watched(vectors: np.ndarray, *others: Any) -> Any:
        measured.append(vectors)
        return retrieval(vectors, *others)

    monkeypatch.setattr(extractor_training, "retrieval", watched)
    train(folder, tmp_path, replace(TINY, epochs=1))
    apart = parted(load_labelled(folder, TINY.stored_side), TINY)[1]
    assert apart is not None
    run = torch.load(tmp_path / EXTRACTOR_CHECKPOINT, weights_only=True)["run"]
    of = {}
    for name in ("average", "network"):
        network = EmbeddingNetwork(TINY.shape)
        network.load_state_dict(run[name])
        of[name] = embedded(network, apart.pixels, 32)
    (found,) = measured
    assert np.allclose(found, of["average"], atol=1e-5)
    assert not np.allclose(found, of["network"], atol=1e-2)


@pytest.mark.parametrize(("scale", "length"), [(3e4, 5.0), (1e-3, None)], ids=["long", "short"])
def test_a_gradient_that_is_too_long_is_shortened(scale: float, length: float | None) -> None:
    run = _Run(replace(TINY, scale=scale, contrast=0.0), labelled(), None)
    lengths: list[float] = []

    def watched() -> None:
        gradients = [each.grad.flatten() for each in run.network.parameters()]
        lengths.append(float(torch.cat(gradients).norm()))

    run.optimiser.step = watched
    run.take_step()
    assert lengths == [pytest.approx(length, rel=1e-4)] if length else lengths[0] < 1.0


def test_the_learning_rate_rises_and_falls() -> None:
    run = _Run(replace(TINY, rate=1.0, warmup=0.1, epochs=20, steps=100), labelled(), None)
    rates = []
    for step in range(run.steps):
        run.step = step
        rates.append(run.learning_rate())
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert max(rates) == 1.0
    assert rates[10 + 45] == pytest.approx(0.505)  # half of the way down to a hundredth
    assert 0.01 < rates[-1] < 0.012
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_the_contrastive_loss_is_half_of_the_shipped_one() -> None:
    without, once, twice = (
        _Run(replace(TINY, contrast=contrast), labelled(), None).take_step()
        for contrast in (0.0, 1.0, 2.0)
    )
    assert once > without
    assert twice - once == pytest.approx(once - without, rel=1e-4)


def test_both_views_of_an_unlabelled_picture_are_one_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = labelled()
    run = _Run(replace(TINY, unlabelled_in_batch=4), known, known.pixels[:6])
    seen: list[list[int]] = []
    loss = run._loss

    def watched(vectors: torch.Tensor, identities: torch.Tensor, rows: Any) -> torch.Tensor:
        seen.append(identities[len(rows) :].tolist())
        return loss(vectors, identities, rows)

    monkeypatch.setattr(run, "_loss", watched)
    run.take_step()
    (of_unlabelled,) = seen
    assert len(of_unlabelled) == 8
    assert of_unlabelled[:4] == of_unlabelled[4:]
    assert len(set(of_unlabelled)) == 4
    assert min(of_unlabelled) >= len(known.names)


def test_what_is_dropped_at_random_is_the_same_after_going_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Dropping(EmbeddingNetwork):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(nn.functional.dropout(x, 0.5, self.training))

    def new_network(_: str, shape: NetworkShape) -> Dropping:
        return Dropping(shape)

    monkeypatch.setattr(extractor_training, "new_network", new_network)
    whole = _Run(TINY, labelled(), None)
    for _ in range(3):
        whole.take_step()
    half = _Run(TINY, labelled(), None)
    half.take_step()
    state = copy.deepcopy(half.state())
    torch.manual_seed(99)  # whatever happened meanwhile
    rest = _Run(TINY, labelled(), None)
    rest.restore(state)
    for _ in range(2):
        rest.take_step()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, rest.network.state_dict()[name]), name


def test_what_it_has_to_be_told_of_a_trained_ir_se50_stands_beside_it(tmp_path: Path) -> None:
    run = _Run(TINY, labelled(), None)
    _write_results(tmp_path, run, [])
    assert not (tmp_path / "weights.json").exists()
    run.options = replace(TINY, backbone=Backbone.IR_SE50, sides=((1.0, 112),))
    _write_results(tmp_path, run, [])
    stated = described_beside(tmp_path / "weights.safetensors", IrSe50Description)
    assert (stated.channels, stated.margin, stated.lift) == ("rgb", 0.55, 0.4)
    assert not stated.aligned


@pytest.mark.parametrize(
    ("loss", "refused"),
    [(Loss.TRIPLET, "Euclidean"), (Loss.ATTRIBUTES, "Manhattan"), (Loss.TRIPLET_SEMIHARD, "")],
)
def test_a_trained_ir_se50_is_taken_where_cosines_compare_its_vectors(
    loss: Loss, refused: str, tmp_path: Path
) -> None:
    """Its weights here are of another network, as is said of those that are not refused before."""
    run = _Run(TINY, labelled(), None)
    run.options = replace(TINY, loss=loss, backbone=Backbone.IR_SE50, sides=((1.0, 112),))
    _write_results(tmp_path, run, [])
    shipped = FamiliarExtractor.load(SHIPPED / "familiar-character")
    expected = f"compared by their {refused} distance, not by" if refused else "IR-SE50"
    with pytest.raises(ModelError, match=expected):
        irse50.load(tmp_path / "weights.safetensors", shipped)


def test_squares_are_kept_as_large_as_the_largest_network_sees_them() -> None:
    for options in (ExtractorTraining(), of_pictures()):
        wide = of_loss(options, Loss.ARCFACE, Backbone.IR_SE50)
        assert wide.stored_side >= max(side for _, side in wide.sides) == 112
        assert of_loss(options, Loss.ARCFACE).stored_side == options.stored_side


def test_a_step_starts_from_fresh_gradients() -> None:
    """What an earlier step left behind must not move the weights."""
    clean, soiled = _Run(TINY, labelled(), None), _Run(TINY, labelled(), None)
    for parameter in soiled.network.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    assert clean.take_step() == soiled.take_step()
    for one, other in zip(clean.network.parameters(), soiled.network.parameters(), strict=True):
        assert torch.equal(one, other)


def discs(hues: np.ndarray, each: int, seed: int) -> LabelledPictures:
    """A small disc of each character's hue, on a ground that is any colour in every picture.

    The ground is most of a picture, so that vectors which describe the whole of it, as those of
    an untrained network do, find pictures with the same ground.
    """
    rng = np.random.default_rng(seed)
    pixels = []
    for hue in hues:
        colour = [255 * value for value in colorsys.hsv_to_rgb(hue, 0.9, 0.9)]
        for _ in range(each):
            ground = rng.integers(0, 256, 3) + rng.integers(-60, 61, (32, 32, 3))
            picture = np.clip(ground, 0, 255).astype(np.uint8)
            x, y = rng.integers(14, 19, 2).tolist()
            pixels.append(cv2.circle(picture, (x, y), 7, colour, -1))
    names = tuple(f"hue {hue:.3f}" for hue in hues)
    return LabelledPictures(np.stack(pixels), np.repeat(np.arange(len(hues)), each), names)


def test_learning_tells_characters_apart_that_it_has_not_seen() -> None:
    # One thread, as in `trained`: many would wait for each other more than they compute.
    torch.set_num_threads(1)
    known = discs(np.arange(8) / 8, 8, seed=11)
    unseen = discs((np.arange(8) + 0.5) / 8, 6, seed=111)
    shape, sides = NetworkShape((16, 32), (1, 1), 16), ((1.0, 24),)
    options = replace(TINY, shape=shape, sides=sides, identities=8, epochs=20, rate=1e-2)
    run = _Run(options, known, None)

    def found_first() -> float:
        found = retrieval(embedded(run.average, unseen.pixels, 24), unseen.labels)
        return found.precision_at_1

    # By chance 5 of 47.
    assert found_first() < 0.5
    losses = [run.take_step() for _ in range(run.steps)]
    assert np.mean(losses[-20:]) < 0.8 * np.mean(losses[:20])
    assert found_first() > 0.8


LOSSES = [Loss.ARCFACE, Loss.TRIPLET, Loss.TRIPLET_SEMIHARD, Loss.ATTRIBUTES]


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_trains_and_its_network_is_loaded_as_it_was(
    loss: Loss, folder: Path, tmp_path: Path
) -> None:
    options = replace(of_loss(TINY, loss), epochs=1, bfloat16=False)
    train(folder, tmp_path, options)
    figures = json.loads((tmp_path / METRICS).read_text())["curve"][-1]
    assert figures["held out"]["pictures"] == 12
    network = TrainedNetwork(tmp_path)
    pictures = load_labelled(folder, network.side).pixels[:5]
    vectors = network.embed(pictures)
    lengths = np.linalg.norm(vectors, axis=1)
    assert np.allclose(lengths, 1, atol=1e-5) is (loss in UNIT_LENGTH)
    again = np.concatenate([network.embed(picture[None]) for picture in pictures])
    assert np.allclose(vectors, again, atol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_of_every_loss_moves_the_weights_by_its_own_gradients(loss: Loss) -> None:
    options = of_loss(TINY, loss)
    clean, soiled = _Run(options, labelled(), None), _Run(options, labelled(), None)
    for parameter in (*soiled.network.parameters(), *soiled.learned.parameters()):
        parameter.grad = torch.full_like(parameter, 100.0)
    before = [parameter.detach().clone() for parameter in clean.network.parameters()]
    assert clean.take_step() == soiled.take_step()
    after = list(clean.network.parameters())
    assert any(not torch.equal(one, other) for one, other in zip(before, after, strict=True))
    for one, other in zip(after, soiled.network.parameters(), strict=True):
        assert torch.equal(one, other)


def test_ir_se50_answers_alike_in_training_and_out_of_it() -> None:
    """Its vectors before unit length, in evaluation mode: dropout and batches must not show."""
    network = new_network(Backbone.IR_SE50, TINY.shape)
    pictures = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    vectors = embedded(network, pictures, 112, unit=False)
    assert vectors.shape == (3, dimensions_of(Backbone.IR_SE50, TINY.shape))
    assert network.training
    assert np.array_equal(vectors, embedded(network, pictures, 112, unit=False))
    unit = embedded(network, pictures, 112)
    assert unit == pytest.approx(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), abs=1e-5)


def test_other_sides_than_ir_se50_sees_are_refused() -> None:
    with pytest.raises(ValueError, match="112"):
        replace(TINY, backbone=Backbone.IR_SE50)


@pytest.mark.parametrize(
    ("steps", "ends"),
    # As many steps in each epoch; one less in some; fewer steps than epochs.
    [(6, [(1, 2), (2, 4), (3, 6)]), (7, [(1, 3), (2, 5), (3, 7)]), (2, [(1, 1), (3, 2)])],
)
def test_so_many_steps_are_taken_as_are_asked_for(
    folder: Path, tmp_path: Path, steps: int, ends: list[tuple[int, int]]
) -> None:
    seen: list[TrainingProgress] = []
    options = replace(TINY, epochs=3, steps=steps)
    train(folder, tmp_path, options, progress=seen.append)
    assert [report.step for report in seen] == list(range(1, steps + 1))
    ended = [report for report in seen if report.ended]
    assert [(report.epoch, report.step) for report in ended] == ends
    curve = json.loads((tmp_path / METRICS).read_text())["curve"]
    assert [point["epoch"] for point in curve] == [epoch for epoch, _ in ends]


@pytest.mark.parametrize("steps", [1, 2, 5, 7])
def test_the_last_of_few_steps_is_at_the_side_that_is_used(steps: int) -> None:
    run = _Run(replace(TINY, epochs=4, steps=steps), labelled(), None)
    run.step = run.steps - 1
    assert run.side() == 32


def test_a_batch_has_all_labels_where_there_are_fewer_than_it_takes() -> None:
    known = labelled()
    run = _Run(replace(TINY, identities=len(known.names) + 5, pictures=2), known, None)
    assert set(known.labels[run.batches.draw(0)]) == set(range(len(known.names)))
    assert run.steps == 3 * (len(known.labels) // (2 * len(known.names)))


def test_what_a_checkpoint_must_agree_with_is_everything_but_the_device() -> None:
    told = described(TINY, ("a",))
    assert described(replace(TINY, device="cuda"), ("a",)) == told
    others = [
        replace(TINY, loss=Loss.ARCFACE),
        replace(TINY, steps=7),
        replace(TINY, without=("a",)),
        replace(TINY, shape=replace(TINY.shape, halvings=1)),
        replace(TINY, augmentation=replace(TINY.augmentation, backdrop=0.9)),
    ]
    assert len({told, *(described(other, ("a",)) for other in others)}) == 6
    assert described(TINY, ("b",)) != told


def test_faces_are_padded_and_whole_pictures_are_squeezed() -> None:
    assert (ExtractorTraining().of, ExtractorTraining().fit) == (Kind.FACES, "pad")
    assert (of_pictures().of, of_pictures().fit) == (Kind.PICTURES, "squeeze")


def test_a_finished_training_is_reported_on(
    folder: Path, others: Path, trained: Path, tmp_path: Path
) -> None:
    for name in (METRICS, LEARNED, "weights.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    origin = Origin("familiar train extractor drawn --seed 11", "Drawn by code: free to use.")
    damaged = tmp_path / folder.name
    shutil.copytree(folder, damaged)
    (damaged / "c0" / "damaged.jpg").write_bytes(b"\xff\xd8 no picture")
    told: list[str] = []
    checks = load_checks([damaged], TINY, told.append)
    assert told == [str(damaged / "c0" / "damaged.jpg")]
    report = report_extractor(tmp_path, folder, TINY, origin, unlabelled=others, checks=checks)
    assert report is None
    card = (tmp_path / "README.md").read_text()
    for said in ("Drawn by code", "--seed 11", "Seed 11", "| held out | 2 | 12 |", "Limits"):
        assert said in card
    for figure in ("similarities", "roc", "confused", "retrieval"):
        assert (tmp_path / "figures" / "held-out" / f"{figure}.png").exists()
    assert (tmp_path / "figures" / "curves.png").exists()
    shown = re.findall(r"\]\((.+?)\)", card)
    assert len(shown) == 9
    assert all((tmp_path / file).exists() for file in shown)


@pytest.mark.parametrize("name", ["loss", "epoch", "held out", "held-out"])
def test_a_set_may_have_any_name(folder: Path, trained: Path, tmp_path: Path, name: str) -> None:
    out, check = tmp_path / "out", tmp_path / name
    shutil.copytree(trained, out)
    shutil.copytree(folder, check)

    checks = load_checks([check], TINY)
    report_extractor(out, folder, TINY, Origin("familiar train extractor"), checks=checks)

    card = (out / "README.md").read_text()
    (told,) = checks
    assert f"| {told} |" in card.replace("`", "")
    assert "| held out |" in card.replace("`", "")
    assert "36 pictures of `" in card
    assert "were trained on: its figures show what was remembered" in card
    assert len(list((out / "figures").iterdir())) >= 2


def test_sets_of_one_name_are_told_apart_by_their_paths(folder: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        shutil.copytree(folder, tmp_path / place / "val")
    checks = load_checks([tmp_path / "a" / "val", tmp_path / "b" / "val", folder], TINY)
    assert list(checks) == [f"{tmp_path}/a/val", f"{tmp_path}/b/val", folder.name]


def test_colours_of_hair_and_eyes_are_read_off_a_drawn_face() -> None:
    face = np.full((96, 96, 3), 255, np.uint8)
    cv2.ellipse(face, (48, 46), (34, 34), 0, 0, 360, (40, 60, 200), -1)
    cv2.circle(face, (48, 66), 22, (255, 224, 200), -1)
    for x in (36, 60):
        cv2.circle(face, (x, 64), 6, (30, 160, 60), -1)
    hair, eyes = estimated(face[None])[0]
    assert (COLOURS[hair], COLOURS[eyes]) == ("blue", "green")
