"""One small training of the extractor's network, for all tests that only look at it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.train.extractor import train
from tests.core.train.small_training import TINY, draw_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("characters"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of other characters, whose labels nobody is told."""
    return draw_folder(tmp_path_factory.mktemp("others"), name="other", seed=7)


@pytest.fixture(scope="module")
def trained(folder: Path, others: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained")
    torch.set_num_threads(1)
    train(folder, out, TINY, unlabelled=others)
    return out
