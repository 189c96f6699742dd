"""`familiar data`: crops, groups, splits and balanced folders."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import core.models.chosen
from core.face import Face, Pixels
from core.framing import Framing
from core.framing import crop as cut
from core.train.assemble import Choices
from tests.cli.commands import ended
from tests.core.fakes import FakeExtractor

Run = Callable[..., int]


class RightEdge:
    """Finds one face at the right edge of every picture, which swapped axes would miss."""

    name = "right-edge"
    sha256 = "0" * 64
    threshold = 0.5

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """A square of 40 pixels, 10 from the top."""
        return [
            (Face((image.shape[1] - 40.0, 10.0, float(image.shape[1]), 50.0), 0.9),)
            for image in images
        ]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    return ended


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five characters with four wide pictures each; the right edge is red."""
    for who in range(5):
        (tmp_path / "pictures" / f"c{who}").mkdir(parents=True)
        for number in range(4):
            noise = np.random.default_rng(10 * who + number).integers(0, 200, (8, 24, 3), np.uint8)
            picture = Image.fromarray(noise).resize((240, 80), Image.Resampling.BICUBIC)
            picture.paste((255, 0, 0), (200, 10, 240, 50))
            picture.save(tmp_path / "pictures" / f"c{who}" / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []

    def load(name: str, **_: object) -> RightEdge:
        names.append(name)
        return RightEdge()

    monkeypatch.setattr(core.models.chosen, "load_detector", load)
    return names


def test_crop_cuts_along_the_right_axes(
    run: Run, folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.png").write_text("no picture")
    assert run("data", "crop", folder, "--out", "crops", "--margin", 0, "--lift", 0) == 0
    assert asked == ["familiar-face"]
    told = capsys.readouterr()
    assert "Cut 20 faces out of 20 pictures: crops" in told.out
    assert "broken.png: not a picture" in told.err
    with Path("crops/crops.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert rows[0]["crop"] == "c0/0_0.jpg"
    assert [float(rows[0][key]) for key in ("x0", "y0", "x1", "y1")] == [200, 10, 240, 50]
    for row in rows:
        crop = np.asarray(Image.open(Path("crops") / row["crop"])).astype(int)
        assert crop.shape == (40, 40, 3)
        assert np.abs(crop - (255, 0, 0)).mean() < 15


@pytest.mark.parametrize(
    ("given", "framing"),
    [
        ((), Choices().framing),
        (("--margin", 0.2), replace(Choices().framing, margin=0.2)),
        (("--lift", 0.2), replace(Choices().framing, lift=0.2)),
    ],
)
def test_crop_shows_heads_as_an_extractor_that_is_assembled_sees_faces(
    run: Run, folder: Path, asked: list[str], given: tuple[str, float], framing: Framing
) -> None:
    assert run("data", "crop", folder, "--out", "crops", *given) == 0
    found = np.asarray(Image.open("crops/c0/0_0.jpg")).astype(int)
    square = framing.square((200.0, 10.0, 240.0, 50.0))
    seen = cut(np.asarray(Image.open(folder / "c0" / "0.png")), square)
    assert found.shape == seen.shape
    assert np.abs(found - seen).mean() < 8


def test_crop_says_how_many_crops_of_an_earlier_run_are_gone(
    run: Run, folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "crop", folder, "--out", "crops") == 0
    assert run("data", "crop", folder, "--out", "crops") == 0
    assert "removed" not in capsys.readouterr().err
    (folder / "c0" / "0.png").unlink()
    (folder / "c0" / "1.png").unlink()
    assert run("data", "crop", folder, "--out", "crops") == 0
    told = capsys.readouterr()
    assert "2 crops of an earlier run, which were not cut again, were removed." in told.err
    assert "Cut 18 faces out of 18 pictures: crops" in told.out


def test_crop_into_the_folder_that_is_read(
    run: Run, folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "crop", folder, "--out", folder / "c0") == 1
    assert "which is only read; name another folder." in capsys.readouterr().err


def test_crop_by_a_cascade(
    run: Run, folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    place = ("--out", "crops", "--cascade", "faces.xml")
    assert run("data", "crop", folder, "--detector", "lbpcascade", *place) == 0
    assert run("data", "crop", folder, *place) == 0
    assert asked == ["cascade:faces.xml"] * 2
    assert run("data", "crop", folder, "--out", "crops", "--detector", "lbpcascade") == 1
    assert "--cascade FILE.xml" in capsys.readouterr().err
    assert run("data", "crop", folder, "--detector", "familiar-face", *place) == 1
    assert "does not go with" in capsys.readouterr().err


def test_group_copies_what_is_alike(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: list[str] = []
    for name, value in (("DEVICE", "cpu"), ("PRECISION", "float32"), ("THREADS", "3")):
        monkeypatch.setenv(f"FAMILIAR_MODEL_{name}", value)

    def load(name: str, device: str, *, precision: str, threads: int) -> FakeExtractor:
        assert (device, precision, threads) == ("cpu", "float32", 3)
        names.append(name)
        extractor = FakeExtractor()
        extractor.same_threshold = 0.5
        return extractor

    monkeypatch.setattr(core.models.chosen, "load_extractor", load)
    heads = tmp_path / "heads"
    heads.mkdir()
    for row, colour in enumerate([(220, 60, 60), (60, 60, 220)] * 4):
        Image.new("RGB", (16, 16), colour).save(heads / f"{row}.png")
    grouped = ("data", "group", heads, "--smallest", 4, "--out")
    assert run(*grouped, heads / "groups") == 1
    assert "which is only read; name another folder." in capsys.readouterr().err
    assert run(*grouped, tmp_path / "groups") == 0
    assert f"8 of 8 pictures in 2 groups: {tmp_path / 'groups'}" in capsys.readouterr().out.replace(
        "\n", ""
    )
    found = {
        tuple(sorted(path.name for path in folder.iterdir()))
        for folder in (tmp_path / "groups").iterdir()
    }
    assert found == {("0.png", "2.png", "4.png", "6.png"), ("1.png", "3.png", "5.png", "7.png")}
    assert run(*grouped, tmp_path / "groups") == 1
    assert "is there already" in capsys.readouterr().err
    assert run(*grouped, "apart", "--without", "somebody") == 1
    assert "has no series somebody, which is to be left out" in capsys.readouterr().err
    assert run(*grouped, "none", "--like", 1.0, "--extractor", "other") == 0
    assert names == ["familiar-character"] * 4 + ["other"]


@pytest.mark.parametrize("command", ["crop", "group", "split", "balance"])
def test_limits_on_what_people_send_do_not_hold_for_ones_own_pictures(
    run: Run,
    folder: Path,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    def load(name: str, device: str, **_: object) -> FakeExtractor:
        return FakeExtractor()

    monkeypatch.setattr(core.models.chosen, "load_extractor", load)
    noise = np.random.default_rng(0).integers(0, 256, (1001, 1000, 3), np.uint8)
    Image.fromarray(noise).save(folder / "c0" / "large.bmp")
    Image.new("1", (9000, 9000)).save(folder / "c0" / "beyond.png")
    monkeypatch.setenv("FAMILIAR_LIMIT_MEGAPIXELS", "1")
    monkeypatch.setenv("FAMILIAR_LIMIT_UPLOAD_MIB", "1")
    further = {
        "crop": [],
        "group": ["--like", 0.9, "--smallest", 1],
        "split": [],
        "balance": ["--per-character", 2],
    }[command]
    assert run("data", command, folder, "--out", "out", *further) == 0
    told = capsys.readouterr().err
    assert "large.bmp" not in told
    assert "beyond.png: " in told


def test_balance_names_what_it_leaves_out(
    run: Run, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c0" / "z.jpg").write_text("no picture")
    (folder / "c0" / "z.avif").write_text("no picture")
    assert run("data", "balance", folder, "--out", "even", "--per-character", 4) == 0
    told = capsys.readouterr()
    assert "2 could not be read and were left out:" in told.err
    assert "c0/z.jpg: not a picture" in told.err
    assert "c0/z.avif: not a picture" in told.err
    assert "of which 0 are copies; 0 pictures left out" in told.out


@pytest.mark.parametrize(
    ("readable", "why"),
    [
        ((), "There is no picture in bad that can be read."),
        (("c0/a.png",), "bad is too small to be split by character"),
        (("c0/a.png", "b.png"), "bad holds pictures outside of any folder"),
    ],
    ids=["none", "one", "flat"],
)
def test_a_refused_split_names_what_cannot_be_read(
    run: Run,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    readable: tuple[str, ...],
    why: str,
) -> None:
    Path("bad/c0").mkdir(parents=True)
    Path("bad/c0/z.jpg").write_text("no picture")
    Path("bad/c0/z.avif").write_text("no picture")
    for name in readable:
        Path("bad", name).write_bytes((folder / "c0" / "0.png").read_bytes())
    assert run("data", "split", "bad", "--out", "parts") == 1
    told = capsys.readouterr().err.splitlines()
    at = told.index("2 could not be read and were left out:")
    assert told[at + 1].startswith("  c0/z.avif: not a picture")
    assert told[at + 2].startswith("  c0/z.jpg: not a picture")
    assert told[at + 3].startswith(why)
    assert not Path("parts").exists()


def test_a_refused_balance_names_what_cannot_be_read(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad/c0").mkdir(parents=True)
    Path("bad/c0/z.jpg").write_text("no picture")
    assert run("data", "balance", "bad", "--out", "even", "--per-character", 4) == 1
    told = capsys.readouterr().err
    assert "  c0/z.jpg: not a picture" in told
    assert "There is no picture in bad that can be read." in told


@pytest.mark.parametrize("command", ["split", "balance"])
@pytest.mark.parametrize(("amiss", "seed"), [(-1, 0), (2**32, 2**32 - 1)])
def test_a_seed_out_of_range_is_wrong_usage(
    run: Run,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    amiss: int,
    seed: int,
) -> None:
    further = {"split": [], "balance": ["--per-character", 2]}[command]
    assert run("data", command, folder, "--out", "out", "--seed", amiss, *further) == 2
    assert "--seed" in capsys.readouterr().err
    assert run("data", command, folder, "--out", "out", "--seed", seed, *further) == 0


def test_crop_into_the_crops_of_another_folder(
    run: Run, folder: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("data", "crop", folder / "c0", "--out", "crops") == 0
    (folder / "c1" / "other.png").write_bytes((folder / "c1" / "0.png").read_bytes())
    for number in range(4):
        (folder / "c1" / f"{number}.png").unlink()
    assert run("data", "crop", folder / "c1", "--out", "crops") == 1
    assert "crops holds crops of other pictures than those in" in capsys.readouterr().err
    assert len(list(Path("crops").glob("*.jpg"))) == 4


def test_split_and_balance(run: Run, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("data", "split", folder, "--out", "parts", "--by", "character") == 0
    assert "16 pictures to train on, 4 to measure on; 0 have a duplicate" in capsys.readouterr().out
    assert run("data", "balance", "parts", "--out", "even", "--per-character", 6) == 1
    assert "both sides of a split" in capsys.readouterr().err
    assert run("data", "balance", "parts/train", "--out", "even", "--per-character", 6) == 0
    told = "4 characters with 6 pictures each, of which 8 are copies; 0 pictures left out: even"
    assert told in capsys.readouterr().out
    assert len(list(Path("even").rglob("*_copy*.png"))) == 8
    assert run("data", "split", folder, "--out", "parts") == 1
    assert "there already" in capsys.readouterr().err
    assert run("data", "split", folder, "--out", "other", "--by", "series") == 1
    assert "picture or character" in capsys.readouterr().err
