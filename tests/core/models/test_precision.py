from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

import core.models.extractor
import core.models.precision
from cli.demo import gallery as demo
from cli.demo.characters import CHARACTERS
from core.models import (
    Extractor,
    load_detector,
    load_extractor,
)
from core.models.backbones import (
    ColourHistogram,
    NetworkShape,
    PictureNetwork,
    ResidualBlock,
)
from core.models.precision import bfloat16_is_fast, convolve_in_bfloat16, fold_norms
from core.models.tensorflow_runtime import tf
from tests.core.fakes import HAIR, drawn_scene
from tests.core.models.networks import network_in_use

SHAPE = NetworkShape((16, 24), (2, 1), 12, colour_channels=8)


@pytest.fixture
def pixels() -> torch.Tensor:
    return torch.rand(5, 3, 48, 48, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_folding_leaves_no_normalisation_and_the_same_vectors(pixels: torch.Tensor) -> None:
    network = network_in_use(SHAPE, 3)
    folded = copy.deepcopy(network)
    fold_norms(folded)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    with torch.inference_mode():
        assert torch.allclose(folded(pixels), network(pixels), atol=1e-5)


def test_a_normalisation_that_follows_no_convolution_is_left_alone() -> None:
    block = ResidualBlock(4, 4, 1).eval()
    block.first_norm = nn.Sequential(nn.InstanceNorm2d(4), nn.BatchNorm2d(4)).eval()  # type: ignore[assignment]
    nn.init.normal_(block.first_norm[1].running_mean)
    folded = copy.deepcopy(block)
    fold_norms(folded)
    assert [isinstance(m, nn.BatchNorm2d) for m in folded.modules()].count(True) == 1
    maps = torch.rand(2, 4, 8, 8)
    assert torch.allclose(folded(maps), block(maps), atol=1e-5)


def test_bfloat16_turns_vectors_by_a_little(pixels: torch.Tensor) -> None:
    network = network_in_use(SHAPE, 3)
    coarse = copy.deepcopy(network)
    fold_norms(coarse)
    convolve_in_bfloat16(coarse)
    with torch.inference_mode():
        exact, rounded = network(pixels), coarse(pixels)
    assert rounded.dtype == torch.float32
    assert 0 < (exact - rounded).abs().max() < 0.05
    assert (exact * rounded).sum(1).min() > 0.995


def test_rounding_is_bfloat16(pixels: torch.Tensor) -> None:
    vectors = []
    for by_rounding in (None, False, True):
        network = network_in_use(SHAPE, 3)
        fold_norms(network)
        if by_rounding is not None:
            convolve_in_bfloat16(network, by_rounding=by_rounding)
        with torch.inference_mode():
            vectors.append(network(pixels))
    exact, real, rounded = vectors
    assert not torch.equal(rounded, exact)
    assert (rounded - real).norm() < 0.5 * (real - exact).norm()


def test_colours_stay_in_single_precision(pixels: torch.Tensor) -> None:
    colours = ColourHistogram(6)
    nn.init.normal_(colours.components)
    exact = PictureNetwork(network_in_use(SHAPE, 3), colours, 0.5)
    coarse = copy.deepcopy(exact)
    convolve_in_bfloat16(coarse)
    with torch.inference_mode():
        assert torch.equal(coarse(pixels)[:, :6], exact(pixels)[:, :6])
        assert not torch.equal(coarse(pixels)[:, 6:], exact(pixels)[:, 6:])


def faces_of(extractor: Extractor) -> np.ndarray:
    drawn = [drawn_scene([(name, 160, 120, 50)], background=n) for n, name in enumerate(HAIR)]
    return extractor.embed_faces(np.stack([extractor.prepare_face(face, None) for face in drawn]))


def test_the_shipped_extractor_answers_alike_in_both() -> None:
    exact, coarse = load_extractor(), load_extractor(precision="bfloat16")
    assert coarse.sha256 == exact.sha256  # an index made in one precision serves the other
    vectors = faces_of(exact), faces_of(coarse)
    assert not np.array_equal(*vectors)
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.995


def test_the_shipped_detector_finds_alike_in_both() -> None:
    picture = np.asarray(demo.picture(CHARACTERS[0], 0).convert("RGB"))
    exact_detector, coarse_detector = (
        load_detector(precision="float32"),
        load_detector(precision="bfloat16"),
    )
    found, asked_of_tensorflow = [], []
    # Alternating: neither may be led astray by what the other one computes in.
    for detector in (exact_detector, coarse_detector, exact_detector):
        found.append(detector.detect([picture])[0][0])
        options = tf.config.optimizer.get_experimental_options()
        asked_of_tensorflow.append(options.get("auto_mixed_precision_onednn_bfloat16", False))
    exact, coarse, again = found
    assert asked_of_tensorflow == [False, True, False]
    assert again == exact
    # Where the processor has no instructions for it, TensorFlow leaves the graph as it is.
    assert coarse != exact or not bfloat16_is_fast("cpu")
    assert coarse.score == pytest.approx(exact.score, abs=0.05)
    assert np.allclose(coarse.box, exact.box, atol=3)


def test_of_several_cards_the_one_that_is_meant_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"cuda": (7, 5), "cuda:0": (7, 5), "cuda:1": (8, 6)}
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capabilities.__getitem__)
    fast = {device: bfloat16_is_fast(device) for device in capabilities}
    assert fast == {"cuda": False, "cuda:0": False, "cuda:1": True}


@pytest.mark.parametrize(("fast", "computes_in"), [(True, torch.bfloat16), (False, torch.float32)])
def test_it_is_rounded_where_the_device_is_slow_at_it(
    monkeypatch: pytest.MonkeyPatch, fast: bool, computes_in: torch.dtype
) -> None:
    monkeypatch.setattr(core.models.extractor, "bfloat16_is_fast", lambda device: fast)
    entered: list[torch.dtype] = []
    monkeypatch.setattr(
        torch.nn.Conv2d,
        "forward",
        lambda self, x: entered.append(x.dtype) or self._conv_forward(x, self.weight, self.bias),
    )
    faces_of(load_extractor(precision="bfloat16"))
    assert set(entered) == {computes_in, torch.float32}  # colours stay in single precision
