"""The colour part of the picture network: fitted, not trained."""

from __future__ import annotations

import torch

from core.face import Pixels
from core.models.backbones import ColourHistogram
from core.models.extractor import as_values
from core.train.face_data import TrainingDataError

_LEAST_SPREAD = 0.02
"""Of the mean: keeps directions in which there is next to nothing from being blown up. Of series,
frames and single pictures, the last of 32 components has 0.18 of the mean and more."""

_NO_SPREAD = 1e-12
"""A direction with less is arbitrary, such as one in which all pictures are alike."""


def fit_histogram(pictures: Pixels, dimensions: int, whitening: float = 0.5) -> ColourHistogram:
    """Principal components of the pictures' colour histograms.

    Args:
        pictures: ``(n, side, side, 3)``, more of them than `dimensions`.
        dimensions: How many components are kept.
        whitening: 0 keeps each component's spread, 1 makes all alike; between, the many small
            differences count more than they would, and less than the noise among them.

    Returns:
        Components in which the pictures do not differ are zero.

    Raises:
        TrainingDataError: There are too few pictures.
    """
    if len(pictures) <= dimensions:
        raise TrainingDataError(
            f"The colour part is fitted to more than {dimensions} pictures, and there are"
            f" {len(pictures)}; give a folder with more."
        )
    histogram = ColourHistogram(dimensions)
    with torch.inference_mode():
        shares = torch.cat(
            [
                histogram.shares(as_values(pictures[start : start + 256]))
                for start in range(0, len(pictures), 256)
            ]
        ).double()
        mean = shares.mean(0)
        centred = shares - mean
        spread, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        spread, directions = spread.flip(0)[:dimensions], directions.flip(1)[:, :dimensions]
        # The sign of a component is arbitrary; fixed, so that a fit can be repeated.
        strongest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        directions = directions * strongest.sign()
        scale = spread.clamp(min=_LEAST_SPREAD * float(spread.mean())) ** (-whitening / 2)
        scale[spread < _NO_SPREAD] = 0.0
        histogram.mean.copy_(mean)
        histogram.components.copy_(directions * scale)
    return histogram
