"""A device that cannot take a network, or compute, is named, with what to do."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from core.models import ModelError, load_extractor
from core.models.device import moved, torch_device, try_out
from core.models.irse50 import IrSe50Faces, IrSe50Network
from core.models.resnet101 import ResNet101

NOWHERE = "cuda:99"
REFUSED = f"{NOWHERE} does not take a network: .*[^.]; .* or set FAMILIAR_MODEL_DEVICE=cpu\\.$"


def test_a_network_is_moved_to_a_device_that_takes_it() -> None:
    network = nn.Linear(2, 3)
    assert moved(network, torch.device("meta")) is network
    assert network.weight.is_meta


def test_no_extractor_goes_to_a_device_that_does_not_take_it() -> None:
    with pytest.raises(ModelError, match=REFUSED):
        load_extractor(device=NOWHERE)
    with torch.device("meta"):  # numbers drawn by chance would take seconds
        network = IrSe50Network()
    with pytest.raises(ModelError, match=REFUSED):
        IrSe50Faces(network.to_empty(device="cpu"), NOWHERE)
    with pytest.raises(ModelError, match=REFUSED):
        ResNet101(nn.Linear(2, 3), NOWHERE)


def test_a_device_is_tried_by_what_networks_do() -> None:
    try_out("cpu")
    with pytest.raises(ModelError, match=re.escape(f"The device {NOWHERE} cannot compute: ")):
        try_out(NOWHERE)


def test_a_device_that_is_here_is_taken() -> None:
    assert torch_device("cpu") == "cpu"
    assert torch_device("auto") in {"cpu", "cuda"}


@pytest.fixture
def too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that PyTorch lists and has no kernels for; where there is none, no driver either."""

    def convolve(*_: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: no kernel image is available.\nCompile with TORCH_USE_CUDA")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.nn.functional, "conv2d", convolve)


@pytest.mark.usefixtures("too_old")
def test_auto_takes_the_processor_where_the_gpu_cannot_compute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert torch_device("auto") == "cpu"
    [record] = caplog.records
    assert "runs on the processor: The device cuda cannot compute: " in record.getMessage()
    assert "FAMILIAR_MODEL_DEVICE=cpu" in record.getMessage()


@pytest.mark.usefixtures("too_old")
def test_a_device_that_cannot_compute_is_not_taken() -> None:
    """The processor stands for a card here, which not every machine has."""
    with pytest.raises(ModelError, match=r"cpu cannot compute: CUDA error: no kernel .*le;"):
        torch_device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta:first"])
def test_a_device_that_is_not_here_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=f"no device {name} here; choose cpu"):
        torch_device(name)
