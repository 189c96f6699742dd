"""A checkpoint is gone on from where it is whole and of the same training, or refused."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from core.models.tensorflow_runtime import Module, tf
from core.train import session as module
from core.train.session import (
    BoxTraining,
    Session,
    TrainingError,
    TrainingStep,
    precision_of,
    refuse_taken,
    share_gpus,
    trains_on_gpu,
)

OPTIONS = BoxTraining(
    epochs=2, rate=0.1, decay=0.0, warm_up=0, average=0.9, tune_every=2, precision="float32"
)


class Network(Module):
    """One layer, of a kernel and a number."""

    def __init__(self, columns: int = 16) -> None:
        super().__init__()
        self.kernel = tf.Variable(tf.ones([4, columns]), name="kernel")
        self.scale = tf.Variable(1.0, name="scale")


def begun(columns: int = 16, options: BoxTraining = OPTIONS) -> Session:
    network, average = Network(columns), Network(columns)
    return Session(options, network, average, data="drawn")


def rates(options: BoxTraining, steps: int, folder: Path) -> list[float]:
    """The learning rate of each step of a whole training."""
    found: list[float] = []

    def step_on(_batch: int, rate: Any) -> float:
        found.append(float(rate))
        return 0.0

    session = begun(options=options)
    for _ in range(options.epochs):
        session.run_epoch(
            range(steps),
            step_on,
            steps=steps,
            checkpoint=folder / "checkpoint.safetensors",
            progress=lambda _: None,
        )
    return found


def kept_in(folder: Path) -> Path:
    """A checkpoint after one epoch, with weights of its own."""
    session = begun()
    session.variables["kernel"].assign(tf.fill([4, 16], 7.0))
    session.epoch, session.seconds, session.loss, session.tuning = 1, 2.5, 0.25, None
    session.save(folder / "checkpoint.safetensors")
    return folder / "checkpoint.safetensors"


def test_what_was_kept_is_taken_up(tmp_path: Path) -> None:
    session = begun()
    session.restore(kept_in(tmp_path))
    assert (session.epoch, session.seconds, session.loss, session.tuning) == (1, 2.5, 0.25, None)
    np.testing.assert_array_equal(session.variables["kernel"].numpy(), np.full((4, 16), 7.0))
    assert session.variables["scale"].shape == ()


def rows_of(curve: Path) -> list[dict[str, str]]:
    with curve.open(newline="") as file:
        return list(csv.DictReader(file))


class Steps:
    """Steps of an epoch of eight with the losses 1.0, 2.0, ...; notes which, and their rates."""

    def __init__(self, stops_at: int | None = None, first: float = 1.0) -> None:
        self._first = first
        self.seen: list[tuple[int, float]] = []
        self.told: list[TrainingStep] = []
        self._stops_at = stops_at

    def __call__(self, batch: int, rate: Any) -> float:
        if batch == self._stops_at:
            raise KeyboardInterrupt
        self.seen.append((batch, float(rate)))
        return batch + self._first

    def learn(self, session: Session, checkpoint: Path) -> None:
        drawn = range(session.step, 8)
        session.run_epoch(drawn, self, steps=8, checkpoint=checkpoint, progress=self.told.append)


def test_a_training_that_is_stopped_within_an_epoch_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_UNTIL_KEPT", 0.0)
    checkpoint = tmp_path / "checkpoint.safetensors"
    whole, stopped, further = Steps(), Steps(stops_at=5), Steps()
    whole.learn(begun(), tmp_path / "other.safetensors")
    with pytest.raises(KeyboardInterrupt):
        stopped.learn(begun(), checkpoint)

    session = begun()
    session.restore(checkpoint)
    assert (session.epoch, session.step) == (0, 5)
    further.learn(session, checkpoint)

    assert stopped.seen + further.seen == whole.seen
    assert stopped.told + further.told == whole.told
    assert session.loss == np.mean(range(1, 9))
    assert (session.epoch, session.step) == (1, 0)
    again = Steps()
    again.learn(session, checkpoint)
    assert [batch for batch, _ in again.seen] == list(range(8))
    assert session.loss == np.mean(range(1, 9))


def test_not_every_step_is_kept(tmp_path: Path) -> None:
    Steps().learn(begun(), tmp_path / "checkpoint.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("finished", "gone"), [(False, "it"), (True, "that folder")])
def test_what_is_to_be_removed_lets_the_training_start_again(
    finished: bool, gone: str, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"no checkpoint")
    if finished:
        (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(TrainingError, match=f"remove {gone} and start again"):
        begun().restore(path)
    path.unlink()
    if not finished:
        refuse_taken(tmp_path, resume=False)


def written_anew(
    change: Callable[[dict[str, np.ndarray], dict[str, str]], object],
) -> Callable[[Path], None]:
    """Changes tensors and facts of a checkpoint."""

    def write(path: Path) -> None:
        with safe_open(path, framework="np") as file:
            names, facts = set(file.keys()), file.metadata()
            tensors = {name: file.get_tensor(name) for name in names}
        change(tensors, facts)
        save_file(tensors, path, facts)

    return write


DAMAGES: dict[str, Callable[[Path], object]] = {
    "garbage": lambda path: path.write_bytes(b"no checkpoint" * 99),
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "without facts": written_anew(lambda _, facts: facts.clear()),
    "without an epoch": written_anew(lambda _, facts: facts.pop("epoch")),
    "without a step": written_anew(lambda _, facts: facts.pop("step")),
    "a word for a number": written_anew(lambda _, facts: facts.update(seconds="many")),
}

OTHERS: dict[str, Callable[[Path], object]] = {
    "fewer tensors": written_anew(lambda tensors, _: tensors.pop("average.kernel")),
    "more tensors": written_anew(lambda tensors, _: tensors.update(more=np.ones(3, np.float32))),
    "another shape": written_anew(
        lambda tensors, _: tensors.update({"weights.kernel": np.ones((4, 8), np.float32)})
    ),
    "as many in another shape": written_anew(
        lambda tensors, _: tensors.update({"weights.kernel": np.ones((16, 4), np.float32)})
    ),
}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        *((spoil, "is damaged or no checkpoint") for spoil in DAMAGES.values()),
        *((spoil, "is of another network") for spoil in OTHERS.values()),
    ],
    ids=[*DAMAGES, *OTHERS],
)
def test_what_cannot_be_gone_on_from_is_named_and_left_as_it_is(
    spoil: Callable[[Path], object], sentence: str, tmp_path: Path
) -> None:
    path = kept_in(tmp_path)
    spoil(path)
    before = path.read_bytes()
    session = begun()
    with pytest.raises(TrainingError, match=sentence) as raised:
        session.restore(path)
    assert str(raised.value).startswith(str(path))
    assert "train into another folder" in str(raised.value)
    assert path.read_bytes() == before
    # Nothing of it is taken up.
    assert session.epoch == 0
    np.testing.assert_array_equal(session.variables["kernel"].numpy(), np.ones((4, 16)))


def test_a_curve_holds_what_was_measured_and_no_epoch_another_ones_figure(tmp_path: Path) -> None:
    session, steps = begun(options=replace(OPTIONS, epochs=3)), Steps()
    measured = iter([0.5, 0.25])

    session.run(tmp_path, lambda kept: steps.learn(session, kept), lambda: next(measured))

    curve = rows_of(tmp_path / "curve.csv")
    assert [row["epoch"] for row in curve] == ["1", "2", "3"]
    # Every second epoch is measured, and the last.
    assert [row["tuning_ap50"] for row in curve] == ["", "0.5", "0.25"]
    # The third epoch is told what was measured right before it.
    assert [progress.tuning for progress in steps.told] == [None] * 16 + [0.5] * 8
    again = begun(options=replace(OPTIONS, epochs=3))
    again.restore(tmp_path / "checkpoint.safetensors")
    assert (again.epoch, again.tuning) == (3, 0.25)


def test_the_rate_rises_and_then_falls_along_a_cosine(tmp_path: Path) -> None:
    found = rates(replace(OPTIONS, epochs=8, warm_up=40, rate=0.1), 50, tmp_path)
    expected = [0.1 * (step + 1) / 40 for step in range(40)]
    for step in range(360):
        expected.append(0.1 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 360)) / 2))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("epochs", "steps"), [(3, 4), (4, 23), (32, 4)])
def test_a_short_training_ends_with_a_low_rate(epochs: int, steps: int, tmp_path: Path) -> None:
    found = rates(replace(OPTIONS, epochs=epochs, warm_up=200, rate=0.1), steps, tmp_path)
    assert max(found) == pytest.approx(0.1)
    assert found.index(max(found)) <= epochs * steps // 10
    assert found[-1] < 0.005


@pytest.mark.parametrize("content", [b"epoch,loss\none,2.5\n", b"\xff\xfe", b"loss\n2.5\n"])
def test_a_curve_that_is_none_is_said_to_be(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "curve.csv"

    def run(losses: Steps) -> None:
        session = begun()
        session.run(tmp_path, lambda kept: losses.learn(session, kept), lambda: None)

    run(Steps())
    # As after a kill: what is trained again takes the place of what was there.
    run(Steps(first=2.0))
    assert [(row["epoch"], row["loss"]) for row in rows_of(path)] == [("1", "5.5"), ("2", "5.5")]
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"curve\.csv is damaged or no curve; remove it"):
        run(Steps())


@pytest.mark.parametrize(
    ("capability", "precision"),
    [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float32"), (None, "float32")],
)
def test_a_gpu_computes_in_bfloat16_where_it_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int] | None, precision: str
) -> None:
    told = {} if capability is None else {"compute_capability": capability}
    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["a GPU"])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: told)
    assert precision_of("auto") == precision
    assert precision_of("bfloat16") == "bfloat16"
    assert trains_on_gpu()


def test_of_each_gpu_no_more_is_taken_than_is_needed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    share_gpus()  # here there is none
    taken: list[tuple[str, bool]] = []

    def grow(gpu: str, as_needed: bool) -> None:
        if taken:
            raise RuntimeError("in use already")
        taken.append((gpu, as_needed))

    monkeypatch.setattr(tf.config, "get_visible_devices", lambda _: ["one", "another"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    share_gpus()
    assert taken == [("one", True)]
    assert caplog.messages == [
        "TensorFlow was in use already; it keeps the memory that it has taken."
    ]


def test_without_a_gpu_the_processor_decides() -> None:
    flags = Path("/proc/cpuinfo")
    fast = flags.is_file() and "avx512_bf16" in flags.read_text()
    assert precision_of("auto") == ("bfloat16" if fast else "float32")
    assert not trains_on_gpu()
