"""`familiar compare-precisions` on a drawn folder, with the shipped extractor."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.main import main
from tests.core.fakes import drawn_gallery

FIGURES = {"precision_at_1", "precision_at_5", "mean_average_precision", "equal_error_rate"}


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return drawn_gallery(tmp_path / "gallery", each=3)


def ended(*arguments: object) -> int:
    """Run the command in this process; its exit code."""
    with pytest.raises(SystemExit) as end:
        main(["compare-precisions", *map(str, arguments)])
    return int(end.value.code or 0)


def test_json_has_every_look_in_both_precisions(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 15
    assert list(found["precisions"]) == ["float32", "bfloat16"]
    for looks in found["precisions"].values():
        assert set(looks) == {"character", "feel", "both"}
        assert all(set(figures) == FIGURES for figures in looks.values())
        assert looks["both"]["precision_at_1"] > 0.5
    for turned in found["cosine"].values():
        assert 0.995 < turned["least"] <= turned["mean"] < 1  # not the same vectors twice


def test_where_faces_are_looked_for_both_detectors_have_rows(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--markdown") == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "0." in line]
    names = [row[0] for row in rows if len(row) == 6]
    expected = ("float32", "bfloat16, faces found in float32", "bfloat16")
    assert names == [name for name in expected for _ in range(3)]
    assert any(line.startswith("15 pictures. Cosine") for line in lines)


def test_a_folder_without_characters_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    gallery = drawn_gallery(tmp_path / "gallery", each=1)
    assert ended(gallery, "--crops") == 1
    assert "gallery" in capsys.readouterr().err
