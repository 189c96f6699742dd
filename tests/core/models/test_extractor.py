from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from core.models import ModelError, load_extractor
from core.models.extractor import CONFIGURATION, FACE_WEIGHTS, PICTURE_WEIGHTS, FamiliarExtractor

SHIPPED = Path(__file__).parents[3] / "core" / "models" / "familiar-character"


@pytest.fixture(scope="module")
def extractor() -> FamiliarExtractor:
    loaded = load_extractor("familiar-character")
    assert isinstance(loaded, FamiliarExtractor)
    return loaded


def drawn_faces(side: int, count: int = 5) -> np.ndarray:
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:side, :side]
    faces = np.empty((count, side, side, 3), np.uint8)
    for face in faces:
        face[:] = rng.integers(0, 256, 3)
        radius = side * rng.uniform(0.25, 0.4)
        disc = (rows - side / 2) ** 2 + (columns - side / 2) ** 2 < radius**2
        face[disc] = rng.integers(0, 256, 3)
    return faces


def test_vectors_are_compact_and_of_unit_length(extractor: FamiliarExtractor) -> None:
    faces = extractor.embed_faces(drawn_faces(extractor.face_side))
    pictures = extractor.embed_pictures(drawn_faces(extractor.picture_side))
    assert faces.shape == (5, extractor.face_dimensions)
    assert pictures.shape == (5, extractor.picture_dimensions)
    assert extractor.face_dimensions <= 512
    assert 64 <= extractor.picture_dimensions <= 128
    for vectors in (faces, pictures):
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert np.ptp(vectors, axis=0).max() > 0.05  # different pictures, different vectors


def test_nothing_in_nothing_out(extractor: FamiliarExtractor) -> None:
    side = extractor.face_side
    found = extractor.embed_faces(np.empty((0, side, side, 3), np.uint8))
    assert found.shape == (0, extractor.face_dimensions)
    side = extractor.picture_side
    empty = extractor.embed_pictures(np.empty((0, side, side, 3), np.uint8))
    assert empty.shape == (0, extractor.picture_dimensions)


def test_a_vector_does_not_depend_on_its_company(extractor: FamiliarExtractor) -> None:
    faces = drawn_faces(extractor.face_side)
    together = extractor.embed_faces(faces)
    alone = np.concatenate([extractor.embed_faces(face[None]) for face in faces])
    assert np.allclose(together, alone, atol=1e-4)


def test_a_face_finds_its_mirror_image_before_all_others(extractor: FamiliarExtractor) -> None:
    faces = drawn_faces(extractor.face_side).copy()
    faces[:, :, : extractor.face_side // 3] = (20, 30, 200)
    likeness = extractor.embed_faces(faces) @ extractor.embed_faces(faces[:, :, ::-1].copy()).T
    assert (likeness.argmax(1) == np.arange(len(faces))).all()
    assert likeness.diagonal().min() > 0.85


@pytest.mark.parametrize(("share", "least"), [(0.75, 0.95), (1.0, 0.9999)])
def test_a_face_and_its_mirror_image_are_nearly_the_same_where_each_network_sees_both(
    tmp_path: Path, share: float, least: float
) -> None:
    folder = shutil.copytree(SHIPPED, tmp_path / "both")
    described = json.loads((folder / CONFIGURATION).read_bytes())
    described["face"] |= {"mirror_share": share, "divided": False}
    (folder / CONFIGURATION).write_text(json.dumps(described))
    extractor = FamiliarExtractor.load(folder)
    face = drawn_faces(extractor.face_side)[:1].copy()
    face[:, :, : extractor.face_side // 3] = (20, 30, 200)
    one, other = extractor.embed_faces(np.concatenate([face, face[:, :, ::-1]]))
    assert float(one @ other) > least


def test_a_face_is_seen_with_its_hair(extractor: FamiliarExtractor) -> None:
    """The box is brow to chin; what is around it, and more above it, belongs to the extractor."""
    picture = np.zeros((500, 500, 3), np.uint8)
    picture[200:300, 200:300] = 255  # the box
    seen = extractor.prepare_face(picture, (200, 200, 300, 300))
    assert seen.shape == (extractor.face_side, extractor.face_side, 3)
    bright = seen[:, :, 0] > 127
    assert bright.mean() == pytest.approx(1 / (1 + 2 * extractor.framing.margin) ** 2, rel=0.08)
    above, below = bright.any(1).argmax(), bright.any(1)[::-1].argmax()
    assert above > 2 * below
    assert extractor.framing.lift > 0.2


@pytest.mark.parametrize("shape", [(40, 40), (40, 90), (90, 40), (1, 1), (7, 500), (1200, 800)])
def test_pictures_of_any_shape_are_prepared(
    extractor: FamiliarExtractor, shape: tuple[int, int]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    face, picture = extractor.prepare_face(pixels, None), extractor.prepare_picture(pixels)
    assert face.shape == (extractor.face_side, extractor.face_side, 3)
    assert picture.shape == (extractor.picture_side, extractor.picture_side, 3)
    assert face.dtype == picture.dtype == np.uint8
    beyond = extractor.prepare_face(pixels, (-5.0, -5.0, shape[1] + 9.0, shape[0] + 9.0))
    assert beyond.shape == face.shape


def test_several_threads_get_what_one_gets(extractor: FamiliarExtractor) -> None:
    faces = drawn_faces(extractor.face_side)
    alone = extractor.embed_faces(faces)
    found: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: found.append(extractor.embed_faces(faces)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.allclose(vectors, alone, atol=1e-4) for vectors in found)


def test_the_name_of_the_weights_follows_every_file(tmp_path: Path) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    first = FamiliarExtractor.load(copy).sha256
    assert first == FamiliarExtractor.load(SHIPPED).sha256
    assert len(first) == 64
    told = json.loads((copy / CONFIGURATION).read_text())
    names = {first}
    for changed in ({"margin": 0.5}, {"lift": 0.1}, {"weights_of_both": [0.5, 0.5]}):
        (copy / CONFIGURATION).write_text(json.dumps(told | changed))
        names.add(FamiliarExtractor.load(copy).sha256)
    assert len(names) == 4


def test_a_folder_has_its_name_from_within_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shutil.copytree(SHIPPED, tmp_path / "copy"))
    assert load_extractor("trained:.").name == "copy"


def test_another_threshold_asks_for_no_other_index(tmp_path: Path) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    told = json.loads((copy / CONFIGURATION).read_text())
    changed = {"same_character_threshold": 0.75, "false_accepts": 0.5}
    (copy / CONFIGURATION).write_text(json.dumps(told | changed))
    other = FamiliarExtractor.load(copy)
    assert other.same_threshold == 0.75
    assert other.sha256 == FamiliarExtractor.load(SHIPPED).sha256


@pytest.mark.parametrize("name", [CONFIGURATION, FACE_WEIGHTS, PICTURE_WEIGHTS])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_a_missing_or_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    if damage == "missing":
        (copy / name).unlink()
    elif damage == "cut":
        data = (copy / name).read_bytes()
        (copy / name).write_bytes(data[: len(data) // 2])
    else:
        (copy / name).write_bytes(b"{}")
    with pytest.raises(ModelError, match=name):
        FamiliarExtractor.load(copy)


@pytest.mark.parametrize("name", [FACE_WEIGHTS, PICTURE_WEIGHTS])
def test_weights_of_another_training_are_refused_though_they_fit(tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    save_file({key: 2 * value for key, value in load_file(copy / name).items()}, copy / name)
    with pytest.raises(ModelError, match=rf"{name} is damaged or was replaced"):
        FamiliarExtractor.load(copy)


def test_what_one_training_wrote_is_still_to_be_put_together(tmp_path: Path) -> None:
    shutil.copy(SHIPPED / FACE_WEIGHTS, tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match=r"one network.* `familiar train assemble`"):
        load_extractor(f"trained:{tmp_path}")


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    shutil.copy(copy / PICTURE_WEIGHTS, copy / FACE_WEIGHTS)
    with pytest.raises(ModelError, match=r"missing: .*unknown: .*familiar train extractor"):
        FamiliarExtractor.load(copy)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"network.embed.weight": None}, r"missing: network\.embed\.weight\."),
        ({"extra": torch.zeros(1)}, r"unknown: extra\."),
        (
            {"network.embed.weight": torch.zeros(2, 3)},
            r"network\.embed\.weight \(2, 3\) for \(96, ",
        ),
        ({"network.embed_norm.bias": torch.full((96,), torch.nan)}, "not of finite numbers"),
        ({"network.embed_norm.bias": torch.full((96,), -torch.inf)}, "not of finite numbers"),
    ],
    ids=["missing", "surplus", "shape", "nan", "infinite"],
)
def test_weights_that_do_not_fit_are_named(
    tmp_path: Path, changes: dict[str, torch.Tensor | None], told: str
) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    weights = load_file(copy / PICTURE_WEIGHTS) | changes
    save_file({k: v for k, v in weights.items() if v is not None}, copy / PICTURE_WEIGHTS)
    with pytest.raises(ModelError, match=rf"{PICTURE_WEIGHTS} does not hold .*{told}"):
        FamiliarExtractor.load(copy)


@pytest.mark.parametrize(
    "stages",
    [
        {"widths": [32, 64]},
        {"widths": [], "depths": []},
        {"widths": [0, 64, 128, 256]},
        {"depths": [1, 1, 1, -1]},
    ],
    ids=["lengths", "none", "width", "depth"],
)
@pytest.mark.parametrize("beside", [False, True])
def test_stages_that_make_no_network_are_a_damaged_description(
    tmp_path: Path, stages: dict[str, list[int]], beside: bool
) -> None:
    copy = shutil.copytree(SHIPPED, tmp_path / "copy")
    described = json.loads((copy / CONFIGURATION).read_bytes())
    changed = described["face"]["beside"][0] if beside else described["picture"]
    changed |= stages
    (copy / CONFIGURATION).write_text(json.dumps(described))
    with pytest.raises(ModelError, match=f"{CONFIGURATION} is damaged or of another version"):
        FamiliarExtractor.load(copy)
