"""`familiar compare-methods` on a drawn folder, with the shipped extractor."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torchvision

import core.methods.chart
import core.methods.table
import core.methods.training
from core.methods.table import METHODS
from core.methods.training import Name, TrainingFolders
from core.problem import Problem
from tests.cli import commands
from tests.core.fakes import FakeExtractor, drawn_gallery, drawn_scene, save


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows with each try to download torchvision's weights: a test asks no one on the network."""
    tried: list[None] = []

    def no_network(*_: object, **__: object) -> None:
        tried.append(None)
        raise OSError("no route to host")

    monkeypatch.delenv("FAMILIAR_RESNET101_WEIGHTS", raising=False)
    monkeypatch.setattr(torchvision.models.ResNet101_Weights, "get_state_dict", no_network)
    return tried


@pytest.fixture
def gallery(tmp_path: Path, downloads: list[None], monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return drawn_gallery(tmp_path / "gallery", each=3)


OURS = tuple(f"Ours at that budget: {look}" for look in ("character", "feel", "both"))


ended = partial(commands.ended, "compare-methods")


def test_json_has_every_method_and_a_chart_is_drawn(
    gallery: Path, tmp_path: Path, downloads: list[None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops", "--json", "--device", "cpu") == 0
    assert len(downloads) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert [row["method"] for row in found["methods"]] == [method.name for method in METHODS]
    by_name = {row["method"]: row for row in found["methods"]}
    assert by_name["Ours as shipped: both"]["precision_at_1"] > 0.5
    assert by_name["V1: ResNet101, whole picture"]["precision_at_1"] is None
    assert "could not be downloaded" in by_name["V1: ResNet101, whole picture"]["note"]
    notes = [by_name[name]["note"] for name in ("ArcFace on IR-SE50, 112 px", *OURS)]
    assert all(note.startswith("Not trained: give faces by character") for note in notes)
    assert [("(--faces)" in note, "(--series)" in note) for note in notes] == [
        (True, False),
        (True, True),
        (True, True),
        (True, True),
    ]
    (chart,) = (tmp_path / "runs" / "methods").glob("*.png")
    assert re.fullmatch(r"gallery-[0-9a-f]{8}-budget-40-seed-7\.png", chart.name)
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert chart.name in told.err


@pytest.mark.parametrize("form", [(), ("--markdown",)])
def test_the_budget_is_told_where_something_was_trained(
    gallery: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    form: tuple[str, ...],
) -> None:
    def load(*_: object) -> tuple[dict[str, FakeExtractor], dict[str, str]]:
        return {"shipped": FakeExtractor(), "facenet": FakeExtractor()}, defaultdict(str)

    titles: list[str] = []
    monkeypatch.setattr(core.methods.table, "load_sources", load)
    monkeypatch.setattr(core.methods.chart, "draw_chart", lambda _, title, __: titles.append(title))
    assert ended(gallery, "--crops", "--device", "cpu", "--budget", 3, *form) == 0
    told = " ".join(capsys.readouterr().out.split())
    spent = "Each network but the shipped ones saw 3 million pixels (seed 7)."
    assert spent in told
    (title,) = titles
    first, second = title.splitlines()
    assert first.startswith("gallery: 15 pictures of 5 characters")
    assert second == spent


def test_folders_of_the_same_name_have_a_chart_each(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = drawn_gallery(tmp_path / "other" / "gallery", each=2)
    again = tmp_path / "link"
    again.symlink_to(other)
    drawn: list[Path] = []
    monkeypatch.setattr(core.methods.chart, "draw_chart", lambda _, __, out: drawn.append(out))
    for folder in (gallery, other, again):
        assert ended(folder, "--crops", "--json", "--device", "cpu") == 0
    first, second, third = drawn
    assert first != second
    assert second == third


def test_each_budget_and_seed_has_a_chart_of_its_own(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr(core.methods.chart, "draw_chart", lambda _, __, out: drawn.append(out))
    for options in ((), ("--budget", 0.5), ("--budget", 1_000_000), ("--seed", 8)):
        assert ended(gallery, "--crops", "--json", "--device", "cpu", *options) == 0
    ends = ["40-seed-7", "0.5-seed-7", "1000000-seed-7", "40-seed-8"]
    assert [out.stem.rpartition("-budget-")[2] for out in drawn] == ends


@pytest.mark.usefixtures("nothing_may_be_measured")
@pytest.mark.parametrize("content", [None, b"no weights"])
def test_a_faulty_file_of_resnet101_is_a_sentence_before_anything_is_trained(
    gallery: Path,
    tmp_path: Path,
    downloads: list[None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    named = tmp_path / "named.pth"
    if content is not None:
        named.write_bytes(content)
    monkeypatch.setenv("FAMILIAR_RESNET101_WEIGHTS", str(named))
    assert ended(gallery, "--crops", "--faces", gallery, "--device", "cpu") == 1
    assert "named.pth" in capsys.readouterr().err.splitlines()[-1]
    assert not downloads


def test_markdown_names_each_reason_once(gallery: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(gallery, "--crops", "--markdown", "--device", "cpu", "--budget", 3) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [line for line in lines if line.startswith("| ")]
    assert len(rows) == len(METHODS) + 1
    assert all(line.count("|") == 7 for line in rows)
    assert sum("could not be downloaded" in line for line in lines) == 1
    assert any("No network but the shipped ones was trained." in line for line in lines)


def test_annoy_finds_and_has_no_equal_error_rate(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--crops", "--json", "--device", "cpu") == 0
    rows = json.loads(capsys.readouterr().out)["methods"]
    rates = {row["method"]: row["equal_error_rate"] for row in rows}
    exact = [name for name in rates if name.startswith("Ours as shipped") and "Annoy" not in name]
    (by_trees,) = (name for name in rates if name.startswith("Ours as shipped") and "Annoy" in name)
    assert rates[by_trees] is None
    assert all(rates[name] is not None for name in exact)
    assert ended(gallery, "--crops", "--markdown", "--device", "cpu") == 0
    lines = capsys.readouterr().out.splitlines()
    (row,) = (line for line in lines if line.startswith(f"| {by_trees}"))
    assert row.split("|")[6].strip() == "-"


def test_nothing_is_measured_on_what_was_trained_on(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leaked = tmp_path / "train" / "somebody" / "copy.png"
    leaked.parent.mkdir(parents=True)
    leaked.write_bytes((gallery / "blue" / "0.png").read_bytes())
    assert ended(gallery, "--crops", "--faces", tmp_path / "train") == 1
    assert "1 pictures of" in (message := capsys.readouterr().err)
    assert "Take them out of it, or give other --faces." in " ".join(message.split())
    assert "blue/0.png" in message
    assert not (tmp_path / "runs").exists()


def test_series_with_the_characters_that_are_measured_are_left_out(
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given: list[TrainingFolders] = []

    def train(
        folders: TrainingFolders, _: object, __: object, left_out: Callable[[str], None]
    ) -> dict[Name, Path]:
        given.append(folders)
        left_out("damaged.jpg")
        left_out("damaged.jpg")
        return {}

    monkeypatch.setattr(core.methods.training, "train_all", train)
    series = drawn_gallery(tmp_path / "series", each=2)
    copy = ("--crops", "--series", series, "--device", "cpu", "--json")
    assert ended(gallery, *copy) == 1
    assert "leave out the series with their characters" in capsys.readouterr().err
    without = [each for name in sorted(os.listdir(series)) for each in ("--without", name)]
    assert ended(gallery, *copy, *without) == 0
    assert "1 files could not be read and were left out, damaged.jpg" in capsys.readouterr().err
    assert [folders.without for folders in given] == [tuple(sorted(os.listdir(series)))]
    assert ended(gallery, "--crops", "--without", "blue") == 1
    assert "give these too" in capsys.readouterr().err


@pytest.mark.parametrize("pictures", [0, 1])
def test_a_folder_that_cannot_be_measured_is_a_sentence_before_anything_is_trained(
    pictures: int,
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("something was trained")

    monkeypatch.setattr(core.methods.training, "train_all", refuse)
    (tmp_path / "few" / "somebody").mkdir(parents=True)
    for number in range(pictures):
        save(drawn_scene([]), tmp_path / "few" / "somebody" / f"{number}.png")
    assert ended(tmp_path / "few", "--crops", "--faces", gallery, "--device", "cpu") == 1
    problem = Problem(
        "folder_without_characters" if pictures else "folder_without_pictures",
        path=tmp_path / "few",
    )
    assert capsys.readouterr().err.splitlines()[-1] == str(problem)


@pytest.mark.parametrize("option", ["--faces", "--series"])
def test_both_sides_of_a_split_are_no_labels_to_train_on(
    gallery: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    for side in ("train", "val"):
        shutil.copytree(gallery, Path("split") / side)
    assert ended(gallery, "--crops", option, "split") == 1
    told = capsys.readouterr().err
    assert "split holds both sides of a split, train and val; name split/train." in told
    assert "Loading" not in told


def test_pictures_of_no_character_and_copies_are_counted(
    gallery: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for copy in ("outside.png", "blue/again.png"):
        shutil.copy(gallery / "blue" / "0.png", gallery / copy)
    assert ended(gallery, "--crops", "--json", "--device", "cpu") == 0
    told = capsys.readouterr()
    assert f"1 pictures directly in {gallery} belong to no character" in told.err
    assert "1 pictures are copies of others, byte for byte" in told.err
    assert json.loads(told.out)["copies"] == ["blue/again.png"]
    assert json.loads(told.out)["pictures"] == 15


@pytest.fixture
def nothing_may_be_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was measured")

    monkeypatch.setattr(core.methods.training, "train_all", refuse)
    monkeypatch.setattr(core.methods.table, "compare_methods", refuse)


@pytest.mark.usefixtures("nothing_may_be_measured")
@pytest.mark.parametrize(
    ("plot", "sentence"),
    [
        ("empty", "empty is a folder; give --plot the name of a file."),
        ("file/chart.png", "file is no folder; give --plot another name."),
        ("file/deeper/chart.png", "file is no folder; give --plot another name."),
    ],
)
def test_a_chart_that_cannot_be_written_is_a_sentence_before_anything_is_measured(
    gallery: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    plot: str,
    sentence: str,
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert ended(gallery, "--crops", "--device", "cpu", "--plot", plot) == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith(sentence)


@pytest.mark.usefixtures("nothing_may_be_measured")
@pytest.mark.parametrize(
    ("plot", "place"),
    [
        ("closed/chart.png", "closed"),
        ("closed/deeper/chart.png", "closed"),
        ("closed.png", "closed.png"),
    ],
)
def test_a_chart_where_nothing_may_be_written_is_a_sentence_before_anything_is_measured(
    gallery: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plot: str,
    place: str,
) -> None:
    def may(path: str | Path, rights: int) -> bool:
        return Path(path).absolute() != tmp_path / place or not rights & os.W_OK

    monkeypatch.setattr(os, "access", may)  # root may write anywhere
    (tmp_path / "closed").mkdir()
    (tmp_path / "closed.png").touch()
    assert ended(gallery, "--crops", "--device", "cpu", "--plot", plot) == 1
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith(f"{plot} cannot be written, ")
    assert told.endswith(f"{place} is read-only; give --plot another name.")


@pytest.mark.parametrize(
    ("error", "why"),
    [(OSError(28, "No space left on device"), "No space left"), (ValueError("no font"), "no font")],
)
def test_a_chart_that_fails_takes_no_result_with_it(
    gallery: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    why: str,
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(core.methods.chart, "draw_chart", fail)
    assert ended(gallery, "--crops", "--json", "--device", "cpu", "--plot", "chart.png") == 1
    told = capsys.readouterr()
    assert len(json.loads(told.out)["methods"]) == len(METHODS)
    assert told.err.splitlines()[-1].startswith(f"The chart cannot be written to chart.png ({why}")


def test_without_matplotlib_there_is_a_table_and_a_sentence(
    gallery: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert ended(gallery, "--crops", "--json", "--device", "cpu", "--plot", "chart.png") == 0
    told = capsys.readouterr()
    assert len(json.loads(told.out)["methods"]) == len(METHODS)
    assert told.err.splitlines()[-1] == (
        "There is no chart without matplotlib: run `make setup`, or `pip install matplotlib`."
    )
    assert not Path("chart.png").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--budget", "inf"),
        ("--budget", "nan"),
        ("--budget", "1e300"),
        ("--budget", "0"),
        ("--seed", "-1"),
        ("--seed", str(2**32)),
    ],
)
def test_a_budget_without_end_and_a_seed_out_of_range_are_wrong_usage(
    gallery: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, str]
) -> None:
    assert ended(gallery, "--crops", "--faces", gallery, *options) == 2
    assert "Invalid value" in (told := capsys.readouterr().err)
    assert options[0] in told


def test_a_missing_folder_is_a_sentence(
    gallery: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ended(gallery, "--series", tmp_path / "nowhere") == 1
    assert "nowhere does not exist" in capsys.readouterr().err
