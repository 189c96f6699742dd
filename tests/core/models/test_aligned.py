"""Extractors of other people's face networks, with the shipped network for whole pictures."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from core.align import REFERENCE
from core.face import Pixels, Vectors
from core.models import SHIPPED, ModelError, load_extractor
from core.models.aligned import LIFT, MARGIN, AlignedExtractor, Description, described
from core.models.extractor import FamiliarExtractor
from core.models.first_look import look_first
from core.models.irse50 import IrSe50Network


class CornerNetwork:
    """Says the colour of the upper left and of the middle pixel."""

    side = 112
    dimensions = 6
    in_onnxruntime = False

    def embed(self, faces: Pixels) -> Vectors:
        return np.concatenate([faces[:, 0, 0], faces[:, 56, 56]], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def pictures() -> FamiliarExtractor:
    return FamiliarExtractor.load(SHIPPED / "familiar-character")


def extractor(
    pictures: FamiliarExtractor, identity: str = "a", **stated: object
) -> AlignedExtractor:
    description = Description.model_validate({"same_threshold": 0.4} | stated)
    return AlignedExtractor("corner", identity, CornerNetwork(), pictures, description)


def test_channels_come_in_the_order_that_the_network_knows(pictures: FamiliarExtractor) -> None:
    faces = np.zeros((2, 112, 112, 3), np.uint8)
    faces[..., 0] = 255
    (first, _) = extractor(pictures).embed_faces(faces)
    assert first.tolist() == pytest.approx([0.5**0.5, 0, 0, 0.5**0.5, 0, 0])
    (first, _) = extractor(pictures, channels="bgr").embed_faces(faces)
    assert first.tolist() == pytest.approx([0, 0, 0.5**0.5, 0, 0, 0.5**0.5])


def test_its_hash_follows_all_that_vectors_depend_on(pictures: FamiliarExtractor) -> None:
    own = extractor(pictures).sha256
    assert extractor(pictures, same_threshold=0.9).sha256 == own
    others = (
        extractor(pictures, channels="bgr"),
        extractor(pictures, margin=0.3),
        extractor(pictures, lift=0.1),
        extractor(pictures, aligned=False),
        extractor(pictures, "b"),
    )
    assert len({own, *(other.sha256 for other in others)}) == 6


def test_what_is_stated_beside_a_network(tmp_path: Path) -> None:
    assert described(tmp_path / "network.pth", Description) == Description()
    beside = tmp_path / "network.json"
    beside.write_text('{"channels": "bgr", "lift": 0.5}')
    found = described(tmp_path / "network.pth", Description)
    assert (found.channels, found.lift, found.margin) == ("bgr", 0.5, MARGIN)
    for text in ('{"side": 112}', "{", '{"channels": "grb"}'):
        beside.write_text(text)
        with pytest.raises(ModelError, match=r"network\.json cannot be used"):
            described(tmp_path / "network.pth", Description)


def test_a_face_with_landmarks_is_aligned_whatever_its_box(pictures: FamiliarExtractor) -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    points = [(100 + 0.9 * (56 - y), 60 + 0.9 * x) for x, y in REFERENCE]  # turned a quarter
    for x, y in points[:2]:
        cv2.circle(pixels, (round(x), round(y)), 5, (255, 255, 255), -1)
    face = extractor(pictures).prepare_face(pixels, (0.0, 0.0, 9.0, 9.0), tuple(points))
    assert face.shape == (112, 112, 3)
    for x, y in REFERENCE[:2]:
        assert face[round(y), round(x)].min() > 200
    for x, y in REFERENCE[2:]:
        assert face[round(y), round(x)].max() < 50


def test_a_network_that_learned_no_aligned_faces_goes_by_the_box(
    pictures: FamiliarExtractor,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    box = (100.0, 100.0, 180.0, 180.0)
    points = tuple((100 + x / 2, 100 + y / 2) for x, y in REFERENCE)
    by_box = extractor(pictures).prepare_face(pixels, box)
    assert not np.array_equal(extractor(pictures).prepare_face(pixels, box, points), by_box)
    unaligned = extractor(pictures, aligned=False)
    assert np.array_equal(unaligned.prepare_face(pixels, box, points), by_box)


@pytest.mark.parametrize("stated", [{}, {"margin": 0.6, "lift": 0.1}])
def test_a_face_without_landmarks_is_seen_by_its_box(
    pictures: FamiliarExtractor, stated: dict[str, float]
) -> None:
    margin, lift = stated.get("margin", MARGIN), stated.get("lift", LIFT)
    pixels = np.zeros((300, 300, 3), np.uint8)
    pixels[100:180, 100:180] = 255
    face = extractor(pictures, **stated).prepare_face(pixels, (100.0, 100.0, 180.0, 180.0))
    assert face.shape == (112, 112, 3)
    rows, columns = np.nonzero(face[..., 0] > 127)
    assert np.ptp(columns) + 1 == pytest.approx(112 / (1 + 2 * margin), abs=1)
    assert columns.mean() == pytest.approx(55.5, abs=1)
    # Square around a box, moved up: less of it is below the face than beside.
    assert rows.min() == pytest.approx(columns.min() + 112 / (1 + 2 * margin) * lift, abs=1)


def test_a_face_whose_points_all_lie_in_one_place_is_seen_by_its_box(
    pictures: FamiliarExtractor,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8)
    box = (100.0, 100.0, 180.0, 180.0)
    by_box = extractor(pictures).prepare_face(pixels, box)
    in_one_place = ((140.0, 140.0),) * 5
    assert np.array_equal(extractor(pictures).prepare_face(pixels, box, in_one_place), by_box)


def test_a_crop_is_seen_whole(pictures: FamiliarExtractor) -> None:
    pixels = np.full((40, 80, 3), 77, np.uint8)
    assert (extractor(pictures).prepare_face(pixels, None) == 77).all()


def test_vectors_are_of_unit_length_and_pictures_those_of_the_shipped(
    pictures: FamiliarExtractor,
) -> None:
    made = extractor(pictures)
    faces = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3)).astype(np.uint8)
    vectors = made.embed_faces(faces)
    assert vectors.shape == (3, made.face_dimensions)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert made.embed_faces(faces[:0]).shape == (0, 6)
    prepared = made.prepare_picture(faces[0])[None]
    assert np.array_equal(made.embed_pictures(prepared), pictures.embed_pictures(prepared))
    assert (made.same_threshold, made.weights_of_both) == (0.4, pictures.weights_of_both)


def test_the_identity_is_that_of_both_networks(pictures: FamiliarExtractor) -> None:
    assert extractor(pictures, "a").sha256 == extractor(pictures, "a").sha256
    assert extractor(pictures, "a").sha256 != extractor(pictures, "b").sha256
    assert extractor(pictures, "a").sha256 != pictures.sha256


class TestIrSe50:
    """A file of the published layout, its numbers drawn by chance."""

    @pytest.fixture(scope="class")
    def published(self) -> dict[str, torch.Tensor]:
        with torch.device("meta"):
            shapes = IrSe50Network().state_dict()
        generator = torch.Generator().manual_seed(0)
        tensors = {}
        for name, value in shapes.items():
            if name.endswith("num_batches_tracked"):
                tensors[name] = torch.tensor(7)
            elif name.endswith("running_var"):
                tensors[name] = torch.ones(value.shape)
            elif value.dim() == 1 and name.endswith("weight"):
                tensors[name] = 0.5 + torch.rand(value.shape, generator=generator)
            else:
                spread = (2 / value[0].numel()) ** 0.5
                tensors[name] = spread * torch.randn(value.shape, generator=generator)
        return tensors

    def test_it_is_loaded_and_makes_vectors(
        self, published: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / "model_ir_se50.pth"
        torch.save(published, path)
        loaded = load_extractor(f"ir-se50:{path}")
        assert (loaded.name, loaded.face_dimensions) == ("ir-se50", 512)
        assert loaded.same_threshold is None
        faces = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3)).astype(np.uint8)
        vectors = loaded.embed_faces(faces)
        assert vectors.shape == (2, 512)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert not np.allclose(vectors[0], vectors[1])

    def test_one_whose_vectors_are_no_numbers_is_refused_at_its_first_look(
        self, published: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        path = tmp_path / "model_ir_se50.pth"
        torch.save(published | {"input_layer.1.running_var": -torch.ones(64)}, path)
        loaded = load_extractor(f"ir-se50:{path}")
        with pytest.raises(ModelError, match=r"ir-se50 loads, but .* not of finite numbers"):
            look_first(loaded)

    def test_a_checkpoint_of_another_network_is_refused_by_the_names_of_its_tensors(
        self, published: dict[str, torch.Tensor], tmp_path: Path
    ) -> None:
        tensors = dict(published)
        del tensors["body.3.shortcut_layer.0.weight"]
        tensors["classes.weight"] = torch.zeros(2)
        tensors["output_layer.3.weight"] = torch.zeros(512, 8)
        path = tmp_path / "other.pth"
        torch.save(tensors, path)
        with pytest.raises(ModelError) as refused:
            load_extractor(f"ir-se50:{path}")
        for part in (
            "missing: body.3.shortcut_layer.0.weight",
            "unknown: classes.weight",
            "of another shape: output_layer.3.weight (512, 8) for (512, 25088)",
        ):
            assert part in str(refused.value)


@pytest.mark.parametrize("name", ["nobody", "ir-se50", "onnx", "ir-se50:", "what:file.pth"])
def test_a_name_that_there_is_not_is_answered_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ModelError, match=r"known: familiar-character, .*ir-se50:FILE\.pth"):
        load_extractor(name)


@pytest.mark.parametrize("name", ["ir-se50:.", "ir-se50:/", "onnx:.", "onnx:/"])
def test_a_folder_in_place_of_a_file_is_named(name: str) -> None:
    with pytest.raises(ModelError, match=r"^[./] cannot be read \(Is a directory\)\.$"):
        load_extractor(name)


def test_a_folder_that_training_wrote_is_loaded_by_its_path() -> None:
    shipped = load_extractor()
    assert load_extractor(str(SHIPPED / "familiar-character")).sha256 == shipped.sha256
