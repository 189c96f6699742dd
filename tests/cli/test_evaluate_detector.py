"""`familiar evaluate-detector`, with a detector that finds drawn heads."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import core.evaluate_detector
import core.faceless.drawing
import core.models.chosen
from core.faceless import Faceless, Kind
from tests.cli.commands import ended
from tests.core.fakes import FakeDetector, drawn_scene, save

Run = Callable[..., int]

HEAD = ("blue", 160, 120, 40)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(core.models.chosen, "load_detector", lambda name, **_: FakeDetector())
    # Among the real ones are some of the very colour that the fake detector looks for.
    plain = Faceless("plain", Kind.TEXTURE, np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setattr(core.faceless.drawing, "drawn", lambda: (plain,) * 3)

    return partial(ended, "evaluate-detector")


@pytest.fixture
def boxed(tmp_path: Path) -> Path:
    """Pictures 1 and 10 with a head that is boxed, 20 with a box and no head."""
    folder = tmp_path / "boxed"
    box = "<xmin>120</xmin><ymin>80</ymin><xmax>201</xmax><ymax>161</ymax>"
    for number, heads in ((1, [HEAD]), (10, [HEAD]), (20, [])):
        save(drawn_scene(heads), folder / f"{number}.png")
        face = f"<object><name>face</name><bndbox>{box}</bndbox></object>"
        (folder / f"{number}.xml").write_text(f"<annotation>{face}</annotation>")
    return folder


def test_boxed_pictures_are_measured_on_what_training_leaves_out(
    run: Run, boxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the others are counted, so that nobody takes the figure for that of all."""
    assert run(boxed) == 0
    told = capsys.readouterr()
    assert "Average precision at IoU 0.5: 0.500, on 2 pictures with 2 faces." in told.out
    assert "precision 1.000, recall 0.500" in told.out
    assert "1 boxed pictures were left out, which training learns from" in told.err
    assert "--all measures on them, too" in told.err
    assert run(boxed, "--all") == 0
    told = capsys.readouterr()
    assert "on 3 pictures with 3 faces" in told.out
    assert "left out" not in told.err


def test_pictures_without_an_annotation_among_boxed_ones_are_told(
    run: Run, boxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0.png", "more/40.png"):
        save(drawn_scene([HEAD]), boxed / name)
    (boxed / "more" / "10.XML").write_text((boxed / "10.xml").read_text())
    save(drawn_scene([HEAD]), boxed / "more" / "10.Png")
    assert run(boxed, "--json") == 0
    told = capsys.readouterr()
    assert "2 pictures have no .xml file of their name and were left out, 0.png first" in told.err
    found = json.loads(told.out)["boxed"]
    assert (found["pictures"], found["without_file_and_left_out"]) == (3, ["0.png", "more/40.png"])


def test_a_boxed_picture_without_a_box_is_none_with_faces(
    run: Run, boxed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (boxed / "20.xml").write_text("<annotation></annotation>")
    assert run(boxed) == 0
    told = capsys.readouterr().out
    assert "on 2 pictures with 1 faces" in told
    row = next(line for line in told.splitlines() if "with faces" in line)
    assert [cell.strip() for cell in row.split("\u2502")[2:5]] == ["1", "1", "100.0%"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--faceless", "nowhere"), "The folder nowhere does not exist"),
        (("--faceless", "empty"), "There is no picture in empty"),
        (("--faceless", "nowhere.csv"), "nowhere.csv: No such file"),
        (("--faceless", "latin.csv"), "latin.csv is no CSV in UTF-8"),
        (("--faceless", "good.csv", "--pictures", "nowhere"), "no such file in nowhere"),
        (("--faceless", "damaged"), "damaged/1.png: the file is empty."),
        (("--faceless", "phones"), "phones/2.heic: not a picture"),
    ],
)
def test_pictures_without_a_face_are_looked_for_before_anything_is_measured(
    run: Run,
    boxed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr(core.evaluate_detector, "evaluate_boxed", refuse)
    (tmp_path / "empty").mkdir()
    save(drawn_scene([]), tmp_path / "1.png")
    for folder, name in (("damaged", "1.png"), ("phones", "2.heic")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
        save(drawn_scene([]), tmp_path / folder / "0.png")
    (tmp_path / "good.csv").write_text("picture,x0,y0,x1,y1\n1.png,0,0,9,9\n")
    (tmp_path / "latin.csv").write_bytes("picture,x0,y0,x1,y1\nSchön,0,0,9,9\n".encode("latin-1"))
    assert run(boxed, *options) == 1
    assert sentence in capsys.readouterr().err.splitlines()[-1]


def test_json_says_all_that_the_table_says(
    run: Run, boxed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(drawn_scene([HEAD]), tmp_path / "cut" / "head.png")
    table = tmp_path / "windows.csv"
    table.write_text("picture,x0,y0,x1,y1\nhead.png,0,0,320,240\nhead.png,0,0,40,40\n")
    assert run(boxed, "--faceless", table, "--pictures", tmp_path / "cut", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["threshold"] == 0.5
    assert told["boxed"] == {
        "average_precision": pytest.approx(0.5),
        "precision": 1.0,
        "recall": 0.5,
        "faces": 2,
        "pictures": 2,
        "learned_and_left_out": 1,
        "without_file_and_left_out": [],
    }
    assert told["with_faces"] == {"pictures": 2, "with_box": 1}
    assert told["without_faces"] == {
        "cut out": {"pictures": 2, "with_box": 1},
        "drawn texture": {"pictures": 3, "with_box": 0},
        "all": {"pictures": 5, "with_box": 1},
    }
    assert [one["picture"] for one in told["taken_for_a_face"]] == ["head.png 0,0,320,240"]


def test_pictures_without_boxes_say_how_many_have_a_face(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(drawn_scene([HEAD]), tmp_path / "gallery" / "blue" / "1.png")
    save(drawn_scene([]), tmp_path / "gallery" / "blue" / "2.png")
    assert run("gallery") == 0
    told = capsys.readouterr().out
    assert "Average precision" not in told
    assert "50.0%" in next(line for line in told.splitlines() if "with faces" in line)


def test_a_folder_of_pictures_without_a_face(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        save(drawn_scene([HEAD], background=number), tmp_path / "none" / f"{number}.png")
    assert run("--faceless", "none") == 0
    told = capsys.readouterr().out
    assert "100.0%" in next(line for line in told.splitlines() if "no face: given" in line)
    assert told.count("taken for a face: ") == 10
    assert "and 2 more" in told


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("none", "--all"), "--all is about boxed pictures, and no .xml file is in none"),
        (("--all",), "--all needs FOLDER"),
        (("--all", "--faceless", "none"), "--all needs FOLDER"),
        (("--pictures", "nowhere"), "--pictures needs the CSV"),
        (("boxed", "--pictures", "none"), "--pictures needs the CSV"),
        (("--faceless", "none", "--pictures", "none"), "--pictures needs the CSV"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(
    run: Run,
    boxed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    sentence: str,
) -> None:
    save(drawn_scene([]), tmp_path / "none" / "1.png")
    assert run(*options) == 1
    told = capsys.readouterr()
    assert told.err.splitlines()[-1].startswith(sentence)
    assert not told.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nowhere", "--all"), "The folder nowhere does not exist"),
        (("empty", "--all"), "--all is about boxed pictures"),
        (("unboxed",), "There is no box in any .xml file of unboxed"),
        (("unboxed", "--faceless", "nowhere"), "There is no box in any .xml file of unboxed"),
        (("boxed", "--faceless", "nowhere"), "The folder nowhere does not exist"),
        (("--faceless", "nowhere.csv"), "nowhere.csv: No such file"),
    ],
)
def test_what_is_not_there_is_said_before_the_detector_is_loaded(
    run: Run,
    boxed: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    sentence: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "unboxed").mkdir()
    (tmp_path / "unboxed" / "1.xml").write_text("<annotation></annotation>")
    save(drawn_scene([]), tmp_path / "unboxed" / "1.png")
    assert run(*arguments) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert sentence in told


@pytest.mark.parametrize("faceless", ["none", "windows.csv"])
def test_pictures_without_a_face_obey_the_limits_on_ones_own(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    faceless: str,
) -> None:
    save(np.zeros((1001, 1000, 3), np.uint8), tmp_path / "none" / "large.png")
    (tmp_path / "windows.csv").write_text("picture,x0,y0,x1,y1\nnone/large.png,0,0,40,40\n")
    monkeypatch.setenv("FAMILIAR_LIMIT_MEGAPIXELS", "1")
    assert run("--faceless", faceless) == 0
    Image.new("1", (9000, 9000)).save(tmp_path / "none" / "large.png")
    capsys.readouterr()
    assert run("--faceless", faceless) == 1
    assert "large.png: " in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("options", [(), ("--all",)])
def test_where_nothing_is_boxed_no_other_pictures_are_proposed(
    run: Run, boxed: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    for path in boxed.glob("*.xml"):
        path.write_text("<annotation></annotation>")
    assert run(boxed, *options) == 1
    told = capsys.readouterr().err
    assert f"There is no box in any .xml file of {boxed}, and so nothing to measure." in told
    assert "--all" not in told


def test_what_cannot_be_measured_is_said(
    run: Run, boxed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (10, 20):
        (boxed / f"{number}.xml").unlink()
    assert run(boxed) == 1
    assert "--all measures on all of them" in capsys.readouterr().err
    (boxed / "1.png").unlink()
    assert run(boxed, "--all") == 1
    assert "1.xml has no picture beside it" in capsys.readouterr().err
    (tmp_path / "windows.csv").write_text("picture\nhead.png\n")
    assert run("--faceless", "windows.csv") == 1
    assert "needs the columns" in capsys.readouterr().err
    assert run("nowhere") == 1
    assert "nowhere" in capsys.readouterr().err
