"""What is written beside a finished detector."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from core.train.card import ModelCard, write_card
from core.train.origin import Origin
from core.train.reached import RefinerReached
from core.train.report import report_detector
from core.train.teacher import Unboxed
from tests.core.train.test_reached import REACHED

CURVE = """epoch,loss,tuning_ap50,seconds
1,2.5,,10
2,2.0,0.25,20
3,1.5,0.5,30
"""
ORIGIN = Origin("familiar train detector faces --seed 4")


def test_a_detector_has_a_card_and_curves(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    folders = [Path("somewhere/faces"), Path("somewhere/frames")]
    assert report_detector(tmp_path, folders, REACHED, 4, ORIGIN) is None
    card = (tmp_path / "README.md").read_text()
    for said in ("`faces`", "`frames`", "--seed 4", "Seed 4", "were not stated", "Limits"):
        assert said in card
    assert "somewhere" not in card
    assert "| tuning pictures | 0.500 | 0.375 | 0.750 | 0.625 |" in card
    assert "| validation pictures | 0.812 | - | - | - |" in card
    assert (tmp_path / "figures" / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_card_says_in_which_precision_the_detector_was_measured(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    report_detector(tmp_path, [Path("faces")], REACHED, 4, ORIGIN)
    assert "as it runs: in single precision." in (tmp_path / "README.md").read_text()
    (tmp_path / "familiar-face" / "int8").mkdir(parents=True)
    (tmp_path / "familiar-face" / "int8" / "1.onnx").touch()
    report_detector(tmp_path, [Path("faces")], REACHED, 4, ORIGIN)
    assert "as it runs: in int8." in (tmp_path / "README.md").read_text()


def test_a_card_counts_pictures_and_boxes(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    counted = REACHED.model_copy(
        update={
            "training_pictures": 1234,
            "training_boxes": 2345,
            "taught_pictures": 5678,
            "tuning_pictures": 6,
            "tuning_boxes": 7,
            "validation_boxes": 0,
        }
    )
    report_detector(tmp_path, [Path("faces")], counted, 4, ORIGIN)
    lines = (tmp_path / "README.md").read_text().splitlines()
    assert "- to learn from: 1,234 pictures with 2,345 boxes that people drew" in lines
    assert "- to learn from, too: 5,678 pictures without such boxes" in lines
    assert "- kept for tuning: 6 pictures with 7 boxes that people drew" in lines
    assert "- kept for validation: 3 pictures with 0 boxes that people drew" in lines
    report_detector(
        tmp_path, [Path("faces")], REACHED.model_copy(update={"taught_pictures": 0}), 4, ORIGIN
    )
    assert "without such boxes" not in (tmp_path / "README.md").read_text()


def test_the_card_of_two_stages_says_what_each_of_them_does(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    both = RefinerReached(
        **REACHED.model_dump(),
        first_stage_tuning_ap50=0.4375,
        first_stage_share=0.3,
        way_of_boxes=0.75,
        tuning_pictures_with_a_box_at_threshold=0.875,
        training_views=99,
    )
    report_detector(tmp_path, [Path("faces")], both, 4, ORIGIN)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# Face detector of two stages\n")
    assert "the first one's share of the score is 0.3, and boxes go 0.75 of the way" in card
    assert "| tuning pictures | 0.500 | 0.375 | 0.750 | 0.625 | 0.875 |" in card
    assert "| tuning pictures, first stage alone | 0.438 | - | - | - | - |" in card
    assert "| 9 windows of them without a face | - | - | - | - | 0.250 |" in card
    report_detector(tmp_path, [Path("faces")], REACHED, 4, ORIGIN)
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("# Face detector\n")
    assert "first stage" not in card


def test_a_card_counts_what_was_left_out(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    some = REACHED.model_copy(update={"copies_left_out": 1234, "unboxed_left_to_judge_on": 56})
    for told, counts in ((some, ["1,234", "56"]), (REACHED, [])):
        report_detector(tmp_path, [Path("faces")], told, 4, ORIGIN)
        card = (tmp_path / "README.md").read_text()
        for count in counts:
            assert f"- {count} pictures were left out, " in card
        assert card.count("left out") == len(counts)


def test_somebodys_own_text_is_not_overwritten_by_a_card(tmp_path: Path) -> None:
    card = ModelCard("A model", "What.", ["faces"], "Terms.", "train", 7, {}, ["Few."], {})
    assert write_card(card, tmp_path).name == "README.md"
    assert write_card(card, tmp_path).name == "README.md"
    (tmp_path / "README.md").write_text("my notes")
    assert write_card(card, tmp_path).name == "MODEL_CARD.md"
    assert (tmp_path / "README.md").read_text() == "my notes"


def test_a_card_names_the_pictures_that_nobody_boxed(tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    unboxed = [Unboxed(Path("somewhere/series")), Unboxed(Path("somewhere/heads"), True)]
    report_detector(tmp_path, [Path("faces")], REACHED, 4, ORIGIN, unboxed=unboxed)
    card = (tmp_path / "README.md").read_text()
    assert "`series`: pictures without boxes, in which a detector" in card
    assert "`heads`: face crops without boxes" in card


def test_without_matplotlib_there_is_a_card_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "curve.csv").write_text(CURVE)
    real = builtins.__import__

    def without(name: str, *rest: object, **named: object) -> object:
        if name.startswith("matplotlib"):
            raise ModuleNotFoundError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    problem = report_detector(tmp_path, [Path("faces")], REACHED, 4, ORIGIN)
    assert problem is not None
    assert "`make setup`, or `pip install matplotlib`" in problem
    card = (tmp_path / "README.md").read_text()
    assert "0.812" in card
    assert "curves" not in card
