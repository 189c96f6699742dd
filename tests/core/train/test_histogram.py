from __future__ import annotations

import numpy as np
import pytest
import torch

from core.models.backbones import BINS, ColourHistogram
from core.models.extractor import as_values
from core.train.face_data import TrainingDataError
from core.train.histogram import fit_histogram
from tests.core.train.drawings import coloured


def test_shares_agree_with_plain_loops() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3)).astype(np.uint8)
    shares = ColourHistogram(4).shares(as_values(pictures))
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
    shares = histogram.shares(as_values(pictures)).double().numpy()
    _, _, directions = np.linalg.svd(shares - shares.mean(0), full_matrices=False)
    ours = histogram.components.double().numpy()
    assert np.allclose(np.abs((directions[:8] * ours.T).sum(1)), 1.0, atol=1e-4)
    again = fit_histogram(pictures, 8, whitening=0.0)
    assert torch.equal(histogram.components, again.components)
    white = fit_histogram(pictures, 8, whitening=1.0)
    scores = (shares - shares.mean(0)) @ white.components.double().numpy()
    assert np.allclose(scores.std(0), 1.0, atol=1e-3)


def test_what_no_picture_shows_counts_for_nothing() -> None:
    """Fitted to grey pictures, of whose components most are arbitrary, and asked about colours."""
    pictures = coloured(60)
    grey = np.repeat(pictures[..., :1], 3, 3)
    histogram = fit_histogram(grey, 32)
    shares = histogram.shares(as_values(grey)).double().numpy()
    spread = np.linalg.svd(shares - shares.mean(0), compute_uv=False)[:32] ** 2 / 60
    arbitrary = torch.from_numpy(spread < 1e-9)
    assert 16 < int(arbitrary.sum()) < 32
    energy = (histogram(as_values(pictures)) ** 2).sum(0)
    assert float(energy[arbitrary].sum()) == 0.0
    assert float(energy.sum()) == pytest.approx(60, abs=1e-3)


def test_what_hardly_any_picture_shows_is_not_blown_up() -> None:
    """Of 200 grey pictures one has a few red pixels."""
    pictures = np.repeat(coloured(200, side=64)[..., :1], 3, 3)
    pictures[7, :2, :1] = [255, 0, 0]
    histogram = fit_histogram(pictures, 16)
    lengths = histogram.components.norm(dim=0)
    lengths = lengths[lengths > 0]
    assert float(lengths.max() / lengths.min()) < 4.0


def test_as_few_pictures_as_components_are_refused() -> None:
    with pytest.raises(TrainingDataError, match="more than 8 pictures, and there are 8; give"):
        fit_histogram(coloured(8), 8)
    fit_histogram(coloured(9), 8)


def test_pictures_of_like_colours_are_near() -> None:
    pictures = coloured(60)
    histogram = fit_histogram(pictures, 8)
    vectors, turned = histogram(as_values(pictures)), histogram(as_values(pictures[:, ::-1].copy()))
    assert torch.allclose((vectors * turned).sum(1), torch.ones(60), atol=1e-4)
    assert float((vectors @ vectors.T).median()) < 0.5
