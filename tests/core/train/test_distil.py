"""Vectors of teachers, what is kept of them, and networks that learn them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from core.face import Pixels, Vectors
from core.models.backbones import NetworkShape
from core.models.extractor import resized
from core.train.distil import distillation_loss, taught_vectors
from core.train.extractor import WEIGHTS, ExtractorTraining, train
from core.train.face_data import LabelledPictures, TrainingDataError, load_labelled
from core.train.trained import TrainedNetwork
from tests.core.train.drawings import coloured


class ByColour:
    """A teacher that goes by the mean colour alone, and counts the faces it is shown."""

    name = "by-colour"
    same_threshold = None
    weights_of_both = (1.0, 0.0)
    picture_dimensions = 3

    def __init__(self, order: tuple[int, int, int] = (0, 1, 2)) -> None:
        self.sha256 = bytes([*order, *(29 * [0])]).hex()
        self.face_dimensions = 3
        self.seen = 0
        self._order = list(order)

    def prepare_face(self, pixels: Pixels, box: object, points: object = None) -> Pixels:
        assert box is None
        return resized(pixels, 8)

    def embed_faces(self, faces: Pixels) -> Vectors:
        self.seen += len(faces)
        means = faces.mean((1, 2))[:, self._order].astype(np.float32) - 128
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    prepare_picture = prepare_face
    embed_pictures = embed_faces


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import cv2

    root = tmp_path_factory.mktemp("pictures")
    for number, pixels in enumerate(coloured(96)):
        path = root / f"c{number % 8}" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return root


def test_vectors_of_several_teachers_stand_side_by_side() -> None:
    pictures = coloured(70)
    one, other = ByColour(), ByColour((2, 1, 0))

    both = taught_vectors([one, other], pictures)

    assert both.shape == (70, 6)
    assert np.linalg.norm(both, axis=1) == pytest.approx(np.ones(70), abs=1e-5)
    alone = taught_vectors([one], pictures)
    assert both[:, :3] * 2**0.5 == pytest.approx(alone, abs=1e-6)
    assert one.seen == 140


def test_the_same_teachers_look_at_the_same_pictures_once(tmp_path: Path) -> None:
    teacher = ByColour()
    first = taught_vectors([teacher], coloured(20), tmp_path)
    again = taught_vectors([teacher], coloured(20), tmp_path)
    assert teacher.seen == 20
    assert np.array_equal(first, again)
    taught_vectors([teacher], coloured(21), tmp_path)
    assert teacher.seen == 41
    other = ByColour((1, 0, 2))
    assert not np.allclose(taught_vectors([other], coloured(20), tmp_path), first)


def test_the_loss_is_nothing_where_vectors_are_as_wanted() -> None:
    wanted = torch.nn.functional.normalize(torch.randn(6, 4), dim=1)
    assert float(distillation_loss(wanted, wanted)) == pytest.approx(0, abs=1e-6)
    assert float(distillation_loss(-wanted, wanted)) == pytest.approx(2, abs=1e-6)


PUPIL = ExtractorTraining(
    shape=NetworkShape((8, 16), (1, 1), 3, colour_channels=8, colour_cells=2),
    sides=((1.0, 24),),
    stored_side=32,
    epochs=4,
    steps=160,
    whitening=0.0,
    identities=4,
    pictures=4,
    unlabelled_in_batch=16,
    memory=32,
    augmentation=replace(ExtractorTraining().augmentation, backdrop=0.0, light=0.05, palette=0.02),
    seed=3,
    bfloat16=False,
)


def test_a_longer_vector_begins_with_what_was_seen_before(folder: Path, tmp_path: Path) -> None:
    """The layers before the vector are taken over; the vector, of another length, is new."""
    torch.set_num_threads(1)
    short = replace(PUPIL, steps=4, epochs=1)
    train(folder, tmp_path / "first", short)
    longer = replace(short, shape=replace(short.shape, dimensions=6), rate=1e-9, decay=0.0)
    train(folder, tmp_path / "next", longer, start=tmp_path / "first")
    before, after = (load_file(tmp_path / each / WEIGHTS) for each in ("first", "next"))
    assert before["embed.weight"].shape[0] == 3
    assert after["embed.weight"].shape[0] == 6
    assert torch.allclose(before["stem.0.weight"], after["stem.0.weight"], atol=1e-5)
    other = replace(short, shape=replace(short.shape, widths=(8, 24)))
    with pytest.raises(TrainingDataError, match="another network"):
        train(folder, tmp_path / "other", other, start=tmp_path / "first")


def disagreement(trained: Path, pictures: LabelledPictures) -> float:
    """Mean difference of a network's cosines from the teacher's."""
    own = TrainedNetwork(trained).embed(pictures.pixels)
    taught = taught_vectors([ByColour()], pictures.pixels)
    return float(np.abs(own @ own.T - taught @ taught.T).mean())


def test_a_network_comes_to_see_what_its_teacher_sees(folder: Path, tmp_path: Path) -> None:
    """The labels say nothing of colours: without a teacher they are all there is to learn."""
    torch.set_num_threads(1)
    train(folder, tmp_path / "taught", PUPIL, unlabelled=[folder], teachers=[ByColour()])
    train(folder, tmp_path / "alone", PUPIL, unlabelled=[folder])
    pictures = load_labelled(folder, 32)
    taught, alone = (disagreement(tmp_path / each, pictures) for each in ("taught", "alone"))
    print(f"mean difference of cosines from the teacher's: {taught:.3f}, alone {alone:.3f}")
    assert taught < alone / 2


def test_a_training_goes_on_with_its_own_teacher_alone(folder: Path, tmp_path: Path) -> None:
    short = replace(PUPIL, epochs=1)
    train(folder, tmp_path, short, teachers=[ByColour()])
    with pytest.raises(TrainingDataError, match="other options"):
        train(folder, tmp_path, short, teachers=[ByColour((2, 1, 0))], resume=True)
    with pytest.raises(TrainingDataError, match="other options"):
        train(folder, tmp_path, short, resume=True)
