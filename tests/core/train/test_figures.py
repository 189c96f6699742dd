"""Figures and cards of finished trainings."""

from __future__ import annotations

import errno
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from core.likeness import COSINE
from core.retrieval import pair_likenesses
from core.train import figures
from core.train.card import TERMS_UNKNOWN, ModelCard, write_card, written
from core.train.face_data import LabelledPictures
from core.train.figures import (
    CONFUSED,
    confusions,
    draw_curves,
    draw_figures,
    retrieval_sheet,
    shown_names,
)

RIGHT, WRONG = (46, 160, 67), (207, 34, 46)


def on_a_circle(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 24, 24, 3)).astype(np.uint8)


def test_the_most_confused_labels_come_first() -> None:
    vectors = on_a_circle(0, 10, 20, 60, 180, 190)
    labels = np.array([0, 0, 1, 1, 2, 2])
    found = confusions(vectors, labels, threshold=float(np.cos(np.radians(25))))
    assert [(pair.one, pair.other) for pair in found] == [(0, 1), (0, 2), (1, 2)]
    # Of the four pairs between 0 and 1, those 20 and 10 degrees apart pass.
    assert [pair.rate for pair in found] == [0.5, 0.0, 0.0]


def test_the_most_confused_of_many_labels_are_found_label_by_label() -> None:
    """Against every two of them compared alone; unevenly many pictures each, in any order."""
    generator = np.random.default_rng(3)
    labels = generator.permutation(np.repeat(np.arange(0, 60, 2), generator.integers(1, 6, 30)))
    vectors = generator.normal(size=(len(labels), 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [
        (-np.mean(vectors[labels == one] @ vectors[labels == other].T >= 0.7), one, other)
        for one, other in combinations(np.unique(labels).tolist(), 2)
    ]
    compared: list[int] = []

    def between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        compared.append(len(one))
        return one @ other.T

    found = confusions(vectors, labels, 0.7, replace(COSINE, between=between))

    assert [(-pair.rate, pair.one, pair.other) for pair in found] == sorted(pairs)[:CONFUSED]
    assert len(compared) < 30


def test_pairs_that_just_reach_the_threshold_are_confused() -> None:
    vectors = np.array([[1, 0], [0.6, 0.8]], np.float32)
    found = confusions(vectors, np.array([0, 1]), threshold=float(np.float32(0.6)))
    assert [pair.rate for pair in found] == [1.0]


def test_the_curve_of_accepts_goes_through_what_each_threshold_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = on_a_circle(0, 10, 40, 60, 70, 95)
    shown = LabelledPictures(pictures(6), np.array([0, 0, 0, 1, 1, 1]), ("a", "b"))
    drawn: dict[str, Figure] = {}
    monkeypatch.setattr(
        figures, "write_figure", lambda figure, out: drawn.update({out.stem: figure})
    )

    draw_figures(tmp_path, shown, vectors)

    (axes,) = drawn["roc"].axes
    curve, _, at_equal_error = (line.get_xydata() for line in axes.get_lines())
    same, different = pair_likenesses(vectors, shown.labels)
    thresholds = [*same, *different]
    expected = {(np.mean(different >= t), np.mean(same >= t)) for t in thresholds}
    assert {tuple(point) for point in curve.round(9)} == {
        (round(x, 9), round(y, 9)) for x, y in expected
    }
    assert at_equal_error[0].sum() == pytest.approx(1)
    assert (axes.get_xlim(), axes.get_ylim()) == ((0, 1), (0, 1))


def test_the_sheet_marks_right_and_wrong_answers() -> None:
    """Two pictures of each of two labels, one of which lies nearer to the other label."""
    vectors = on_a_circle(0, 40, 50, 95)
    labels = np.array([0, 0, 1, 1])
    sheet = retrieval_sheet(pictures(4), vectors, labels, COSINE)
    rows = [[sheet.getpixel((x, y)) for x in (117, 221, 325)] for y in (1, 105)]
    expected = {
        0: [RIGHT, WRONG, WRONG],
        1: [WRONG, RIGHT, WRONG],
        2: [WRONG, RIGHT, WRONG],
        3: [RIGHT, WRONG, WRONG],
    }
    assert sheet.size == (4 * 104 + 12, 2 * 104)
    assert all(row in list(expected.values()) for row in rows)
    for row in rows:
        assert row.count(RIGHT) == 1


def test_names_that_no_font_can_draw_are_shown_as_numbers() -> None:
    assert shown_names(["Miku", "Zoë", "\U0010ffff", "d"]) == ["Miku", "Zoë", "label 2", "d"]


@pytest.mark.filterwarnings("error")  # as of characters that are missing in a font
def test_figures_are_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 5)
    vectors = rng.normal(size=(4, 8))[labels] + rng.normal(size=(20, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    shown = LabelledPictures(pictures(20), labels, ("a", "$b", "初音", "d"))
    files = draw_figures(tmp_path / "figures", shown, vectors)
    draw_curves({"loss": [(1, 2.0), (2, 1.0)], "mAP": []}, tmp_path / "curves.png")
    assert len(files) == 4
    for file in (*files, tmp_path / "curves.png"):
        with Image.open(file) as picture:
            assert picture.format == "PNG"
            colours = picture.convert("RGB").getcolors(1 << 20)
            assert colours is not None
            assert len(colours) > 5, file


def test_a_card_is_written_whole_whatever_names_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = ModelCard("Net", "What.", ["`caf\udce9`"], "Terms.", "train é", 3, {}, ["Few."], {})
    text = write_card(card, tmp_path).read_text(encoding="utf-8")
    assert "- `caf\\udce9`\n" in text
    assert "train é" in text
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]

    original = Path.write_text

    def full(path: Path, text: str, **named: str) -> int:
        original(path, text[:9], **named)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space"):
        write_card(card, tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("measured", [True, False])
def test_a_card_says_where_weights_come_from(tmp_path: Path, measured: bool) -> None:
    metrics = {"held out": {"pictures": 1200, "mAP": 0.5, "EER": None}} if measured else {}
    card = ModelCard(
        title="Face network",
        what="A face becomes numbers.",
        data=["`faces`: 100 pictures"],
        terms=TERMS_UNKNOWN,
        command="familiar train extractor faces --seed 3",
        seed=3,
        metrics=metrics,
        limits=["Not for photographs."],
        figures={"loss": "figures/curves.png"},
    )
    text = write_card(card, tmp_path).read_text()
    for said in ("`faces`: 100 pictures", "--terms", "--seed 3", "Seed 3", "Not for photographs"):
        assert said in text
    assert "![loss](figures/curves.png)" in text
    assert ("| held out | 1,200 | 0.500 | - |" in text) is measured
    assert ("nothing was measured" in text) is not measured


def test_a_cards_table_and_links_hold_whatever_a_set_is_called() -> None:
    odd = "a|b]c[d`e\\f\r\ng"
    metrics = {odd: {"mAP": 0.5}}
    figures = {f"{odd}: roc": "figures/odd/roc.png"}
    data = ["`two\nlines`: 100 pictures"]
    text = written(
        ModelCard("Net", "What.", data, "Terms.", "train", 3, metrics, ["Few."], figures)
    )
    name = r"a\|b\]c\[d\`e\\f g"
    assert f"| {name} | 0.500 |\n" in text
    assert f"![{name}: roc](figures/odd/roc.png)\n" in text
    assert "- `two lines`: 100 pictures\n" in text
