"""From two trainings to an extractor."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from cli.main import main
from core.face import Pixels, Vectors
from core.framing import HEADS, Framing, resized
from core.models import ModelError
from core.models.backbones import EmbeddingNetwork, NetworkShape
from core.models.extractor import FamiliarExtractor, as_values
from core.models.irse50 import IrSe50Network
from core.retrieval import pair_likenesses, threshold_at
from core.train import assemble as assembling
from core.train.assemble import (
    COLOUR_COMPONENTS,
    WHITENING,
    Choices,
    assemble,
    choose_threshold,
    colours_of,
    examples_in,
    load_characters,
    projection_of,
    trained_on_pictures,
    write_networks,
)
from core.train.copies import copied, prints_of, write_prints
from core.train.face_data import LabelledPictures, TrainingDataError
from core.train.histogram import fit_histogram
from core.train.results import EXTRACTOR_CHECKPOINT, LEARNED, METRICS, WEIGHTS
from core.train.trained import TrainedNetwork, learned_among
from core.train.whitening import whitening_matrix
from core.voc import AnnotationError
from tests.cli.commands import ended
from tests.core.directions import whitened
from tests.core.train.drawings import coloured

SHAPE = NetworkShape((8, 16), (1, 1), 6, colour_channels=4, colour_cells=2)


@pytest.fixture
def characters(tmp_path: Path) -> Path:
    folder = tmp_path / "characters"
    for number, picture in enumerate(coloured(60)):
        place = folder / f"character {number // 10}"
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), picture)
    return folder


def written(out: Path, seed: int, shape: NetworkShape = SHAPE) -> Path:
    """What a training writes, its weights drawn."""
    torch.manual_seed(seed)
    weights = {
        name: value
        for name, value in EmbeddingNetwork(shape).state_dict().items()
        if value.dtype.is_floating_point
    }
    out.mkdir()
    save_file(weights, out / WEIGHTS)
    options = {
        "shape": asdict(shape),
        "sides": [[0.5, 24], [1.0, 32]],
        "backbone": "familiar",
        "loss": "familiar",
        "of": "faces",
    }
    (out / METRICS).write_text(json.dumps({"options": options}))
    write_prints(prints_of([]), out / LEARNED)
    return out


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return written(tmp_path / "trained", 1)


def edited(trained: Path, to: Path, **options: object) -> Path:
    """The same result of a training that was given other options."""
    shutil.copytree(trained, to)
    written = json.loads((to / METRICS).read_text())
    written["options"] |= options
    (to / METRICS).write_text(json.dumps(written))
    return to


def of_wholes(trained: Path) -> Path:
    """The same network as if it were trained on whole pictures."""
    return edited(trained, trained.with_name(f"{trained.name} on wholes"), of="pictures")


@pytest.fixture
def wholes(trained: Path) -> Path:
    return of_wholes(trained)


def assembled(
    face: Path, picture: Path, out: Path, choices: Choices, *, beside: Sequence[Path] = ()
) -> float:
    """All of it, on a few drawn pictures."""
    characters = LabelledPictures(coloured(6), np.arange(6) % 2, ("a", "b"))
    return assemble(
        face,
        picture,
        out,
        choices,
        beside=beside,
        characters=characters,
        crops=characters.pixels,
        pictures=characters.pixels,
        false_accepts=0.2,
    )


def test_an_assembled_extractor_weighs_colours_and_learned_part(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    colours = fit_histogram(coloured(40), 5)
    both = Choices(colours=(colours, 0.7))
    extractor = FamiliarExtractor.load(write_networks(trained, wholes, tmp_path / "both", both))
    alone = FamiliarExtractor.load(write_networks(trained, wholes, tmp_path / "alone"))
    assert (extractor.picture_dimensions, alone.picture_dimensions) == (11, 6)
    assert extractor.picture_side == extractor.face_side == 32
    pictures = np.stack([extractor.prepare_picture(picture) for picture in coloured(4)])
    found = extractor.embed_pictures(pictures)
    learned = alone.embed_pictures(pictures)
    with torch.inference_mode():
        colour = colours(as_values(pictures)).numpy()
    expected = 0.7 * colour @ colour.T + 0.3 * learned @ learned.T
    assert np.allclose(found @ found.T, expected, atol=1e-3)


def test_a_picture_network_can_be_taken_over(trained: Path, wholes: Path, tmp_path: Path) -> None:
    colours = Choices(colours=(fit_histogram(coloured(40), 5), 0.7))
    first = write_networks(trained, wholes, tmp_path / "first", colours)
    second = write_networks(trained, first, tmp_path / "second", Choices(framing=Framing(0.3)))
    assert (first / "picture.safetensors").read_bytes() == (
        second / "picture.safetensors"
    ).read_bytes()
    pictures = coloured(2, side=32)
    assert np.array_equal(
        FamiliarExtractor.load(first).embed_pictures(pictures),
        FamiliarExtractor.load(second).embed_pictures(pictures),
    )
    assert FamiliarExtractor.load(second).framing.margin == 0.3


def test_a_stated_share_of_different_characters_reaches_the_threshold(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path
) -> None:
    folder = write_networks(trained, wholes, tmp_path / "extractor")
    pictures = load_characters(characters, HEADS)

    for share in (0.01, 0.2):
        threshold = choose_threshold(folder, pictures, share)
        extractor = FamiliarExtractor.load(folder)
        assert extractor.same_threshold == threshold
        assert extractor.configuration.false_accepts == share
        squares = [extractor.prepare_face(pixels, None) for pixels in pictures.pixels]
        vectors = extractor.embed_faces(np.stack(squares))
        _, different = pair_likenesses(vectors, pictures.labels)
        assert (different >= threshold).mean() == pytest.approx(share, abs=0.002)


def written_crops(folder: Path, *, cells: int, side: int) -> np.ndarray:
    """Fifty face crops ``(50, side, side, 3)`` of coloured cells that run into each other."""
    folder.mkdir()
    coarse = np.random.default_rng(7).integers(0, 256, (50, cells, cells, 3), np.uint8)
    faces = np.stack([cv2.resize(each, (side, side)) for each in coarse])
    for number, pixels in enumerate(faces):
        cv2.imwrite(str(folder / f"{number:02}.png"), pixels[:, :, ::-1])
    return faces


def test_a_projection_evens_out_what_the_networks_see(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    """As `TrainedNetwork` sees them, multiplied by the matrix; the mirror image comes after it."""
    crops = tmp_path / "crops"
    crops.mkdir()
    for number, pixels in enumerate(coloured(50)):
        cv2.imwrite(str(crops / f"{number}.png"), pixels)
    twice = Choices(mirror_share=1.0, divided=False)
    matrix = projection_of([trained, trained], [crops], twice)
    assert matrix.shape == (12, 12)
    short = replace(twice, projection=matrix[:, :4])

    folder = write_networks(trained, wholes, tmp_path / "projected", short, beside=[trained])
    extractor = FamiliarExtractor.load(folder)
    again = FamiliarExtractor.load(
        write_networks(trained, wholes, tmp_path / "plain", beside=[trained])
    )

    assert (extractor.face_dimensions, again.face_dimensions) == (4, 12)
    faces = coloured(6, side=32)
    one_way = TrainedNetwork(trained).embed(faces), TrainedNetwork(trained).embed(faces[:, :, ::-1])
    seen = [np.concatenate([vectors, vectors], 1) / 2**0.5 for vectors in one_way]
    expected = sum(whitened(vectors, matrix[:, :4]) for vectors in seen)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert extractor.embed_faces(faces) == pytest.approx(expected, abs=2e-3)


def test_a_projection_of_one_network_is_fitted_to_both_of_its_looks(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    """The mirror image is seen closer."""
    crops = tmp_path / "crops"
    faces = written_crops(crops, cells=4, side=32)
    closer = Choices(mirror_share=0.5)
    seen = FamiliarExtractor.load(write_networks(trained, wholes, tmp_path / "plain", closer))
    expected = whitening_matrix(seen.embed_faces(faces), 6, WHITENING)
    matrix = projection_of([trained], [crops], closer)
    whole = projection_of([trained], [crops], Choices(mirror_share=1.0))
    apart = np.abs(whole @ whole.T - expected @ expected.T).max()
    assert np.abs(matrix @ matrix.T - expected @ expected.T).max() < 0.1 * apart


def test_a_projection_is_measured_on_so_many_pictures_at_most(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, pictures in (("all", coloured(50)), ("some", coloured(50)[[0, 12, 24, 37, 49]])):
        (tmp_path / folder).mkdir()
        for number, pixels in enumerate(pictures):
            cv2.imwrite(str(tmp_path / folder / f"{number:02}.png"), pixels)
    of_five = projection_of([trained], [tmp_path / "some"])
    assert not np.allclose(projection_of([trained], [tmp_path / "all"]), of_five, atol=0.01)
    monkeypatch.setattr("core.train.assemble.REFERENCES", 5)
    # Spread evenly, the first and the last among them.
    assert projection_of([trained], [tmp_path / "all"]) == pytest.approx(of_five, abs=1e-4)


def test_the_mirror_image_shows_the_middle_of_the_square(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    once, closer, whole = (
        FamiliarExtractor.load(write_networks(trained, wholes, tmp_path / name, choices))
        for name, choices in (
            ("once", Choices(mirrored=False)),
            ("closer", Choices(mirror_share=0.5)),
            ("whole", Choices(mirror_share=1.0)),
        )
    )
    coarse = np.random.default_rng(3).integers(0, 256, (6, 6, 6, 3), np.uint8)
    faces = np.stack([cv2.resize(each, (32, 32)) for each in coarse])
    middles = np.stack([cv2.resize(face[8:24, 8:24], (32, 32)) for face in faces])

    def both(second: Pixels) -> Vectors:
        vectors = once.embed_faces(faces) + once.embed_faces(second[:, :, ::-1].copy())
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    apart = np.abs(both(middles) - both(faces)).max()
    assert np.abs(closer.embed_faces(faces) - both(middles)).max() < 0.1 * apart
    assert np.abs(whole.embed_faces(faces) - both(faces)).max() < 0.1 * apart


def test_networks_may_see_each_face_once(trained: Path, wholes: Path, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    # Half grey, half something else: a mirror image is another picture.
    faces = np.full((50, 32, 32, 3), 128, np.uint8)
    faces[:, :, 16:] = np.random.default_rng(4).integers(0, 256, (50, 32, 16, 3))
    for number, pixels in enumerate(faces):
        cv2.imwrite(str(crops / f"{number}.png"), pixels)
    matrix = projection_of([trained], [crops], Choices(mirrored=False))
    assert not np.allclose(matrix, projection_of([trained], [crops]), atol=0.01)
    once = Choices(projection=matrix, mirrored=False)
    extractor = FamiliarExtractor.load(write_networks(trained, wholes, tmp_path / "once", once))
    expected = whitened(TrainedNetwork(trained).embed(faces), matrix)
    assert extractor.embed_faces(faces) == pytest.approx(expected, abs=5e-3)
    assert not np.allclose(extractor.embed_faces(faces[:, :, ::-1].copy()), expected, atol=0.05)


def test_joined_networks_divide_their_looks(trained: Path, wholes: Path, tmp_path: Path) -> None:
    networks = [trained, written(tmp_path / "other", 5)]
    choices = Choices(mirror_share=0.5)
    joined = FamiliarExtractor.load(
        write_networks(networks[0], wholes, tmp_path / "joined", choices, beside=networks[1:])
    )
    coarse = np.random.default_rng(3).integers(0, 256, (6, 6, 6, 3), np.uint8)
    faces = np.stack([cv2.resize(each, (32, 32)) for each in coarse])
    middles = np.stack([cv2.resize(face[8:24, 8:24], (32, 32))[:, ::-1] for face in faces])

    first, second = (TrainedNetwork(network) for network in networks)
    expected = np.concatenate([first.embed(faces), second.embed(middles)], 1) / 2**0.5
    turned = np.concatenate([first.embed(middles), second.embed(faces)], 1) / 2**0.5

    found = joined.embed_faces(faces)
    assert np.abs(found - expected).max() < 0.1 * np.abs(turned - expected).max()
    face = joined.configuration.face
    assert face.divided
    assert 2 * face.multiply_adds == face.model_copy(update={"divided": False}).multiply_adds


def test_a_projection_is_fitted_to_the_looks_that_will_be_taken(
    trained: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    faces = written_crops(crops, cells=6, side=128)
    networks = [trained, written(tmp_path / "other", 5)]
    first, second = (TrainedNetwork(network) for network in networks)
    squares = np.stack([resized(pixels, 32) for pixels in faces])
    middles = squares[:, 8:24, 8:24][:, :, ::-1]
    seen = np.concatenate([first.embed(squares), second.embed(middles)], 1) / np.float32(2**0.5)
    wanted = whitening_matrix(seen, 12, WHITENING)

    def fitted(choices: Choices) -> Vectors:
        matrix = projection_of(networks, [crops], choices)
        # By what it does to lengths: single columns may come with either sign.
        return matrix @ matrix.T

    expected = pytest.approx(wanted @ wanted.T, rel=1e-3, abs=1e-3)
    assert fitted(Choices(mirror_share=0.5)) == expected
    assert fitted(Choices(mirror_share=1.0)) != expected
    assert fitted(Choices(mirror_share=0.5, divided=False)) != expected


def test_looks_are_divided_among_several_networks_alone(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    folder = write_networks(trained, wholes, tmp_path / "alone")
    assert not FamiliarExtractor.load(folder).configuration.face.divided
    described = json.loads((folder / "extractor.json").read_bytes())
    described["face"]["divided"] = True
    (folder / "extractor.json").write_text(json.dumps(described))
    with pytest.raises(ModelError, match="damaged or of another version"):
        FamiliarExtractor.load(folder)


def test_one_command_assembles_an_extractor(
    trained: Path,
    wholes: Path,
    characters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "extractor"
    options = ["--out", out, "--characters", characters, "--colours", characters]
    options += ["--false-accepts", 0.1, "--unlabelled", characters, "--no-mirrored"]
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *(str(each) for each in (trained, wholes, *options))])

    assert not end.value.code
    extractor = FamiliarExtractor.load(out)
    assert extractor.configuration.false_accepts == 0.1
    assert f"{extractor.same_threshold:.3f}" in capsys.readouterr().out
    assert extractor.picture_dimensions == SHAPE.dimensions + COLOUR_COMPONENTS
    assert extractor.configuration.face.projected == SHAPE.dimensions
    assert not extractor.configuration.face.mirrored
    in_int8 = FamiliarExtractor.load(out, precision="int8")
    assert in_int8.precision == "int8"
    pixels = list(coloured(6))
    squares = np.stack([extractor.prepare_face(each, None) for each in pixels])
    vectors = extractor.embed_faces(squares), in_int8.embed_faces(squares)
    assert np.einsum("nd,nd->n", *vectors).min() > 0.95
    assert not np.array_equal(*vectors)


def test_the_threshold_is_that_of_int8(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "extractor"
    faces = load_characters(characters, HEADS)
    in_float32 = choose_threshold(write_networks(trained, wholes, folder), faces, 0.2)
    in_int8 = assemble(
        trained,
        wholes,
        folder,
        Choices(),
        characters=faces,
        crops=faces.pixels,
        pictures=examples_in([characters], "squeeze"),
        false_accepts=0.2,
    )
    assert in_int8 != in_float32
    loaded = FamiliarExtractor.load(folder, precision="int8")
    assert (loaded.precision, loaded.same_threshold) == ("int8", in_int8)
    squares = np.stack([loaded.prepare_face(each, None) for each in faces.pixels])
    assert in_int8 == threshold_at(loaded.embed_faces(squares), faces.labels, 0.2)[0]


def test_networks_of_different_shapes_have_no_int8(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    other = written(tmp_path / "other", 2, replace(SHAPE, widths=(8, 24)))
    folder = tmp_path / "extractor"
    assembled(trained, wholes, folder, Choices(), beside=[other])
    assert FamiliarExtractor.load(folder, precision="int8").precision == "float32"
    assert not (folder / "int8").exists()


def test_characters_that_a_network_was_trained_on_are_said(
    trained: Path,
    wholes: Path,
    characters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Given two trainings, the second on half of them."""
    other = written(tmp_path / "other", 2)
    command = ["train", "assemble", trained, wholes, "--beside", other, "--out", tmp_path / "out"]
    command += ["--characters", characters]

    def told() -> str:
        with pytest.raises(SystemExit) as end:
            main([str(each) for each in command])
        assert not end.value.code
        return capsys.readouterr().err

    assert "trained on" not in told()
    pixels = load_characters(characters, HEADS).pixels
    write_prints(prints_of(255 - pixels), trained / LEARNED)
    assert "trained on" not in told()
    write_prints(prints_of(pixels[:30]), other / LEARNED)
    expected = int(copied(prints_of(pixels), prints_of(pixels[:30])).sum())
    assert expected >= 30
    assert f"trained on {expected} of the 60 pictures of {characters}, or on copies" in told()


def test_a_damaged_or_missing_file_of_what_was_learned_is_a_sentence(trained: Path) -> None:
    (trained / LEARNED).write_bytes(b"no tensors")
    with pytest.raises(ModelError, match=r"learned\.safetensors holds no prints .*\. Train anew"):
        learned_among(coloured(2), [trained])
    (trained / LEARNED).unlink()
    with pytest.raises(ModelError, match=r"trained does not hold what .*; train anew"):
        learned_among(coloured(2), [trained])


@pytest.mark.parametrize(("option", "divided"), [([], True), (["--no-divided"], False)])
def test_one_command_joins_networks(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path, option: list[str], divided: bool
) -> None:
    out = tmp_path / "extractor"
    options = ["--beside", trained, "--out", out, "--characters", characters, *option]
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *(str(each) for each in (trained, wholes, *options))])
    assert not end.value.code
    assert FamiliarExtractor.load(out).configuration.face.divided == divided


@pytest.mark.parametrize("read", ["face", "picture", "beside", "faces", "crops", "colours"])
def test_no_extractor_is_written_into_what_it_is_made_of(
    characters: Path,
    tmp_path: Path,
    read: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A training with ``extractor.json`` beside it would be taken for an extractor ever after."""
    monkeypatch.setattr(assembling, "load_characters", lambda *_: pytest.fail("crops were read"))
    trainings = {each: written(tmp_path / each, 1) for each in ("face", "picture", "beside")}
    folders = {each: tmp_path / each for each in ("faces", "crops", "colours")}
    for folder in folders.values():
        shutil.copytree(characters, folder)
    places = {"characters": folders["faces"], "unlabelled": folders["crops"]}
    places |= {"colours": folders["colours"], "beside": trainings["beside"]}
    given = [trainings["face"], trainings["picture"], "--out", tmp_path / read]
    for option, place in places.items():
        given += [f"--{option}", place]
    assert ended("train", "assemble", *given) == 1
    assert f"{read} lies in {tmp_path / read}, which is only read" in capsys.readouterr().err
    assert not (tmp_path / read / "extractor.json").exists()


def test_an_extractor_that_a_picture_network_is_taken_from_may_be_replaced(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path
) -> None:
    out = write_networks(trained, wholes, tmp_path / "extractor")
    given = (trained, out, "--out", out, "--characters", characters)
    assert ended("train", "assemble", *given) == 0


@pytest.mark.parametrize(
    ("out", "closed", "sentence"),
    [
        ("file", "", "file is no folder; give --out another name."),
        ("file/new", "", "file is no folder; give --out another name."),
        ("there/deeper/new", "there", "there is read-only; give --out another name."),
        ("there", "there", "there is read-only; give --out another name."),
        ("there/inner", "there", "there is read-only; give --out another name."),
    ],
)
def test_where_no_extractor_can_be_written_nothing_is_computed(
    trained: Path,
    wholes: Path,
    characters: Path,
    tmp_path: Path,
    out: str,
    closed: str,
    sentence: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "there" / "inner").mkdir(parents=True)
    (tmp_path / "file").touch()

    def may(path: str | Path, rights: int) -> bool:
        return Path(path) != tmp_path / closed or not rights & os.W_OK

    monkeypatch.setattr(os, "access", may)  # root may write anywhere
    monkeypatch.setattr(assembling, "load_characters", lambda *_: pytest.fail("crops were read"))
    given = (trained, wholes, "--out", tmp_path / out, "--characters", characters)
    assert ended("train", "assemble", *given) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(sentence)


def test_an_extractor_is_not_replaced_by_one_whose_threshold_nobody_chose(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_networks(trained, wholes, tmp_path / "extractor", Choices(framing=Framing(0.1)))
    before = contents(out)

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr(assembling, "choose_threshold", interrupted)
    given = (trained, wholes, "--out", out, "--characters", characters)
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *map(str, given)])
    assert end.value.code == 130
    assert contents(out) == before


def test_a_threshold_can_be_chosen_on_named_boxes(tmp_path: Path) -> None:
    framing = Framing(0.5, lift=0.25)
    frames, cut = tmp_path / "frames", tmp_path / "cut"
    frames.mkdir()
    for number, pixels in enumerate(coloured(12, side=100)):
        cv2.imwrite(str(frames / f"{number}.png"), pixels)
        names = ("Aki", "Ben") if number % 3 else ("Cho", "unknown")
        boxes = [(20, 30, 40, 50), (60, 50, 80, 70)]
        objects = [
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for name, (x0, y0, x1, y1) in zip(names, boxes, strict=True)
        ]
        xml = f"<annotation>{''.join(objects)}</annotation>"
        (frames / f"{number}.xml").write_text(xml)
        for name, (x0, y0, x1, y1) in zip(names, boxes, strict=True):
            if name != "unknown":
                (cut / name).mkdir(parents=True, exist_ok=True)
                # Half a side around the box, and a quarter of one upwards.
                head = pixels[y0 - 15 : y1 + 5, x0 - 10 : x1 + 10]
                cv2.imwrite(str(cut / name / f"{number}.png"), head)

    boxed, crops = load_characters(frames, framing), load_characters(cut, framing)

    assert boxed.names == crops.names == ("Aki", "Ben", "Cho")

    def known(pictures: LabelledPictures) -> list[tuple[int, bytes]]:
        return sorted(
            zip(pictures.labels.tolist(), map(np.ndarray.tobytes, pictures.pixels), strict=True)
        )

    assert known(boxed) == known(crops)


def boxed(folder: Path, *boxes: tuple[str, tuple[int, int, int, int]]) -> Path:
    """Two named faces, and a picture ``(100, 120, 3)`` with further boxes."""
    folder.mkdir()
    known = [("Aki", (10, 10, 60, 60)), ("Ben", (40, 20, 90, 70))]
    for number, its in enumerate((known, boxes)):
        objects = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
            f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
            for name, (x0, y0, x1, y1) in its
        )
        (folder / f"{number}.xml").write_text(f"<annotation>{objects}</annotation>")
        pixels = np.random.default_rng(number).integers(0, 256, (100, 120, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), pixels)
    return folder


def test_a_box_ends_where_its_picture_ends(tmp_path: Path) -> None:
    far, whole = (
        load_characters(boxed(tmp_path / str(number), ("Aki", (0, 0, *corner))), HEADS)
        for number, corner in enumerate([(200_000, 200_000), (120, 100)])
    )
    assert (far.pixels == whole.pixels).all()
    assert far.labels.tolist() == [0, 1, 0]


def test_what_lies_outside_of_its_picture_is_nobodys_face(tmp_path: Path) -> None:
    outside = (5000, 5000, 5100, 5100)
    found = load_characters(
        boxed(tmp_path / "boxed", ("Cho", outside), ("Aki", (5, 5, 50, 50))), HEADS
    )
    assert found.names == ("Aki", "Ben")
    assert found.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize("name", ["unknown", "face", ""])
def test_boxes_without_a_name_of_their_own_are_not_one_character(tmp_path: Path, name: str) -> None:
    folder = boxed(tmp_path / "boxed", (name, (5, 5, 50, 50)), ("Aki", (60, 5, 110, 50)))
    found = load_characters(folder, HEADS)
    assert found.names == ("Aki", "Ben")
    assert found.labels.tolist() == [0, 1, 0]


def test_where_boxes_say_no_more_than_that_they_are_faces_names_are_asked_for(
    tmp_path: Path,
) -> None:
    folder = boxed(tmp_path / "boxed", ("face", (5, 5, 50, 50)))
    text = (folder / "0.xml").read_text()
    (folder / "0.xml").write_text(text.replace("Ben", "face"))
    with pytest.raises(
        TrainingDataError, match="the names of two characters or more; those called unknown or face"
    ):
        load_characters(folder, HEADS)


def test_face_crops_beside_a_hidden_annotation_are_face_crops(characters: Path) -> None:
    """macOS leaves such files."""
    (characters / "._0.xml").write_bytes(b"\0\5\x16\7 no XML")
    assert len(load_characters(characters, HEADS).names) == 6


def test_face_crops_beside_xml_of_something_else_are_face_crops(characters: Path) -> None:
    """Comics come with such files, one in each folder."""
    (characters / "character 0" / "ComicInfo.xml").write_text("<ComicInfo><Page/></ComicInfo>")
    assert len(load_characters(characters, HEADS).names) == 6


def test_a_face_all_along_a_strip_needs_no_square_of_its_length(tmp_path: Path) -> None:
    folder = boxed(tmp_path / "boxed", ("Aki", (0, 0, 60_000, 20)))
    strip = np.zeros((20, 60_000, 3), np.uint8)
    strip[:, 30_000:] = 200
    cv2.imwrite(str(folder / "1.png"), strip)
    face = load_characters(folder, HEADS).pixels[2]
    assert (face[:, :62] == 0).all()
    assert (face[:, 66:] == 200).all()


def test_joined_networks_compare_by_the_mean_of_their_cosines(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    shape = NetworkShape((8, 24), (1, 1), 10, colour_channels=0)
    other = written(tmp_path / "other", 2, shape)
    folders = (
        write_networks(trained, wholes, tmp_path / "one"),
        write_networks(other, wholes, tmp_path / "two"),
        write_networks(
            trained, wholes, tmp_path / "joined", Choices(divided=False), beside=[other]
        ),
    )
    one, two, joined = (FamiliarExtractor.load(folder) for folder in folders)

    faces = coloured(5, side=32)
    first, second, vectors = (each.embed_faces(faces) for each in (one, two, joined))

    assert joined.face_dimensions == vectors.shape[1] == 16
    expected = (first @ first.T + second @ second.T) / 2
    # The mean of a vector and its mirror image's is not of unit length before it is made so.
    assert np.allclose(np.diag(vectors @ vectors.T), 1, atol=1e-5)
    assert np.allclose(vectors @ vectors.T, expected, atol=0.02)


def test_what_no_training_wrote_cannot_be_assembled(
    characters: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    options = ["--out", tmp_path / "out", "--characters", characters]
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *(str(each) for each in (nothing, nothing, *options))])

    assert end.value.code == 1
    assert "does not hold what" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("left", [(EXTRACTOR_CHECKPOINT,), (EXTRACTOR_CHECKPOINT, WEIGHTS)])
def test_a_training_that_was_interrupted_is_to_be_gone_on_with(
    tmp_path: Path, left: tuple[str, ...]
) -> None:
    begun = tmp_path / "begun"
    begun.mkdir()
    for name in left:
        (begun / name).touch()
    with pytest.raises(ModelError, match=f"{begun} holds a training that is not finished.*resume"):
        TrainedNetwork(begun)
    (begun / METRICS).write_text("{}")
    with pytest.raises(ModelError, match="does not hold what"):
        TrainedNetwork(begun)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("place", ["face", "picture", "beside"])
@pytest.mark.parametrize("loss", ["triplet", "attributes"])
def test_losses_that_cosines_do_not_compare_are_refused(
    trained: Path, wholes: Path, tmp_path: Path, loss: str, place: str
) -> None:
    given = {"face": trained, "picture": wholes, "beside": trained}
    given[place] = edited(given[place], tmp_path / "of loss", loss=loss)
    with pytest.raises(ModelError, match=f"of loss was trained with the loss {loss}"):
        write_networks(given["face"], given["picture"], tmp_path / "out", beside=[given["beside"]])
    assert not (tmp_path / "out").exists()


def test_networks_in_each_others_place_are_refused(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    face = edited(trained, tmp_path / "face")
    picture = edited(wholes, tmp_path / "picture")
    with pytest.raises(ModelError, match=r"picture was trained on pictures, .* `--of faces`"):
        write_networks(picture, face, tmp_path / "out")
    with pytest.raises(ModelError, match=r"face was trained on faces, .* `--of pictures`"):
        write_networks(face, face, tmp_path / "out")
    with pytest.raises(ModelError, match="picture was trained on pictures"):
        write_networks(face, picture, tmp_path / "out", beside=[picture])
    with pytest.raises(ModelError, match="picture was trained on pictures"):
        projection_of([face, picture], [])
    with pytest.raises(ModelError, match="face was trained on faces"):
        trained_on_pictures(face)
    assert not (tmp_path / "out").exists()
    write_networks(face, picture, tmp_path / "out", beside=[face])


def test_colours_go_with_a_training_only(
    trained: Path,
    wholes: Path,
    characters: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = write_networks(trained, wholes, tmp_path / "first")
    given = (trained, first, "--out", tmp_path / "out", "--characters", characters)
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *map(str, (*given, "--colours", characters))])
    assert end.value.code == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "first is an extractor's folder" in told
    assert told.endswith("--colours goes with a training's folder only.")
    colours = Choices(colours=(fit_histogram(coloured(40), 5), 0.7))
    with pytest.raises(ModelError, match="--colours goes with a training's folder only"):
        write_networks(trained, first, tmp_path / "out", colours)
    assert not (tmp_path / "out").exists()


def test_losses_whose_vectors_are_of_unit_length_are_taken(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    face = edited(trained, tmp_path / "face", loss="triplet-semihard", backbone="familiar")
    picture = edited(wholes, tmp_path / "picture", loss="arcface")
    FamiliarExtractor.load(write_networks(face, picture, tmp_path / "out"))


def test_a_network_that_is_not_the_projects_own_is_refused(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    other = edited(trained, tmp_path / "other", backbone="ir-se50", sides=[[1.0, 112]])
    network = IrSe50Network()
    floats = {k: v for k, v in network.state_dict().items() if v.is_floating_point()}
    save_file(floats, other / WEIGHTS)
    for face, picture in ((other, wholes), (trained, of_wholes(other))):
        with pytest.raises(ModelError, match=r"other( on wholes)? holds a network ir-se50"):
            write_networks(face, picture, tmp_path / "out")
    with pytest.raises(ModelError, match="other holds a network ir-se50"):
        projection_of([trained, other], [])
    assert not (tmp_path / "out").exists()


def test_numbers_beyond_half_precision_are_refused(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    weights = load_file(trained / WEIGHTS)
    weights["embed.weight"][0, 0] = 1e6
    save_file(weights, trained / WEIGHTS)
    TrainedNetwork(trained)
    with pytest.raises(ModelError, match=r"not of finite numbers: embed\.weight"):
        write_networks(trained, wholes, tmp_path / "out")


def test_an_extractor_survives_what_cannot_take_its_place(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    out = write_networks(trained, wholes, tmp_path / "out")
    (out / "README.md").write_text("Kept.")
    before = contents(out)
    refused = edited(trained, tmp_path / "refused", loss="triplet")
    refused_wholes = of_wholes(refused)
    damaged = shutil.copytree(out, tmp_path / "damaged")
    (damaged / "picture.safetensors").write_bytes(b"{}")
    undescribed = shutil.copytree(out, tmp_path / "undescribed")
    (undescribed / "extractor.json").write_text("{}")
    for face, picture in (
        (refused, wholes),
        (trained, refused_wholes),
        (trained, tmp_path),
        (trained, damaged),
        (trained, undescribed),
    ):
        with pytest.raises(ModelError):
            assembled(face, picture, out, Choices())
    with pytest.raises(ValidationError):
        assembled(trained, wholes, out, Choices(framing=Framing(3.0)))
    assert contents(out) == before


def test_an_extractor_survives_a_full_disk(
    trained: Path, wholes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_networks(trained, wholes, tmp_path / "out")
    before = contents(out)
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "picture.safetensors":
            write(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        assembled(trained, wholes, out, Choices(framing=Framing(0.1)))
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out",
        "trained",
        "trained on wholes",
    ]


@pytest.mark.parametrize("hashed", [True, False], ids=["hashed", "from before there were hashes"])
@pytest.mark.parametrize("replaced", range(5))
def test_a_replacement_that_is_stopped_leaves_no_mixture(
    trained: Path,
    wholes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replaced: int,
    hashed: bool,
) -> None:
    """Stopped before the first of five files takes its place, and after each but the last."""
    out = write_networks(trained, wholes, tmp_path / "out")
    if not hashed:
        described = json.loads((out / "extractor.json").read_bytes())
        (out / "extractor.json").write_text(json.dumps(described | {"files": None}))
    other = written(tmp_path / "other", 2)
    other_wholes = of_wholes(other)
    choices = Choices(framing=Framing(0.1))
    assembled(other, other_wholes, tmp_path / "new", choices)
    before = FamiliarExtractor.load(out)
    replace_file, left = os.replace, replaced

    def stopped(source: Path, target: Path) -> None:
        nonlocal left
        if not left:
            raise KeyboardInterrupt
        left -= 1
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        assembled(other, other_wholes, out, choices)
    try:
        found = FamiliarExtractor.load(out)
    except ModelError:
        pass
    else:
        assert (found.sha256, found.framing) == (before.sha256, before.framing)
    monkeypatch.setattr(os, "replace", replace_file)
    assembled(other, other_wholes, out, choices)
    new = FamiliarExtractor.load(tmp_path / "new")
    assert FamiliarExtractor.load(out).sha256 == new.sha256


def test_weights_that_were_replaced_are_refused(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    out = write_networks(trained, wholes, tmp_path / "out")
    other = write_networks(written(tmp_path / "other", 2), wholes, tmp_path / "beside")
    shutil.copy(other / "face.safetensors", out)
    with pytest.raises(ModelError, match="was replaced"):
        FamiliarExtractor.load(out)


def test_an_extractor_is_replaced_and_other_files_are_left(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    out = write_networks(trained, wholes, tmp_path / "deep" / "out")
    (out / "README.md").write_text("Kept.")
    threshold = assembled(trained, out, out, Choices(framing=Framing(0.1)))
    extractor = FamiliarExtractor.load(out)
    assert (extractor.framing.margin, extractor.same_threshold) == (0.1, threshold)
    assert (out / "README.md").read_text() == "Kept."
    assert [path.name for path in out.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(("share", "passing"), [(0, 0.0), (1, 1.0)])
def test_none_or_all_different_characters_may_pass(
    trained: Path, wholes: Path, characters: Path, tmp_path: Path, share: int, passing: float
) -> None:
    out = tmp_path / "extractor"
    options = ["--out", out, "--characters", characters, "--false-accepts", share]
    with pytest.raises(SystemExit) as end:
        main(["train", "assemble", *(str(each) for each in (trained, wholes, *options))])
    assert not end.value.code
    extractor = FamiliarExtractor.load(out, precision="int8")
    pictures = load_characters(characters, HEADS)
    squares = [extractor.prepare_face(pixels, None) for pixels in pictures.pixels]
    _, different = pair_likenesses(extractor.embed_faces(np.stack(squares)), pictures.labels)
    assert (different >= extractor.same_threshold).mean() == passing


def test_no_threshold_is_chosen_on_both_sides_of_a_split(
    trained: Path,
    wholes: Path,
    characters: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both hold the same characters, whose pairs would be taken for pairs of different ones."""
    monkeypatch.chdir(tmp_path)
    for side in ("train", "val"):
        shutil.copytree(characters, Path("split") / side)
    command = ("train", "assemble", trained, wholes, "--out", "extractor", "--characters")
    assert ended(*command, "split") == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "split holds both sides of a split, train and val; name split/val." in told
    assert not Path("extractor").exists()
    assert ended(*command, "split/val") == 0


def test_a_threshold_of_alike_characters_can_be_read_again(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    """Different faces of one vector: a cosine of 1 or a little more, above which nothing lies."""
    folder = write_networks(trained, wholes, tmp_path / "extractor")
    alike = LabelledPictures(coloured(1)[[0] * 9], np.arange(9) % 3, ("a", "b", "c"))
    assert choose_threshold(folder, alike, 0.0) == 1.0
    assert FamiliarExtractor.load(folder).same_threshold == 1.0


def test_a_threshold_that_cannot_be_chosen_changes_nothing(
    trained: Path, wholes: Path, tmp_path: Path
) -> None:
    folder = write_networks(trained, wholes, tmp_path / "extractor")
    before = contents(folder)
    one = LabelledPictures(coloured(3), np.zeros(3, np.int64), ("a",))
    two = LabelledPictures(coloured(3), np.arange(3) % 2, ("a", "b"))
    for pictures, share in ((one, 0.1), (two, float("nan"))):
        with pytest.raises(TrainingDataError, match="No threshold can be chosen"):
            choose_threshold(folder, pictures, share)
    assert contents(folder) == before


def test_pictures_that_are_left_out_are_told(
    trained: Path, characters: Path, tmp_path: Path
) -> None:
    empty = characters / "character 0" / "empty.png"
    empty.write_bytes(b"")
    told: list[str] = []
    load_characters(characters, HEADS, told.append)
    colours_of(characters, 32, told.append)
    projection_of([trained], [characters], left_out=told.append)
    assert told == [str(empty)] * 3


def test_a_boxed_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.jpg").write_bytes(b"no picture")
    (tmp_path / "1.xml").write_text("<annotation></annotation>")
    with pytest.raises(AnnotationError, match=r"1\.jpg: not a picture"):
        load_characters(tmp_path, HEADS)
