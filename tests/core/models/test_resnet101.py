"""With weights drawn by chance: the published ones are not part of the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.models
from torch import Tensor, nn

from core.models import ModelError, load_extractor
from core.models.resnet101 import WEIGHTS_VARIABLE, ResNet101


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet101.pth"
    torch.save(torchvision.models.resnet101(weights=None).state_dict(), path)
    return path


def test_a_file_of_weights_serves_faces_and_pictures(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(weights))
    extractor = load_extractor("resnet101")
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 80, 3)).astype(np.uint8)
    face = extractor.prepare_face(pixels, (10, 10, 30, 30))
    picture = extractor.prepare_picture(pixels)
    assert face.shape == picture.shape == (224, 224, 3)
    vectors = extractor.embed_pictures(np.stack([face, picture]))
    assert vectors.shape == (2, 2048)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert extractor.embed_faces(np.empty((0, 224, 224, 3), np.uint8)).shape == (0, 2048)
    assert extractor.sha256 == ResNet101.load(weights).sha256


def test_pixels_are_shown_as_torchvision_trained_on_them(weights: Path) -> None:
    class Watched(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            self.seen = x
            return torch.ones(len(x), 2048)

    extractor = ResNet101.load(weights)
    network = Watched()
    extractor._network = network
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    pixels[0, 5, 7] = (255, 0, 51)
    extractor.embed_pictures(pixels)
    # torchvision.models.ResNet101_Weights.IMAGENET1K_V2.transforms()
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    assert network.seen[0, :, 5, 7].tolist() == pytest.approx(expected, abs=1e-5)


def test_a_file_that_holds_code_is_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    torch.save({"fc.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(ModelError, match="not a file of weights"):
        ResNet101.load(tmp_path / "trap.pth")
    assert not (tmp_path / "sprung").exists()


def test_other_files_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        ResNet101.load(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(ModelError, match="not a file of weights"):
        ResNet101.load(tmp_path / "text.pth")
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(ModelError, match="does not hold"):
        ResNet101.load(tmp_path / "other.pth")


def test_without_a_network_the_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*arguments: object, **options: object) -> None:
        raise OSError("no route to host")

    monkeypatch.delenv(WEIGHTS_VARIABLE, raising=False)
    monkeypatch.setattr(torchvision.models.ResNet101_Weights, "get_state_dict", no_network)
    with pytest.raises(ModelError, match=WEIGHTS_VARIABLE):
        ResNet101.load()
