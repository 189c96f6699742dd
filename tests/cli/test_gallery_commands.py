"""The commands that work on a gallery or a folder, with the shipped models on drawn pictures."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.demo.characters import CHARACTERS
from cli.demo.gallery import picture
from core.models import load_detector, load_extractor
from tests.cli.commands import ended
from tests.core.closed import close_to_this_user

Run = Callable[..., int]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three characters with three pictures each, and a file that is none."""
    folder = tmp_path_factory.mktemp("gallery")
    for who in CHARACTERS[:3]:
        (folder / who.name).mkdir()
        for number in (1, 3, 5):
            picture(who, number).save(folder / who.name / f"{number}.jpg")
    (folder / "Akari" / "notes.png").write_text("no picture", encoding="utf-8")
    return folder


@pytest.fixture
def run(own_folder: Path, gallery: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command in this process, where no setting but the gallery is set."""
    monkeypatch.setenv("FAMILIAR_GALLERY", str(gallery))
    return ended


def test_build_tells_what_changed_and_status_what_is_there(
    run: Run, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", "build") == 0
    shown = capsys.readouterr()
    assert "Indexed 9 pictures" in shown.out
    assert "9 added, 0 removed, 9 embedded anew." in shown.out
    assert "Indexing: 10 of 10 pictures" in shown.err
    assert "1 could not be read" in shown.err
    assert "Akari/notes.png: not a picture" in shown.err

    assert run("index", "build", gallery) == 0
    assert "0 added, 0 removed, 0 embedded anew." in capsys.readouterr().out

    assert run("index", "status") == 0
    assert "familiar-face and familiar-character" in capsys.readouterr().out
    assert run("index", "status", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["pictures"] == 9
    assert told["extractor"]["name"] == "familiar-character"


def test_similar_prints_the_matches_and_writes_the_collage(
    run: Run, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", "build") == 0
    asked = tmp_path / "asked.png"
    picture(CHARACTERS[0], 48).save(asked)
    capsys.readouterr()

    assert run("similar", asked, "--count", 2, "--out", "collage.jpg") == 0
    first, second, path = capsys.readouterr().out.strip().splitlines()
    assert first.startswith("1. Akari")
    assert second.startswith("2. ")
    assert path == "collage.jpg"
    with Image.open(tmp_path / "collage.jpg") as image:
        assert image.format == "JPEG"

    assert run("similar", asked, "--look", "feel", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["look"] == "feel"
    assert told["collage"] is None
    (row,) = told["rows"]
    assert row["face"] is None
    similarities = [match["similarity"] for match in row["matches"]]
    assert len(similarities) == 4
    assert similarities == sorted(similarities, reverse=True)
    assert all((gallery / match["path"]).is_file() for match in row["matches"])


@pytest.mark.parametrize("who", ["Re:Zero: Rem", "D.Gray:man: [Allen]"])
def test_a_name_is_shown_as_its_folder_is_called(
    run: Run,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    who: str,
) -> None:
    named = tmp_path / "named"
    shutil.copytree(gallery / "Akari", named / who)
    monkeypatch.setenv("FAMILIAR_GALLERY", str(named))
    assert run("index", "build") == 0
    assert f"{who}/notes.png: not a picture" in capsys.readouterr().err
    asked = named / who / "1.jpg"
    assert run("similar", asked, "--out", f"{who}.jpg") == 0
    match, *_, path = capsys.readouterr().out.splitlines()
    assert match.startswith(f"1. {who}")
    assert path == f"{who}.jpg"
    assert run("similar", asked, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert {match["path"] for match in row["matches"]} <= {f"{who}/{n}.jpg" for n in (1, 3, 5)}
    assert all(match["character"] == who for match in row["matches"])
    assert run("similar", named / who / "notes.png") == 1
    assert f"{who}/notes.png: not a picture" in capsys.readouterr().err


def test_a_collage_never_takes_the_place_of_a_picture(
    run: Run,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("index", "build") == 0
    indexed = gallery / "Akari" / "1.jpg"
    before = indexed.read_bytes()
    asked = tmp_path / "asked.jpg"
    asked.write_bytes(before)
    (tmp_path / "link.jpg").symlink_to(indexed)
    monkeypatch.setenv("FAMILIAR_GALLERY", str(tmp_path / "elsewhere"))
    for picture_asked, out, told in (
        (indexed, indexed, "is the picture asked about"),
        (asked, asked, "is the picture asked about"),
        (asked, indexed, "which is only ever read"),
        (asked, "link.jpg", "which is only ever read"),
        (asked, gallery / "collage.jpg", "which is only ever read"),
        (asked, tmp_path / "elsewhere" / "collage.jpg", "which is only ever read"),
        (asked, tmp_path, "is a folder"),
        (asked, asked / "new" / "collage.jpg", "asked.jpg is no folder; give --out another name"),
    ):
        capsys.readouterr()
        assert run("similar", picture_asked, "--out", out) == 1
        shown = capsys.readouterr()
        assert told in shown.err
        assert "Loading" not in shown.err
    assert asked.read_bytes() == indexed.read_bytes() == before
    assert not (gallery / "collage.jpg").exists()


def test_a_collage_makes_the_folder_that_it_is_written_into(
    run: Run, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("index", "build") == 0
    capsys.readouterr()
    assert run("similar", gallery / "Akari" / "1.jpg", "--out", "new/of/today.jpg") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "new/of/today.jpg"
    with Image.open(tmp_path / "new" / "of" / "today.jpg") as image:
        assert image.format == "JPEG"


def test_a_collage_that_cannot_be_written_leaves_nothing_and_the_answer_is_shown(
    run: Run,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("index", "build") == 0
    capsys.readouterr()
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        write(path, data[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    asked = gallery / "Akari" / "1.jpg"
    assert run("similar", asked, "--out", "collage.jpg") == 1
    shown = capsys.readouterr()
    assert shown.out.startswith("1. ")
    assert "collage.jpg" not in shown.out
    assert "The collage collage.jpg cannot be written: No space left on device." in shown.err
    assert run("similar", asked, "--out", "collage.jpg", "--json") == 1
    assert json.loads(capsys.readouterr().out)["collage"] is None
    assert not [path for path in tmp_path.iterdir() if "collage" in path.name]


def test_a_picture_that_cannot_be_used_is_named(
    run: Run, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = gallery / "Akari" / "1.jpg"
    text, empty = gallery / "Akari" / "notes.png", tmp_path / "empty.jpg"
    empty.touch()
    missing = tmp_path / "elsewhere" / "1.jpg"
    for unusable, told in (
        (text, f"{text}: not a picture of the kinds JPEG"),
        (empty, f"{empty}: the file is empty."),
        (missing, f"The file {missing} cannot be read."),
        (".", f"The file {tmp_path} cannot be read."),
    ):
        for asked in (("compare", good, unusable), ("similar", unusable)):
            assert run(*asked) == 1
            shown = capsys.readouterr()
            assert told in shown.err
            assert shown.out == ""
            assert "send" not in shown.err.lower()


def test_limits_on_what_people_send_do_not_hold_for_the_gallery(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its owner chose its pictures: they are indexed and shown, whatever strangers may send."""
    (tmp_path / "large" / "Akari").mkdir(parents=True)
    picture(CHARACTERS[0], 1).resize((1200, 1200)).save(tmp_path / "large" / "Akari" / "1.jpg")
    asked = tmp_path / "asked.png"
    picture(CHARACTERS[0], 48).resize((400, 400)).save(asked)
    monkeypatch.setenv("FAMILIAR_GALLERY", str(tmp_path / "large"))
    empty = []
    for megapixels in (1, 2, 1):
        monkeypatch.setenv("FAMILIAR_LIMIT_MEGAPIXELS", str(megapixels))
        assert run("index", "build") == 0
        assert "Indexed 1 pictures" in capsys.readouterr().out
        assert run("similar", asked, "--look", "feel", "--out", "collage.jpg") == 0
        with Image.open(tmp_path / "collage.jpg") as image:
            tile = np.asarray(image)[100:300, -300:-100]
        empty.append(bool(tile.std((0, 1)).max() < 2))
    assert empty == [False, False, False]


def test_a_gallery_that_this_user_may_not_enter_is_one_sentence(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    close_to_this_user(tmp_path / "home", monkeypatch)
    assert run("index", "build", tmp_path / "home" / "gallery") == 1
    assert "does not exist or cannot be read" in " ".join(capsys.readouterr().err.split())


def test_similar_before_anything_is_indexed(
    run: Run, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("similar", gallery / "Akari" / "1.jpg", "--json") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "familiar index build" in shown.err
    assert str(Path.cwd() / "data") in shown.err


def test_embed_writes_the_four_arrays(run: Run, gallery: Path, tmp_path: Path) -> None:
    assert run("embed", gallery, "--out", "vectors.npz") == 0
    extractor = load_extractor()
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"path", "face_count", "character", "feel"}
        paths = [f"{who.name}/{n}.jpg" for who in CHARACTERS[:3] for n in (1, 3, 5)]
        assert arrays["path"].tolist() == sorted(paths)
        assert (arrays["face_count"] >= 1).all()
        assert arrays["character"].shape == (9, extractor.face_dimensions)
        assert arrays["feel"].shape == (9, extractor.picture_dimensions)
        assert np.linalg.norm(arrays["character"], axis=1) == pytest.approx(1, abs=1e-3)


def test_embed_takes_crops_as_faces(run: Run, tmp_path: Path) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    plain = Image.new("RGB", (64, 64), "teal")
    plain.save(crops / "plain.png")
    assert run("embed", crops, "--out", "crops.npz", "--crops") == 0
    assert run("embed", crops, "--out", "full.npz") == 0
    with np.load(tmp_path / "crops.npz") as as_crops, np.load(tmp_path / "full.npz") as as_full:
        assert as_crops["face_count"].tolist() == [1]
        assert np.linalg.norm(as_crops["character"]) == pytest.approx(1, abs=1e-3)
        assert as_full["face_count"].tolist() == [0]
        assert not as_full["character"].any()


def test_detect_writes_every_box_and_says_what_a_face_is(
    run: Run, gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("detect", gallery, "--out", "faces.json") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"where a face has a score of {load_detector().threshold:g} or more" in said
    told = json.loads((tmp_path / "faces.json").read_text(encoding="utf-8"))
    assert len(told) == 9
    for path, faces in told.items():
        with Image.open(gallery / path) as image:
            width, height = image.size
        scores = [face["score"] for face in faces]
        assert scores == sorted(scores, reverse=True)
        assert all(score >= 0.01 for score in scores)
        for face in faces:
            x0, y0, x1, y1 = face["box"]
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height


@pytest.mark.parametrize("command", ["embed", "detect"])
def test_a_folder_as_out_is_refused_before_any_work(
    run: Run, gallery: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, gallery, "--out", gallery) == 1
    assert "is a folder" in capsys.readouterr().err
    below_a_file = gallery / "Akari" / "1.jpg" / "further" / "out"
    assert run(command, gallery, "--out", below_a_file) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "1.jpg is no folder; give --out another name." in told


@pytest.mark.parametrize(
    "command",
    [
        ("embed", "--out", "vectors.npz"),
        ("detect", "--out", "faces.json"),
        ("evaluate",),
        ("compare-precisions",),
        ("evaluate-detector",),
    ],
)
@pytest.mark.parametrize("folder", ["galery", "file.jpg"])
def test_a_folder_that_is_not_there_is_told_before_any_work(
    run: Run,
    tmp_path: Path,
    command: tuple[str, ...],
    folder: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file.jpg").touch()
    assert run(*command, folder) == 1
    told = capsys.readouterr().err
    assert told == f"The folder {folder} does not exist or cannot be read.\n"


def test_evaluate_measures_each_look(
    run: Run, gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", gallery, "--json") == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert set(told["looks"]) == {"both", "character", "feel"}
    assert told["pictures"] == 9
    assert told["characters"] == 3
    assert told["without_face"] == 0
    assert told["unreadable"].keys() == {"Akari/notes.png"}
    for figures in told["looks"].values():
        assert all(0 <= figure <= 1 for figure in figures.values())
    assert told["looks"]["both"]["precision_at_1"] >= 7 / 9

    assert run("evaluate", gallery, "--look", "feel") == 0
    table = capsys.readouterr().out
    assert "P@1" in table
    assert "feel" in table
    assert "character " not in table
    assert "no face in 0.0%" in table


def test_evaluate_wants_characters(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    picture(CHARACTERS[0], 1).save(flat / "1.png")
    assert run("evaluate", flat) == 1
    assert "one folder for each character" in capsys.readouterr().err
