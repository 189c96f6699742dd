"""`familiar evaluate`: which folders it measures, and what it says of what it left out."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import pytest

import core.models.chosen
from core.evaluate_folder import evaluate_folder
from core.look import Look
from tests.cli import commands
from tests.core.fakes import FakeExtractor, drawn_gallery


@pytest.fixture
def gallery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(core.models.chosen, "load_extractor", lambda *_, **__: FakeExtractor())
    return drawn_gallery(tmp_path / "gallery", each=3)


ended = partial(commands.ended, "evaluate")


@pytest.mark.parametrize("command", ["evaluate", "compare-precisions", "compare-methods"])
def test_both_sides_of_a_split_are_no_characters(
    gallery: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for side in ("train", "val"):
        shutil.copytree(gallery, Path("split") / side)
    assert commands.ended(command, "split", "--crops") == 1
    told = capsys.readouterr().err
    assert "split holds both sides of a split, train and val; name split/val." in told
    assert "Loading" not in told
    if command == "evaluate":
        assert ended("split/val", "--crops") == 0


def test_pictures_of_no_character_are_counted(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops") == 0
    assert "belong to no character" not in capsys.readouterr().err
    for name in ("a.png", "b.png"):
        shutil.copy(gallery / "blue" / "0.png", gallery / name)
    (gallery / "broken.png").write_text("no picture")
    assert ended(gallery, "--crops") == 0
    told = capsys.readouterr()
    assert f"2 pictures directly in {gallery} belong to no character" in told.err
    assert "broken.png: not a picture" in told.err
    assert "15 pictures of 5 characters" in told.out


def test_copies_are_counted_and_named(gallery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(gallery, "--crops") == 0
    assert "copies" not in capsys.readouterr().err
    shutil.copy(gallery / "blue" / "0.png", gallery / "blue" / "again.png")
    assert ended(gallery, "--crops", "--json") == 0
    told = capsys.readouterr()
    assert "1 pictures are copies of others, byte for byte, and were left out" in told.err
    assert "(blue/again.png for one)" in told.err
    assert json.loads(told.out)["copies"] == ["blue/again.png"]
    assert json.loads(told.out)["pictures"] == 15


def test_the_equal_error_rate_of_all_pairs_is_shown(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops", "--look", "feel", "--json") == 0
    rate = json.loads(capsys.readouterr().out)["looks"]["feel"]["equal_error_rate"]
    expected = evaluate_folder(gallery, None, FakeExtractor()).equal_error_rates[Look.FEEL]
    assert rate == expected > 0
    assert ended(gallery, "--crops", "--look", "feel") == 0
    shown = capsys.readouterr().out
    assert "EER" in shown
    assert f"{rate:.3f}" in next(line for line in shown.splitlines() if "feel" in line)
