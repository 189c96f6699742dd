from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.models.backbones import BINS, ColourHistogram, EmbeddingNetwork, NetworkShape
from core.models.extractor import FamiliarExtractor
from core.train.assemble import Choices, assemble
from core.train.augment import plain
from core.train.extractor import METRICS, WEIGHTS
from core.train.histogram import fit_histogram

SHAPE = NetworkShape((8, 16), (1, 1), 6, colour_channels=4, colour_cells=2)


def coloured(count: int, side: int = 40) -> np.ndarray:
    rng = np.random.default_rng(2)
    pictures = np.empty((count, side, side, 3), np.uint8)
    for picture in pictures:
        picture[:] = rng.integers(0, 256, 3)
        picture[: int(rng.integers(5, side))] = rng.integers(0, 256, 3)
    return pictures


def test_shares_agree_with_plain_loops() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    shares = ColourHistogram(4).shares(plain(pictures))
    for picture, found in zip(pictures, shares, strict=True):
        counts = np.zeros((BINS, BINS, BINS))
        for red, green, blue in picture.reshape(-1, 3).tolist():
            counts[red * BINS // 256, green * BINS // 256, blue * BINS // 256] += 1
        # A value just at a cell's border may fall to either side of it.
        difference = np.abs(np.sqrt(counts.ravel() / 1600) - found.numpy())
        assert difference.max() < 0.03
        assert float((found**2).sum()) == pytest.approx(1.0, abs=1e-4)


def test_components_are_those_of_the_pictures() -> None:
    pictures = coloured(60)
    histogram = fit_histogram(pictures, 8, whitening=0.0)
    shares = histogram.shares(plain(pictures)).double().numpy()
    _, _, directions = np.linalg.svd(shares - shares.mean(0), full_matrices=False)
    ours = histogram.components.double().numpy()
    assert np.allclose(np.abs((directions[:8] * ours.T).sum(1)), 1.0, atol=1e-4)
    again = fit_histogram(pictures, 8, whitening=0.0)
    assert torch.equal(histogram.components, again.components)
    white = fit_histogram(pictures, 8, whitening=1.0)
    scores = (shares - shares.mean(0)) @ white.components.double().numpy()
    assert np.allclose(scores.std(0), 1.0, atol=1e-3)


def test_pictures_of_like_colours_are_near() -> None:
    pictures = coloured(60)
    histogram = fit_histogram(pictures, 8)
    vectors, turned = histogram(plain(pictures)), histogram(plain(pictures[:, ::-1].copy()))
    assert torch.allclose((vectors * turned).sum(1), torch.ones(60), atol=1e-4)
    assert float((vectors @ vectors.T).median()) < 0.5


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    weights = {
        name: value
        for name, value in EmbeddingNetwork(SHAPE).state_dict().items()
        if value.dtype.is_floating_point
    }
    out = tmp_path / "trained"
    out.mkdir()
    save_file(weights, out / WEIGHTS)
    options = {"shape": asdict(SHAPE), "sides": [[0.5, 24], [1.0, 32]]}
    (out / METRICS).write_text(json.dumps({"options": options}))
    return out


def test_an_assembled_extractor_weighs_colours_and_learned_part(
    trained: Path, tmp_path: Path
) -> None:
    colours = fit_histogram(coloured(40), 5)
    both = Choices(colours=(colours, 0.7))
    extractor = FamiliarExtractor.load(assemble(trained, trained, tmp_path / "both", both))
    alone = FamiliarExtractor.load(assemble(trained, trained, tmp_path / "alone"))
    assert (extractor.picture_dimensions, alone.picture_dimensions) == (11, 6)
    assert extractor.picture_side == extractor.face_side == 32
    pictures = np.stack([extractor.prepare_picture(picture) for picture in coloured(4)])
    found = extractor.embed_pictures(pictures)
    learned = alone.embed_pictures(pictures)
    with torch.inference_mode():
        colour = colours(plain(pictures)).numpy()
    expected = 0.7 * colour @ colour.T + 0.3 * learned @ learned.T
    assert np.allclose(found @ found.T, expected, atol=1e-3)


def test_a_picture_network_can_be_taken_over(trained: Path, tmp_path: Path) -> None:
    colours = Choices(colours=(fit_histogram(coloured(40), 5), 0.7))
    first = assemble(trained, trained, tmp_path / "first", colours)
    second = assemble(trained, first, tmp_path / "second", Choices(margin=0.3))
    assert (first / "picture.safetensors").read_bytes() == (
        second / "picture.safetensors"
    ).read_bytes()
    pictures = coloured(2, side=32)
    assert np.array_equal(
        FamiliarExtractor.load(first).embed_pictures(pictures),
        FamiliarExtractor.load(second).embed_pictures(pictures),
    )
    assert FamiliarExtractor.load(second).margin == 0.3
