"""Given a folder, which files count as its pictures, and in which order they are read."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.folder import PictureFile, in_batches, read_ahead, reason, scan
from core.picture import OTHER_SUFFIXES, SUFFIXES
from core.problem import Problem
from tests.core.closed import close_to_this_user


def paths(root: Path) -> list[str]:
    return [file.path for file in scan(root).pictures]


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_pictures_are_found_at_any_depth_and_sorted_by_their_whole_path(tmp_path: Path) -> None:
    for name in ("b/2.PNG", "a/x/1.jpeg", "a.png", "b/10.webp", "a/1.gif"):
        touch(tmp_path / name)
    assert paths(tmp_path) == ["a.png", "a/1.gif", "a/x/1.jpeg", "b/10.webp", "b/2.PNG"]


def test_the_character_is_the_first_folder_and_none_in_a_flat_gallery(tmp_path: Path) -> None:
    for name in ("rem/maid/1.png", "loose.png"):
        touch(tmp_path / name)
    assert [file.character for file in scan(tmp_path).pictures] == [None, "rem"]


def test_hidden_and_other_files_are_left_out(tmp_path: Path) -> None:
    others = ("a/notes.txt", "a/1.png.json", "a/1.xmp", "a/png", "a/tif", "Thumbs.db")
    for name in (".git/a.png", "a/.thumb.png", "a/.thumb.avif", *others, "a/1.png"):
        touch(tmp_path / name)
    found = scan(tmp_path)
    assert [file.path for file in found.pictures] == ["a/1.png"]
    assert found.unreadable == ()


def test_pictures_of_kinds_that_are_not_read_are_named(tmp_path: Path) -> None:
    assert not OTHER_SUFFIXES & SUFFIXES
    kinds = ["avif", "heic", "heif", "ico", "jp2", "jxl", "psd", "svg", "tga", "tif", "tiff"]
    for name in ("1.png", "scan.TIFF", *(f"a.{kind}" for kind in kinds)):
        touch(tmp_path / "rem" / name)
    found = scan(tmp_path)
    assert [file.path for file in found.pictures] == ["rem/1.png"]
    named = sorted(["rem/scan.TIFF", *(f"rem/a.{kind}" for kind in kinds)])
    assert [path for path, _ in found.unreadable] == named
    why = {reason(problem) for _, problem in found.unreadable}
    assert why == {"not a picture of the kinds JPEG, PNG, WEBP, GIF, BMP"}


def test_a_picture_of_another_kind_is_named_only_where_one_that_is_read_would_be_found(
    tmp_path: Path,
) -> None:
    outside = touch(tmp_path / "secret" / "outside.avif")
    root = tmp_path / "gallery"
    root.mkdir()
    (root / "leaves.avif").symlink_to(outside)
    (problem,) = (problem for path, problem in scan(root).unreadable if path == "leaves.avif")
    assert problem.key == "picture_link_outside"
    (root / "leaves.avif").unlink()
    os.mkfifo(root / "pipe.avif")
    (root / "folder.psd").mkdir()
    assert scan(root).unreadable == ()


def test_links_are_followed_to_files_inside_alone(tmp_path: Path) -> None:
    outside = touch(tmp_path / "secret" / "outside.png")
    root = tmp_path / "gallery"
    inside = touch(root / "a" / "1.png")
    (root / "b").mkdir()
    (root / "b" / "inside.png").symlink_to(inside)
    (root / "b" / "leaves.png").symlink_to(outside)
    (root / "b" / "folder").symlink_to(outside.parent)
    (root / "a" / "around").symlink_to(root)
    (root / "a" / "again").symlink_to(root / "b")
    assert paths(root) == ["a/1.png", "b/inside.png"]


def test_links_that_lead_out_are_named(tmp_path: Path) -> None:
    """Else a gallery of links to pictures kept elsewhere would only look empty."""
    photos = touch(tmp_path / "photos" / "coral" / "1.png")
    touch(tmp_path / "photos" / "notes.txt")
    root = tmp_path / "gallery"
    (root / "blue").mkdir(parents=True)
    (root / "coral").symlink_to(photos.parent)
    (root / "blue" / "1.png").symlink_to(photos)
    (root / "blue" / "around").symlink_to(root)
    (root / "blue" / "notes.txt").symlink_to(tmp_path / "photos" / "notes.txt")
    (root / ".hidden").symlink_to(photos.parent)
    found = scan(root)
    assert found.pictures == ()
    assert [path for path, _ in found.unreadable] == ["blue/1.png", "coral"]
    assert {reason(problem) for _, problem in found.unreadable} == {
        "a link that leads out of the folder, which is not followed"
    }


def test_a_gallery_that_is_a_link_itself_is_fine(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "a" / "1.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert paths(tmp_path / "link") == ["a/1.png"]


def test_a_link_that_leads_nowhere_is_reported(tmp_path: Path) -> None:
    (tmp_path / "1.png").symlink_to(tmp_path / "gone.png")
    found = scan(tmp_path)
    assert found.pictures == ()
    assert [path for path, _ in found.unreadable] == ["1.png"]


def test_a_link_that_leads_to_itself_is_reported(tmp_path: Path) -> None:
    (tmp_path / "1.png").symlink_to(tmp_path / "1.png")
    found = scan(tmp_path)
    assert found.pictures == ()
    assert [path for path, _ in found.unreadable] == ["1.png"]


def test_a_pipe_named_like_a_picture_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert paths(tmp_path) == []


def test_a_name_that_is_not_utf8_is_reported_in_a_form_that_can_be_printed(tmp_path: Path) -> None:
    (Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))).write_bytes(b"x")
    found = scan(tmp_path)
    assert found.pictures == ()
    [(path, problem)] = found.unreadable
    assert path == "\\xff.png"
    assert "UTF-8" in problem.sentence()


def test_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="does not exist"):
        scan(tmp_path / "nothing")


def test_a_folder_that_this_user_may_not_enter_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close_to_this_user(tmp_path, monkeypatch)
    with pytest.raises(Problem, match="cannot be read"):
        scan(tmp_path / "gallery")


@dataclass(frozen=True)
class Read:
    path: str
    pixel_count: int = 0


def files(count: int, size: int = 50_000) -> list[PictureFile]:
    return [PictureFile(f"{n}.png", Path(f"{n}.png"), size, 1, 1) for n in range(count)]


def test_reading_ahead_keeps_the_order_though_later_files_are_done_first() -> None:
    first_may_end = threading.Event()

    def read(file: PictureFile) -> Read:
        if file.path == "0.png":
            assert first_may_end.wait(10)
        if file.path == "1.png":
            first_may_end.set()
        return Read(file.path)

    assert [r.path for r in read_ahead(files(100), read)] == [f"{n}.png" for n in range(100)]


def test_reading_ahead_waits_while_many_pixels_are_not_taken() -> None:
    started: list[str] = []

    def read(file: PictureFile) -> Read:
        started.append(file.path)
        return Read(file.path, 45_000_000)

    results = read_ahead(files(40, size=9_000_000), read)
    for taken in range(1, 41):
        next(results)
        assert len(started) <= taken + 2
    assert len(started) == 40


def test_small_pictures_are_read_well_ahead() -> None:
    started: list[str] = []
    sixteen_are_read = threading.Event()

    def read(file: PictureFile) -> Read:
        started.append(file.path)
        if len(started) == 17:
            sixteen_are_read.set()
        return Read(file.path, 300_000)

    results = read_ahead(files(40), read)
    next(results)
    assert sixteen_are_read.wait(10)
    assert len(list(results)) == 39


def test_an_error_of_a_reader_reaches_the_taker() -> None:
    def read(file: PictureFile) -> Read:
        raise RuntimeError(file.path)

    with pytest.raises(RuntimeError, match=r"0\.png"):
        list(read_ahead(files(3), read))


def test_batches_are_cut_short_by_large_pictures() -> None:
    reads = [Read("a"), Read("b"), Read("c"), Read("d", 200_000_000), Read("e")]
    assert [[r.path for r in batch] for batch in in_batches(reads, 2)] == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert [[r.path for r in batch] for batch in in_batches(reads, 9)] == [
        ["a", "b", "c", "d"],
        ["e"],
    ]
