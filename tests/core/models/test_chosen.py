"""The models that settings name are loaded on their device and in their precision."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

import core.models.chosen
import core.models.extractor
import core.models.precision
from cli.demo import gallery as demo
from cli.demo.characters import CHARACTERS
from core.models import (
    DEFAULT_EXTRACTOR,
    SHIPPED,
    Precision,
    load_detector,
    load_extractor,
)
from core.models.chosen import extractor_precision, load_detector_of, load_extractor_of, load_models
from core.models.extractor import CONFIGURATION
from core.models.irse50 import IrSe50Network
from core.settings import ModelSettings
from tests.core.fakes import FakeDetector, FakeExtractor
from tests.core.models.test_onnx import write
from tests.core.models.test_precision import faces_of


class CountingModels:
    """The fakes in place of every model that can be named."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.detector, self.extractor = FakeDetector(), FakeExtractor()
        monkeypatch.setattr(core.models.chosen, "load_detector", lambda *_, **__: self.detector)
        monkeypatch.setattr(core.models.chosen, "load_extractor", lambda *_, **__: self.extractor)

    @property
    def seen(self) -> tuple[int, int, int]:
        return self.detector.seen, self.extractor.embedded_faces, self.extractor.embedded_pictures


def test_models_that_are_not_shipped_look_first_wherever_they_are_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models = CountingModels(monkeypatch)
    load_models(ModelSettings(device="cpu"))
    assert models.seen == (0, 0, 0)
    load_detector_of(ModelSettings(device="cpu", detector="saved-model:own"))
    assert models.seen == (2, 0, 0)
    load_extractor_of(ModelSettings(device="cpu", extractor="resnet101"))
    assert models.seen == (2, 2, 2)


def test_int8_finds_the_same_faces_and_is_what_is_taken() -> None:
    picture = np.asarray(demo.picture(CHARACTERS[0], 0).convert("RGB"))
    exact, taken = (
        load_detector_of(ModelSettings(precision=precision)).detect([picture])[0]
        for precision in ("float32", "auto")
    )
    assert taken == load_detector(precision="int8").detect([picture])[0]
    assert taken[0].score != exact[0].score
    assert taken[0].score == pytest.approx(exact[0].score, abs=0.05)
    assert np.allclose(taken[0].box, exact[0].box, atol=4)


@pytest.mark.parametrize("setting", get_args(Precision))
def test_a_precision_that_is_named_holds_everywhere(setting: Precision) -> None:
    assert extractor_precision(setting, "cpu") == setting
    assert extractor_precision(setting, "cuda") == setting


def test_auto_looks_at_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    assert extractor_precision("auto", "cpu") == "int8"
    for fast, means in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr(core.models.precision, "bfloat16_is_fast", lambda _, it=fast: it)
        assert extractor_precision("auto", "cuda") == means


@pytest.mark.parametrize(("fast", "taken"), [(True, "bfloat16"), (False, "float32")])
def test_auto_does_without_int8_where_an_extractor_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool, taken: str
) -> None:
    folder = shutil.copytree(SHIPPED / DEFAULT_EXTRACTOR, tmp_path / "older")
    described = json.loads((folder / CONFIGURATION).read_text())
    (folder / CONFIGURATION).write_text(json.dumps(described | {"files": None}))
    monkeypatch.setattr(core.models.precision, "bfloat16_is_fast", lambda _: fast)
    settings = ModelSettings(device="cpu", extractor=f"trained:{folder}")
    assert load_extractor_of(settings).precision == taken


def test_other_peoples_models_are_loaded_once_whatever_the_device_is_fast_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Precision] = []

    def load(*_: object, precision: Precision, **__: object) -> FakeExtractor:
        asked.append(precision)
        return FakeExtractor()

    monkeypatch.setattr(core.models.chosen, "load_extractor", load)
    monkeypatch.setattr(core.models.precision, "bfloat16_is_fast", lambda _: True)
    load_extractor_of(ModelSettings(device="cpu"))
    assert asked == ["int8"]


@pytest.fixture
def threads() -> Iterator[int]:
    """PyTorch's, as many as it has at first."""
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    yield 2
    torch.set_num_threads(count)


@pytest.mark.parametrize("setting", ["float32", "int8"])
def test_in_int8_pytorch_keeps_no_core_waiting(setting: Precision, threads: int) -> None:
    _, extractor = load_models(ModelSettings(device="cpu", precision=setting))
    kept = 1 if extractor.precision == "int8" else threads
    assert torch.get_num_threads() == kept


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("setting", ["float32", "int8"])
def test_an_extractor_alone_keeps_to_the_threads_of_the_settings(
    setting: Precision, count: int, threads: int
) -> None:
    """As commands load it that ask no detector; 0 leaves PyTorch as many as it has."""
    extractor = load_extractor_of(ModelSettings(device="cpu", precision=setting, threads=count))
    kept = 1 if extractor.precision == "int8" else count or threads
    assert torch.get_num_threads() == kept


@pytest.mark.parametrize("setting", ["float32", "int8"])
def test_beside_a_face_network_in_onnx_pytorch_keeps_no_core_waiting_in_int8(
    setting: Precision, threads: int, tmp_path: Path
) -> None:
    named = f"onnx:{write(tmp_path / 'net.onnx', ['n', 3, 32, 32])}"
    load_extractor_of(ModelSettings(extractor=named, device="cpu", precision=setting))
    shipped = load_extractor(precision=setting)
    kept = 1 if shipped.precision == "int8" else threads
    assert torch.get_num_threads() == kept


def test_ir_se50_which_pytorch_computes_keeps_its_threads(threads: int, tmp_path: Path) -> None:
    torch.save(IrSe50Network().state_dict(), tmp_path / "model.pth")
    named = f"ir-se50:{tmp_path / 'model.pth'}"
    load_extractor_of(ModelSettings(extractor=named, device="cpu", precision="int8"))
    assert torch.get_num_threads() == threads


def test_the_setting_reaches_the_models() -> None:
    coarse = load_extractor_of(ModelSettings(device="cpu", precision="bfloat16"))
    assert np.array_equal(faces_of(coarse), faces_of(load_extractor(precision="bfloat16")))
    _, exact = load_models(ModelSettings(device="cpu", precision="float32"))
    assert np.array_equal(faces_of(exact), faces_of(load_extractor()))
