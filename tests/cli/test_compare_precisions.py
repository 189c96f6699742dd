"""`familiar compare-precisions` on a drawn folder, with the shipped extractor."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

import core.models.chosen
from cli.demo.characters import CHARACTERS
from cli.demo.gallery import picture
from tests.cli import commands
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery

FIGURES = {"precision_at_1", "precision_at_5", "mean_average_precision", "equal_error_rate"}


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return drawn_gallery(tmp_path / "gallery", each=3)


ended = partial(commands.ended, "compare-precisions")


def test_json_has_every_look_in_every_precision(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 15
    assert list(found["precisions"]) == ["float32", "extractor in int8", "extractor in bfloat16"]
    for looks in found["precisions"].values():
        assert set(looks) == {"character", "feel", "both"}
        assert all(set(figures) == FIGURES for figures in looks.values())
        assert looks["both"]["precision_at_1"] > 0.5
    assert list(found["cosine"]) == ["extractor in int8", "extractor in bfloat16"]
    for turned in found["cosine"]["extractor in bfloat16"].values():
        assert 0.995 < turned["least"] <= turned["mean"] < 1  # not the same vectors twice
    for turned in found["cosine"]["extractor in int8"].values():
        assert 0.98 < turned["least"] <= turned["mean"] < 1


def test_pytorch_keeps_its_threads_for_what_is_not_in_int8(gallery: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert ended(gallery, "--crops", "--json") == 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def rows_of(lines: list[str]) -> list[str]:
    """The first cell of every row of figures."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "0." in line]
    return [row[0] for row in rows if len(row) == 6]


EVERY_ROW = [
    name
    for name in (
        "float32",
        "detector in int8",
        "extractor in int8",
        "both in int8",
        "extractor in bfloat16",
        "int8 and bfloat16",
    )
    for _ in range(3)
]


def flowing(text: str) -> str:
    """Without the line breaks that a narrow terminal gets."""
    return " ".join(text.split())


def test_where_faces_are_looked_for_both_detectors_have_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for who in CHARACTERS[:2]:
        (tmp_path / who.name).mkdir()
        for number in (1, 2):
            picture(who, number).save(tmp_path / who.name / f"{number}.png")
    assert ended(tmp_path, "--markdown") == 0
    told = capsys.readouterr().out
    assert rows_of(told.splitlines()) == EVERY_ROW
    assert "4 pictures. Cosine between vectors" in flowing(told)
    for name in ("extractor in int8", "extractor in bfloat16"):
        sentence = f"Cosine between vectors in float32 and those of the {name}: faces 0.9"
        assert sentence in flowing(told)


def test_where_no_face_is_found_pictures_are_compared_all_the_same(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two discs, one in the other, are no face."""
    assert ended(gallery, "--markdown") == 0
    told = capsys.readouterr().out
    assert rows_of(told.splitlines()) == EVERY_ROW
    assert "in bfloat16: faces none found, whole pictures 1.00000" in flowing(told)
    assert ended(gallery, "--json") == 0
    cosines = json.loads(capsys.readouterr().out)["cosine"].values()
    assert [cosine["faces"] for cosine in cosines] == [None, None]


def test_models_that_have_one_precision_are_not_measured_twice(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as another:
        another.setattr(core.models.chosen, "load_detector", lambda *_, **__: FakeDetector())
        assert ended(gallery, "--markdown") == 0
    without = EVERY_ROW[:3] + EVERY_ROW[6:9] + EVERY_ROW[12:15]
    assert rows_of(capsys.readouterr().out.splitlines()) == without
    monkeypatch.setattr(core.models.chosen, "load_extractor", lambda *_, **__: FakeExtractor())
    assert ended(gallery, "--markdown") == 0
    told = capsys.readouterr().out
    assert rows_of(told.splitlines()) == EVERY_ROW[:6]
    assert told.endswith("\n15 pictures.\n")
    assert ended(gallery, "--crops") == 1
    assert "there is nothing to compare" in flowing(capsys.readouterr().err)


def test_one_character_is_nothing_to_measure(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (gallery / "blue").rename(tmp_path / "one" / "blue")
    assert ended(tmp_path / "one", "--crops") == 1
    assert "two characters or more" in flowing(capsys.readouterr().err)


def test_pictures_of_no_character_are_counted(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(core.models.chosen, "load_extractor", lambda *_, **__: FakeExtractor())
    assert ended(gallery) == 0
    assert "belong to no character" not in capsys.readouterr().err
    shutil.copy(gallery / "blue" / "0.png", gallery / "a.png")
    (gallery / "broken.png").write_text("no picture")
    assert ended(gallery) == 0
    told = capsys.readouterr()
    assert f"1 pictures directly in {gallery} belong to no character" in told.err
    assert told.out.endswith("\n15 pictures.\n")


def test_a_folder_without_characters_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gallery = drawn_gallery(tmp_path / "gallery", each=1)
    assert ended(gallery, "--crops") == 1
    assert "gallery" in capsys.readouterr().err
