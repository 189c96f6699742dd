"""A device that cannot take a network, or compute, is named, with what to do."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from core.models import ModelError, load_extractor
from core.models.device import moved, try_out
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
