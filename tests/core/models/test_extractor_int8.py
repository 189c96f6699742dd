"""The shipped extractor in int8, and files that are not its own."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import core.models.extractor
from cli.demo import gallery as demo
from cli.demo.characters import CHARACTERS
from core.face import Pixels
from core.models import DEFAULT_EXTRACTOR, SHIPPED, ModelError, load_extractor
from core.models.chosen import load_extractor_of
from core.models.extractor import FACE_WEIGHTS, INT8, PICTURE_WEIGHTS, FamiliarExtractor
from core.models.packed import can_pack
from core.settings import ModelSettings

FACE, PICTURE = INT8
pytestmark = pytest.mark.skipif(not can_pack(), reason="this PyTorch cannot pack convolutions")


@pytest.fixture(scope="module")
def exact() -> FamiliarExtractor:
    return FamiliarExtractor.load(SHIPPED / DEFAULT_EXTRACTOR)


@pytest.fixture(scope="module")
def coarse() -> FamiliarExtractor:
    return FamiliarExtractor.load(SHIPPED / DEFAULT_EXTRACTOR, precision="int8")


@pytest.fixture(scope="module")
def drawn() -> list[Pixels]:
    pictures = [demo.picture(who, number) for number in (1, 2) for who in CHARACTERS[:5]]
    return [np.asarray(picture.convert("RGB")) for picture in pictures]


def both_of(extractor: FamiliarExtractor, pictures: list[Pixels]) -> tuple[np.ndarray, np.ndarray]:
    faces = np.stack([extractor.prepare_face(picture, None) for picture in pictures])
    wholes = np.stack([extractor.prepare_picture(picture) for picture in pictures])
    return extractor.embed_faces(faces), extractor.embed_pictures(wholes)


def test_vectors_are_turned_by_a_little(
    exact: FamiliarExtractor, coarse: FamiliarExtractor, drawn: list[Pixels]
) -> None:
    assert (exact.precision, coarse.precision) == ("float32", "int8")
    assert coarse.sha256 == exact.sha256  # an index made in one precision serves the other
    for one, other in zip(both_of(exact, drawn), both_of(coarse, drawn), strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(np.linalg.norm(other, axis=1), 1, atol=1e-5)
        cosines = (one * other).sum(1)
        assert 0.98 < cosines.min() <= cosines.mean() < 0.99999


def test_a_picture_is_answered_alike_alone_and_among_others(
    coarse: FamiliarExtractor, drawn: list[Pixels]
) -> None:
    together = both_of(coarse, drawn)
    for number, picture in enumerate(drawn):
        for one, all_of_them in zip(both_of(coarse, [picture]), together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[number], atol=1e-5)


def test_it_is_what_is_taken_on_a_processor(
    coarse: FamiliarExtractor, drawn: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    network = core.models.quantised.QuantisedNetwork
    monkeypatch.setattr(
        core.models.quantised,
        "QuantisedNetwork",
        lambda content, threads: told.append(threads) or network(content, threads),
    )
    taken = load_extractor_of(ModelSettings(device="cpu", threads=1))
    assert told == [1, 1]
    for one, other in zip(both_of(taken, drawn), both_of(coarse, drawn), strict=True):
        np.testing.assert_array_equal(one, other)


def test_where_the_last_layers_cannot_be_packed_it_computes_in_float32(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(core.models.extractor, "can_pack", lambda: False)
    assert load_extractor(precision="int8").precision == "float32"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / DEFAULT_EXTRACTOR, tmp_path / "extractor"))


def describe(folder: Path, **changes: object) -> None:
    described = json.loads((folder / "extractor.json").read_text())
    (folder / "extractor.json").write_text(json.dumps(described | changes))


def test_networks_that_are_not_listed_are_not_looked_at(copied: Path) -> None:
    describe(copied, files=None)
    (copied / FACE).write_bytes(b"anything")
    assert FamiliarExtractor.load(copied, precision="int8").precision == "float32"


@pytest.mark.parametrize("name", INT8)
def test_a_damaged_or_missing_network_is_refused(copied: Path, name: str) -> None:
    with (copied / name).open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    with pytest.raises(ModelError, match=f"{name} is missing, damaged or was replaced"):
        FamiliarExtractor.load(copied, precision="int8")
    (copied / name).unlink()
    with pytest.raises(ModelError, match=f"{name} is missing, damaged or was replaced"):
        FamiliarExtractor.load(copied, precision="int8")
    FamiliarExtractor.load(copied, precision="float32")


@pytest.mark.parametrize("name", [FACE_WEIGHTS, PICTURE_WEIGHTS])
def test_other_weights_than_those_it_was_made_of_are_refused(copied: Path, name: str) -> None:
    tensors = load_file(copied / name)
    first = next(iter(tensors))
    tensors[first] = tensors[first] + 1
    save_file(tensors, copied / name)
    for precision in ("int8", "float32"):
        with pytest.raises(ModelError, match=f"{name} is damaged or was replaced"):
            FamiliarExtractor.load(copied, precision=precision)


def listed(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in INT8}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param(FACE, (SHIPPED / DEFAULT_EXTRACTOR / PICTURE).read_bytes(), id="the other's"),
        pytest.param(
            PICTURE, (SHIPPED / "familiar-face/int8/2.onnx").read_bytes(), id="a detector's"
        ),
    ],
)
def test_a_network_of_another_shape_is_refused(copied: Path, name: str, content: bytes) -> None:
    (copied / name).write_bytes(content)
    describe(copied, files=listed(copied))
    with pytest.raises(ModelError, match=f"{name} does not belong to the extractor beside it"):
        FamiliarExtractor.load(copied, precision="int8")


def test_what_is_no_network_is_refused(copied: Path) -> None:
    (copied / FACE).write_bytes(b"no network")
    describe(copied, files=listed(copied))
    with pytest.raises(ModelError, match=f"{FACE} cannot be used .*not an ONNX file that can be"):
        FamiliarExtractor.load(copied, precision="int8")
