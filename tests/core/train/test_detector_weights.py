"""Weights of a detector's training, and what they remember."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from core.train.copies import prints_of
from core.train.detector_network import DetectorNetwork, named_variables
from core.train.detector_weights import learned_by, learned_by_start, read_weights, write_weights
from core.train.parts import Boxed, Kept
from core.train.session import TrainingError

LEARNED = frozenset({"ab" * 32, "01" * 32})


def test_weights_survive_writing_and_reading(tmp_path: Path) -> None:
    network = DetectorNetwork(16, seed=5)
    write_weights(tmp_path / "w.safetensors", network, 16, LEARNED)

    again = read_weights(tmp_path / "w.safetensors")

    assert learned_by(tmp_path / "w.safetensors") == LEARNED
    for (name, one), (other_name, two) in zip(
        named_variables(network).items(), named_variables(again).items(), strict=True
    ):
        assert name == other_name
        np.testing.assert_array_equal(one.numpy(), two.numpy())


@pytest.mark.parametrize("damage", ["forgetful", "damaged", "missing"])
def test_weights_that_do_not_say_what_they_learned_are_not_begun_with(
    tmp_path: Path, damage: str
) -> None:
    start = tmp_path / "start.safetensors"
    write_weights(start, DetectorNetwork(16), 16, LEARNED)
    boxed = Boxed((), (), (), Kept(frozenset(), prints_of([]), ()), frozenset(), ())
    assert learned_by_start(start, boxed) == LEARNED
    if damage == "forgetful":
        kept = {name: each for name, each in load_file(start).items() if name != "learned"}
        save_file(kept, start, {"width": "16"})
    elif damage == "damaged":
        start.write_bytes(b"no tensors")
    else:
        start.unlink()
    with pytest.raises(TrainingError, match=r"start\.safetensors does not say what it has learned"):
        learned_by_start(start, boxed)
