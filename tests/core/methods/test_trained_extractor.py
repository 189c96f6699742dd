"""Networks as training writes them, used as extractors."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.embed import embed_crops
from core.framing import Framing
from core.methods.trained_extractor import TrainedExtractor
from core.models import ModelError, load_extractor
from core.models.backbones import NetworkShape
from core.train.extractor import train
from core.train.extractor_names import Kind, Loss
from core.train.extractor_options import ExtractorTraining, of_loss
from core.train.results import METRICS, WEIGHTS
from core.train.trained import TrainedNetwork
from tests.core.fakes import drawn_gallery

SMALL = ExtractorTraining(
    shape=NetworkShape((8, 16), (1, 1), 8, colour_channels=4, colour_cells=2),
    sides=((1.0, 24),),
    stored_side=32,
    epochs=1,
    steps=2,
    identities=4,
    pictures=2,
    unlabelled_in_batch=0,
    memory=32,
    bfloat16=False,
)


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    gallery = drawn_gallery(tmp_path_factory.mktemp("gallery"))
    face, picture = tmp_path_factory.mktemp("face"), tmp_path_factory.mktemp("picture")
    train(gallery, face, of_loss(SMALL, Loss.TRIPLET))
    train(gallery, picture, replace(SMALL, of=Kind.PICTURES, loss=Loss.ATTRIBUTES))
    return face, picture


def crops(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [generator.integers(0, 256, (40, 50, 3)).astype(np.uint8) for _ in range(count)]


def test_two_networks_make_an_extractor(networks: tuple[Path, Path]) -> None:
    face, picture = (TrainedNetwork(folder) for folder in networks)
    extractor = TrainedExtractor("both", face, picture, Framing(0.7, 0.5), (1.0, 1.0))
    seen = embed_crops(crops(3), extractor)
    assert all(it.face_vectors.shape == (1, 8) for it in seen)
    assert all(it.picture_vector.shape == (8,) for it in seen)
    assert not np.allclose(seen[0].face_vectors, seen[1].face_vectors)
    assert not np.allclose(seen[0].picture_vector, seen[1].picture_vector)


def test_without_a_picture_network_pictures_are_not_compared(networks: tuple[Path, Path]) -> None:
    face = TrainedNetwork(networks[0])
    extractor = TrainedExtractor("face", face, None, Framing(0.7, 0.5), (1.0, 0.0))
    seen = embed_crops(crops(3), extractor)
    assert extractor.picture_dimensions == 0
    assert {it.picture_vector.shape for it in seen} == {(0,)}


def test_faces_are_framed_as_the_shipped_extractor_frames_them(
    networks: tuple[Path, Path],
) -> None:
    shipped = load_extractor()
    own = TrainedExtractor("own", TrainedNetwork(networks[0]), None, shipped.framing, (1.0, 0.0))
    ramp = np.tile(np.arange(240, dtype=np.uint8)[None, :, None], (240, 1, 3))
    box = (90.0, 110.0, 130.0, 150.0)
    first, second = own.prepare_face(ramp, box), shipped.prepare_face(ramp, box)
    assert first[:, 0].mean() == pytest.approx(float(second[:, 0].mean()), abs=3)
    assert first[:, -1].mean() == pytest.approx(float(second[:, -1].mean()), abs=3)


def test_a_folder_that_is_no_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="familiar train extractor"):
        TrainedNetwork(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(ModelError, match="familiar train extractor"):
        TrainedNetwork(tmp_path)


@pytest.mark.parametrize(
    "options", [[], {}, {"loss": []}, {"sides": []}, {"shape": {"widths": [8]}}]
)
def test_a_training_that_does_not_say_what_it_trained_is_refused(
    networks: tuple[Path, Path], tmp_path: Path, options: object
) -> None:
    shutil.copytree(networks[0], tmp_path, dirs_exist_ok=True)
    written = json.loads((tmp_path / METRICS).read_text())
    if isinstance(options, dict) and options:
        options = written["options"] | options
    (tmp_path / METRICS).write_text(json.dumps(written | {"options": options}))
    with pytest.raises(ModelError, match="familiar train extractor"):
        TrainedNetwork(tmp_path)


@pytest.mark.parametrize("left_out", ["shape", "sides", "backbone", "loss", "of"])
def test_a_training_that_leaves_out_what_it_trained_is_refused(
    networks: tuple[Path, Path], tmp_path: Path, left_out: str
) -> None:
    shutil.copytree(networks[0], tmp_path, dirs_exist_ok=True)
    written = json.loads((tmp_path / METRICS).read_text())
    del written["options"][left_out]
    (tmp_path / METRICS).write_text(json.dumps(written))
    with pytest.raises(ModelError, match="familiar train extractor"):
        TrainedNetwork(tmp_path)


def test_weights_of_a_training_that_do_not_fit_are_named(
    networks: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(networks[0], tmp_path, dirs_exist_ok=True)
    weights = load_file(tmp_path / WEIGHTS)
    weights["embed.weight"][0, 0] = torch.nan
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"not of finite numbers: embed\.weight"):
        TrainedNetwork(tmp_path)
    del weights["embed.weight"]
    save_file(weights, tmp_path / WEIGHTS)
    with pytest.raises(ModelError, match=r"missing: embed\.weight"):
        TrainedNetwork(tmp_path)
    (tmp_path / WEIGHTS).unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        TrainedNetwork(tmp_path)
