"""Pictures without a face: drawn, cut out by a table, or given in a folder."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from core.faceless import COLUMNS, FacelessError, Kind, cut, given
from core.faceless.drawing import drawn
from core.problem import Problem
from tests import shared_data
from tests.core.fakes import drawn_scene, save

TABLE = Path(__file__).parents[1] / "faceless.csv"


def write_table(path: Path, *rows: tuple[object, ...], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def test_every_motif_is_drawn_as_often_and_each_picture_is_another() -> None:
    pictures = drawn(each=2)
    assert Counter(picture.kind for picture in pictures) == {
        Kind.TEXTURE: 14,
        Kind.LANDSCAPE: 10,
        Kind.STILL_LIFE: 10,
    }
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert len({picture.pixels.tobytes() for picture in pictures}) == len(pictures)
    assert all(picture.pixels.dtype == np.uint8 for picture in pictures)


def test_the_same_seed_draws_the_same_however_many_are_wanted() -> None:
    few, many = drawn(each=1), {picture.name: picture.pixels for picture in drawn(each=2)}
    assert all(np.array_equal(picture.pixels, many[picture.name]) for picture in few)
    others = drawn(seed=1, each=1)
    assert not any(
        np.array_equal(one.pixels, other.pixels) for one, other in zip(few, others, strict=True)
    )


def test_windows_are_cut_along_the_right_axes(tmp_path: Path) -> None:
    pixels = drawn_scene([])
    save(pixels, tmp_path / "shows" / "1.png")
    table = write_table(tmp_path / "table.csv", ("shows/1.png", 10, 20, 50, 90))
    (window,) = cut(table, tmp_path)
    assert window.kind is Kind.CUT
    assert window.name == "shows/1.png 10,20,50,90"
    assert np.array_equal(window.pixels, pixels[20:90, 10:50])


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("1.png", 0, 0, 321, 240), "line 2: the window reaches beyond"),
        (("1.png", 50, 0, 50, 240), "line 2: the window reaches beyond"),  # empty
        (("1.png", -1, 0, 50, 240), "line 2: the window reaches beyond"),
        (("1.png", "left", 0, 50, 240), "line 2: no window"),
        (("1.png", 0), "line 2: no window"),
        (("2.png", 0, 0, 50, 50), "2.png: "),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    tmp_path: Path, row: tuple[object, ...], sentence: str
) -> None:
    save(drawn_scene([]), tmp_path / "1.png")
    with pytest.raises(FacelessError, match=sentence):
        list(cut(write_table(tmp_path / "table.csv", row), tmp_path))


def test_a_table_of_something_else_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "table.csv", columns=("picture", "left", "top"))
    with pytest.raises(FacelessError, match="needs the columns picture, x0, y0, x1, y1"):
        list(cut(table, tmp_path))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("picture,x0,y0,x1,y1\nSchön.png,0,0,50,50\n".encode("latin-1"), "no CSV in UTF-8"),
        (b"picture,x0,y0,x1,y1\n1.png,\xff", "no CSV in UTF-8"),
        (b'picture,x0,y0,x1,y1\n"' + b"1" * 200_000, "no CSV in UTF-8"),
        (b"picture,x0,y0,x1,y1\n", "no line that says where to cut"),
        (b"", "needs the columns"),
    ],
)
def test_a_file_that_is_no_table_is_refused_at_once(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(FacelessError, match=sentence):
        cut(tmp_path / "table.csv", tmp_path)


def test_a_table_as_excel_writes_it(tmp_path: Path) -> None:
    save(drawn_scene([]), tmp_path / "1.png")
    table = write_table(tmp_path / "table.csv", ("1.png", 10, 20, 50, 90))
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes())
    assert [window.name for window in cut(table, tmp_path)] == ["1.png 10,20,50,90"]


def test_what_is_not_there_is_said_before_anything_is_taken(tmp_path: Path) -> None:
    save(drawn_scene([]), tmp_path / "1.png")
    table = write_table(tmp_path / "table.csv", ("1.png", 0, 0, 9, 9), ("2.png", 0, 0, 9, 9))
    with pytest.raises(FacelessError, match=r"line 3 names 2\.png: there is no such file"):
        cut(table, tmp_path)
    with pytest.raises(Problem, match="nowhere does not exist"):
        given(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Problem, match=r"no picture in .*empty"):
        given(tmp_path / "empty")


def test_every_picture_of_a_folder_is_given(tmp_path: Path) -> None:
    save(drawn_scene([]), tmp_path / "b" / "1.png")
    save(drawn_scene([], background=1), tmp_path / "a.png")
    assert [(one.name, one.kind) for one in given(tmp_path)] == [
        ("a.png", Kind.GIVEN),
        ("b/1.png", Kind.GIVEN),
    ]
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(FacelessError, match=r"broken\.png: not a picture"):
        list(given(tmp_path))


def test_the_table_names_pictures_that_no_training_sees() -> None:
    with TABLE.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 351
    assert all(row["picture"].startswith("series/") for row in rows)
    assert all(int(Path(row["picture"]).stem) % 10 == 0 for row in rows)


if shared_data.present("series"):

    def test_every_window_of_the_table_can_be_cut() -> None:
        windows = list(cut(TABLE, shared_data.ROOT))
        assert len({window.name for window in windows}) == 351
        for window in windows:
            assert min(window.pixels.shape[:2]) >= 20
