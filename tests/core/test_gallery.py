"""Given a gallery and what was built before, what a build computes, reports and leaves behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import gallery
from core import picture as picture_module
from core.face import Face, Landmarks, Pixels, Vectors
from core.gallery import BuildReport, build_index
from core.index import Index, build_lock, current_version
from core.look import Look
from core.models import ModelError
from core.picture import (
    Limits,
    Picture,
    PixelBudget,
    UnreadablePicture,
    decode,
    read,
)
from core.problem import Problem
from core.rows import Query
from tests.core.closed import close_to_this_user
from tests.core.fakes import HAIR, FakeDetector, FakeExtractor, drawn_gallery, drawn_scene, save


class World:
    """A gallery, a data folder, and models that count what they are given."""

    def __init__(self, root: Path) -> None:
        self.gallery = root / "gallery"
        self.data = root / "data"
        self.detector = FakeDetector()
        self.extractor = FakeExtractor()
        self.progress: list[tuple[int, int]] = []

    def build(self) -> BuildReport:
        self.detector.seen = self.extractor.embedded_faces = self.extractor.embedded_pictures = 0
        self.progress.clear()
        return build_index(
            self.gallery,
            self.data,
            self.detector,
            self.extractor,
            lambda done, total: self.progress.append((done, total)),
        )

    @property
    def worked(self) -> tuple[int, int, int]:
        """Pictures detected, faces and pictures embedded, in the last build."""
        extractor = self.extractor
        return self.detector.seen, extractor.embedded_faces, extractor.embedded_pictures

    def open(self) -> Index:
        return Index.open_current(self.data, self.detector, self.extractor)


@pytest.fixture
def world(tmp_path: Path) -> World:
    drawn_gallery(tmp_path / "gallery")
    return World(tmp_path)


def test_a_gallery_is_indexed_by_character(world: World) -> None:
    report = world.build()
    assert (report.pictures, report.faces, report.without_face) == (15, 15, 0)
    assert len(report.added) == 15
    assert report.removed == report.unreadable == ()
    assert report.version == current_version(world.data)
    pictures = world.open().pictures
    assert {picture.character for picture in pictures} == set(HAIR)
    assert [picture.path for picture in pictures] == sorted(picture.path for picture in pictures)
    assert {(picture.width, picture.height) for picture in pictures} == {(320, 240)}


def test_vectors_are_those_that_the_models_give(world: World) -> None:
    world.build()
    contents = world.open()._rows.contents
    for face, vector in zip(contents.faces, contents.face_vectors, strict=True):
        pixels = read(world.gallery / contents.pictures[face.picture].path).pixels
        crop = world.extractor.prepare_face(pixels, face.face.box)
        assert vector == pytest.approx(world.extractor.embed_faces(crop[None])[0], abs=1e-6)
    for picture, vector in zip(contents.pictures, contents.picture_vectors, strict=True):
        whole = world.extractor.prepare_picture(read(world.gallery / picture.path).pixels)
        assert vector == pytest.approx(world.extractor.embed_pictures(whole[None])[0], abs=1e-6)


def test_every_face_above_the_threshold_is_indexed_and_no_box_below(world: World) -> None:
    heads = [("blue", 80, 100, 30), ("dark", 220, 100, 26), ("coral", 160, 200, 8)]
    save(drawn_scene(heads), world.gallery / "group" / "1.png")
    report = world.build()
    assert report.faces == 17
    save(drawn_scene([]), world.gallery / "group" / "2.png")
    assert world.build().without_face == 1


def test_a_flat_gallery_has_no_characters(world: World) -> None:
    shutil.rmtree(world.gallery)
    save(drawn_scene([("blue", 80, 100, 30)]), world.gallery / "1.png")
    world.build()
    assert [picture.character for picture in world.open().pictures] == [None]


def test_building_again_computes_nothing(world: World) -> None:
    first = world.build()
    again = world.build()
    assert world.worked == (0, 0, 0)
    assert again.version == first.version
    assert again.added == again.removed == ()
    assert again.embedded == 0
    assert world.progress == [(15, 15)]


def test_a_second_box_around_a_face_is_neither_indexed_nor_computed_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    detect = world.detector.detect

    def twice(images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        return [
            (*faces, *(Face(face.box, face.score - 0.01) for face in faces))
            for faces in detect(images)
        ]

    monkeypatch.setattr(world.detector, "detect", twice)
    assert world.build().faces == 15
    assert world.build().embedded == 0


def test_only_new_and_changed_pictures_are_embedded(world: World) -> None:
    world.build()
    before = world.open()
    save(drawn_scene([("blue", 90, 90, 30)], background=50), world.gallery / "blue" / "new.png")
    save(drawn_scene([("dark", 90, 90, 30)], background=51), world.gallery / "dark" / "1.png")
    (world.gallery / "coral" / "0.png").unlink()
    report = world.build()
    assert world.worked == (2, 2, 2)
    assert report.embedded == 2
    assert report.added == ("blue/new.png", "dark/1.png")
    assert report.removed == ("coral/0.png", "dark/1.png")
    assert report.pictures == 15
    assert world.open().version != before.version


def test_a_renamed_file_costs_nothing_and_is_neither_added_nor_removed(world: World) -> None:
    world.build()
    (world.gallery / "blue").rename(world.gallery / "azure")
    report = world.build()
    assert world.worked == (0, 0, 0)
    assert report.added == report.removed == ()
    assert "azure" in {picture.character for picture in world.open().pictures}
    assert "blue" not in {picture.character for picture in world.open().pictures}


def test_a_copy_costs_nothing_and_is_added(world: World) -> None:
    world.build()
    shutil.copy(world.gallery / "blue" / "0.png", world.gallery / "blue" / "copy.png")
    report = world.build()
    assert world.worked == (0, 0, 0)
    assert report.pictures == 16
    assert report.added == ("blue/copy.png",)


def test_copies_that_come_together_are_embedded_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(40):
        save(drawn_scene([("blue", 80, 100, 30)]), world.gallery / "blue" / f"{number}.png")
    report = world.build()
    assert world.worked == (1, 1, 1)
    assert report.pictures == 40
    assert world.progress[-1] == (40, 40)


def test_copies_that_are_decoded_at_the_same_time_are_embedded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    for number in range(2):
        save(drawn_scene([("blue", 80, 100, 30)]), world.gallery / "blue" / f"{number}.png")
    both = threading.Barrier(2, timeout=30)

    def decode(data: bytes, limits: Limits, budget: PixelBudget) -> Picture:
        both.wait()
        return original(data, limits, budget)

    original = gallery.decode
    monkeypatch.setattr(gallery, "decode", decode)
    report = world.build()
    assert world.worked == (1, 1, 1)
    assert (report.pictures, report.embedded) == (2, 1)


def test_a_touched_file_is_read_but_not_embedded(world: World) -> None:
    version = world.build().version
    for path in world.gallery.rglob("*.png"):
        os.utime(path, ns=(1, 1))
    report = world.build()
    assert world.worked == (0, 0, 0)
    assert report.version == version
    assert world.progress[0] == (0, 15)  # all were looked at again
    world.build()
    assert world.progress == [(15, 15)]  # and the new state was noted


def test_a_change_under_the_same_size_and_time_is_noticed(world: World) -> None:
    """Such as an archive unpacked again, which restores the times it knows."""
    first = world.gallery / "blue" / "0.png"
    (world.gallery / "blue" / "9.bmp").write_bytes(b"")
    other = world.gallery / "blue" / "9.bmp"
    for path, name in ((first, "blue"), (other, "dark")):
        save(drawn_scene([(name, 80, 100, 30)]), path.with_suffix(".bmp"))
    picture = world.gallery / "blue" / "0.bmp"
    world.build()
    state = picture.stat()
    picture.write_bytes(other.read_bytes())
    os.utime(picture, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert picture.stat().st_size == state.st_size
    world.build()
    hashes = {it.path: it.sha256 for it in world.open().pictures}
    assert hashes["blue/0.bmp"] == hashes["blue/9.bmp"]


def test_another_model_computes_its_part_anew_and_the_former_are_remembered(world: World) -> None:
    world.build()
    former = world.extractor
    world.extractor = FakeExtractor(revision=2)
    world.build()
    assert world.worked == (0, 15, 15)  # the faces are where they were
    world.extractor = former
    world.build()
    assert world.worked == (0, 0, 0)
    world.detector = FakeDetector(revision=2)
    world.build()
    assert world.worked == (15, 15, 15)


def models_catalogued(world: World) -> dict[str, set[str]]:
    """For each table of what models gave, the models whose rows it has."""
    with closing(sqlite3.connect(world.data / "catalogue.sqlite")) as database:
        return {
            table: {sha256 for (sha256,) in database.execute(f"SELECT {role} FROM {table}")}
            for table, role in (
                ("detections", "detector"),
                ("faces", "detector"),
                ("face_vectors", "extractor"),
                ("picture_vectors", "extractor"),
            )
        }


def test_what_the_last_two_models_gave_is_kept_and_no_more(world: World) -> None:
    extractors = [FakeExtractor(revision) for revision in range(4)]
    for world.extractor in extractors:
        world.build()
    world.build()  # going back stays possible, however often the last is used
    last = {it.sha256 for it in extractors[-2:]}
    assert models_catalogued(world)["picture_vectors"] == last
    assert models_catalogued(world)["face_vectors"] == last
    world.extractor = extractors[-2]
    assert world.build().embedded == 0
    detectors = [FakeDetector(revision=revision) for revision in range(2, 5)]
    for world.detector in detectors:
        world.build()
    last = {it.sha256 for it in detectors[-2:]}
    assert models_catalogued(world)["detections"] == models_catalogued(world)["faces"] == last
    world.detector = detectors[-2]
    assert world.build().embedded == 0


def test_another_threshold_indexes_other_faces_and_computes_only_those(world: World) -> None:
    heads = [("blue", 80, 100, 30), ("coral", 220, 100, 9)]
    save(drawn_scene(heads), world.gallery / "group" / "1.png")
    assert world.build().faces == 16
    world.detector = FakeDetector(threshold=0.3)
    assert world.build().faces == 17
    assert world.worked == (0, 2, 1)
    world.detector = FakeDetector(threshold=0.5)
    assert world.build().faces == 16
    assert world.worked == (0, 0, 0)


def test_progress_counts_every_picture_once(world: World) -> None:
    (world.gallery / "blue" / "broken.png").write_bytes(b"not a picture")
    for number in range(30):
        scene = drawn_scene([("blue", 80, 100, 30)], background=500 + number)
        save(scene, world.gallery / "more" / f"{number}.png")
    world.build()
    counts = [done for done, _ in world.progress]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 46)
    assert {total for _, total in world.progress} == {46}
    assert len(counts) >= 4


def test_unreadable_files_are_reported_by_name_and_the_rest_is_indexed(world: World) -> None:
    blue = world.gallery / "blue"
    (blue / "text.png").write_text("This is no picture.")
    (blue / "empty.jpg").write_bytes(b"")
    (blue / "cut.png").write_bytes((blue / "0.png").read_bytes()[:-2000])
    (blue / "drawing.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (blue / "phone.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (blue / "notes.txt").write_text("Whom to draw next.")
    (blue / "nowhere.png").symlink_to(blue / "gone.png")
    Image.new("1", (9000, 9000)).save(blue / "huge.png")
    report = world.build()
    assert report.pictures == 15
    reasons = dict(report.unreadable)
    assert set(reasons) == {
        f"blue/{name}"
        for name in (
            "text.png",
            "empty.jpg",
            "cut.png",
            "drawing.png",
            "phone.HEIC",
            "nowhere.png",
            "huge.png",
        )
    }
    assert reasons["blue/cut.png"] == "damaged"
    assert reasons["blue/empty.jpg"] == "the file is empty"
    assert "too many pixels" in reasons["blue/huge.png"]
    assert "not a picture" in reasons["blue/text.png"]
    assert reasons["blue/phone.HEIC"] == reasons["blue/text.png"]
    assert "cannot be opened" in reasons["blue/nowhere.png"]


class UnsureExtractor(FakeExtractor):
    """Has no numbers for one of the faces, where it is told which."""

    def __init__(self) -> None:
        super().__init__()
        self.unknown: Pixels | None = None

    def embed_faces(self, faces: Pixels) -> Vectors:
        vectors = super().embed_faces(faces)
        if self.unknown is not None:
            vectors[(faces == self.unknown).all((1, 2, 3))] = np.nan
        return vectors

    def forget(self, picture: Path) -> None:
        pixels = read(picture).pixels
        (face,) = FakeDetector().detect([pixels])[0]
        self.unknown = self.prepare_face(pixels, face.box)


def test_a_picture_whose_vectors_cannot_be_compared_is_named_and_the_rest_is_indexed(
    world: World,
) -> None:
    """Zeros of a whole picture and no numbers of a face; of copies each is named."""
    world.extractor = unsure = UnsureExtractor()
    grey = world.gallery / "grey"
    for name in ("0.png", "1.png"):
        save(np.full((240, 320, 3), 128, np.uint8), grey / name)
    unsure.forget(world.gallery / "blue" / "0.png")
    left_out = ["blue/0.png", "grey/0.png", "grey/1.png"]
    for _ in range(2):
        report = world.build()
        assert (report.pictures, report.faces) == (14, 14)
        assert [path for path, _ in report.unreadable] == left_out
        assert "can be compared" in dict(report.unreadable)["grey/1.png"]
        assert len(catalogued(world)) == 14
    assert world.worked == (2, 1, 2), "what may be the extractor's fault is tried again"
    unsure.unknown = None
    for path in grey.iterdir():
        path.unlink()
    report = world.build()
    assert (report.unreadable, report.added) == ((), ("blue/0.png",))


def test_an_extractor_that_gives_nothing_to_compare_is_what_is_blamed(tmp_path: Path) -> None:
    world = World(tmp_path)
    save(np.full((240, 320, 3), 128, np.uint8), world.gallery / "grey" / "0.png")
    with pytest.raises(ModelError, match="'fake-character' gives vectors that are not of unit"):
        world.build()
    assert current_version(world.data) is None


def test_an_unreadable_file_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    save(drawn_scene([], size=(1200, 900)), world.gallery / "blue" / "huge.png")
    with monkeypatch.context() as narrower:
        narrower.setattr(gallery, "OWN_LIMITS", Limits(pixels=1_000_000))
        assert len(world.build().unreadable) == 1
        assert len(world.build().unreadable) == 1
    report = world.build()
    assert report.unreadable == ()
    assert report.added == ("blue/huge.png",)


def test_a_picture_that_became_unreadable_leaves_the_index(world: World) -> None:
    world.build()
    (world.gallery / "blue" / "0.png").write_bytes(b"overwritten")
    report = world.build()
    assert report.removed == ("blue/0.png",)
    assert "blue/0.png" not in {picture.path for picture in world.open().pictures}


@pytest.mark.parametrize("what", ["missing", "empty", "unreadable", "other kind"])
def test_a_gallery_without_pictures_leaves_the_index_as_it_is(world: World, what: str) -> None:
    """Such as a disk that is not mounted."""
    version = world.build().version
    shutil.rmtree(world.gallery)
    if what != "missing":
        (world.gallery / "blue").mkdir(parents=True)
    if what == "unreadable":
        (world.gallery / "blue" / "1.png").write_bytes(b"no")
    if what == "other kind":
        (world.gallery / "blue" / "1.jxl").write_bytes(b"no")
    with pytest.raises(Problem) as caught:
        world.build()
    assert caught.value.key == {"other kind": "gallery_unreadable"}.get(what, f"gallery_{what}")
    sentence = str(caught.value)
    assert any(named in sentence for named in (str(world.gallery), "blue/1.png", "blue/1.jxl"))
    assert world.open().version == version
    drawn_gallery(world.gallery)
    world.build()
    assert world.worked == (0, 0, 0)


def test_another_gallery_in_the_same_data_folder_is_read_anew(world: World, tmp_path: Path) -> None:
    world.build()
    other = tmp_path / "other"
    for path in world.gallery.rglob("*.png"):
        target = other / path.relative_to(world.gallery)
        save(drawn_scene([("dark", 70, 100, 20)]), target)
    world.gallery = other
    report = world.build()
    assert report.pictures == 15
    assert len(report.removed) == 15
    assert len({picture.sha256 for picture in world.open().pictures}) == 1


@pytest.mark.parametrize("data", ["data", "amber", "."])
def test_the_programs_own_pictures_are_none_of_a_gallery_that_has_the_data_folder_in_it(
    world: World, data: str
) -> None:
    """Of a character whose folder is the data folder, too, no picture is left out."""
    world.data = world.gallery / data
    large = drawn_scene([("blue", 400, 400, 150)], (1200, 1200))
    save(large, world.gallery / "blue" / "large.png")
    world.build()
    assert [path.suffix for path in (world.data / "thumbnails").iterdir()] == [".jpg"]
    (world.data / "answers").mkdir()
    shutil.copy(world.gallery / "blue" / "large.png", world.data / "answers" / "1.jpg")
    again = world.build()
    assert (again.pictures, again.added, again.removed) == (16, (), ())
    assert len(world.open().pictures) == 16


def test_a_character_may_be_called_thumbnails_where_the_gallery_is_the_data_folder(
    world: World,
) -> None:
    world.data = world.gallery
    save(drawn_scene([("blue", 400, 400, 150)], (1200, 1200)), world.gallery / "large.png")
    own = save(drawn_scene([("dark", 90, 90, 30)]), world.gallery / "thumbnails" / "dark.png")
    world.build()
    report = world.build()
    assert (report.pictures, report.added, report.removed) == (17, (), ())
    assert own.exists()
    assert len(list(own.parent.iterdir())) == 2


def test_what_is_no_longer_in_the_gallery_is_forgotten(world: World) -> None:
    world.build()
    shutil.rmtree(world.gallery / "blue")
    world.build()
    with sqlite3.connect(world.data / "catalogue.sqlite") as database:
        for table in ("files", "pictures", "detections", "faces", "face_vectors"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (12,)


@pytest.mark.parametrize("closed", ["blue", "blue/0.png"])
def test_what_cannot_be_read_for_a_while_is_not_computed_again(
    world: World, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    """Such as a folder of which somebody changed the rights, or a network disk that is away."""
    save(drawn_scene([("dark", 90, 90, 30)], background=51), world.gallery / "blues" / "1.png")
    world.build()
    with monkeypatch.context() as patched:
        close_to_this_user(world.gallery / closed, patched)
        report = world.build()
    assert [path for path, _ in report.unreadable] == [closed]
    assert all(path.startswith(closed) for path in report.removed)
    assert report.pictures == 16 - len(report.removed) < 16
    report = world.build()
    assert (report.pictures, report.embedded) == (16, 0)
    shutil.rmtree(world.gallery / "blue")
    world.build()
    assert len(catalogued(world)) == 13


def test_a_folder_that_cannot_be_read_may_have_any_name(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = world.gallery / os.fsdecode(b"\xff")
    named.mkdir()
    close_to_this_user(named, monkeypatch)
    assert world.build().unreadable == (("\\xff", "cannot be opened"),)


def test_a_gallery_whose_name_is_not_utf8_is_to_be_renamed(tmp_path: Path) -> None:
    world = World(tmp_path / os.fsdecode(b"art\xff"))
    drawn_gallery(world.gallery)
    with pytest.raises(Problem, match="rename it") as caught:
        world.build()
    assert caught.value.key == "gallery_name_not_utf8"
    assert "art\\xff" in str(caught.value)
    str(caught.value).encode("utf-8")


def test_a_file_that_cannot_be_opened_for_a_while_is_not_computed_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()

    def unopened(path: Path, limits: Limits) -> bytes:
        raise UnreadablePicture("picture_file_unreadable", name=path.name)

    os.utime(world.gallery / "blue" / "0.png", ns=(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(gallery, "read_bytes", unopened)
        assert world.build().removed == ("blue/0.png",)
    assert world.build().embedded == 0


def catalogued(world: World) -> set[str]:
    """The contents that the catalogue knows."""
    with closing(sqlite3.connect(world.data / "catalogue.sqlite")) as database:
        return {sha256 for (sha256,) in database.execute("SELECT sha256 FROM pictures")}


def test_the_catalogue_keeps_what_became_of_each_file(world: World) -> None:
    (world.gallery / "blue" / "broken.png").write_bytes(b"no")
    world.build()
    with sqlite3.connect(world.data / "catalogue.sqlite") as database:
        unusable = database.execute("SELECT path FROM files WHERE NOT usable").fetchall()
    assert unusable == [("blue/broken.png",)]


@pytest.mark.parametrize("damage", [b"not a database at all" * 100, b"", 77, 2, 0])
def test_a_damaged_catalogue_or_one_of_another_form_is_made_anew(
    world: World, damage: bytes | int
) -> None:
    version = world.build().version
    path = world.data / "catalogue.sqlite"
    if isinstance(damage, int):
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version = {damage}")
    else:
        path.write_bytes(damage)
    report = world.build()
    assert report.pictures == 15
    assert world.worked == (15, 15, 15)
    assert report.version == version, "the index stays the same"


@pytest.mark.parametrize("form", [0, 3, 7])
def test_a_database_of_something_else_stays_as_it_is(world: World, form: int) -> None:
    path = world.data / "catalogue.sqlite"
    world.data.mkdir()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE pictures (title TEXT)")
        database.execute(f"PRAGMA user_version = {form}")
    before = path.read_bytes()
    with pytest.raises(Problem, match="FAMILIAR_DATA to another folder") as caught:
        world.build()
    assert caught.value.key == "data_foreign"
    assert path.read_bytes() == before


def test_a_catalogue_that_another_program_holds_is_kept(world: World) -> None:
    world.build()
    with closing(sqlite3.connect(world.data / "catalogue.sqlite", isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Problem) as caught:
            world.build()
    assert caught.value.key == "data_unwritable"
    assert world.build().pictures == 15
    assert world.worked == (0, 0, 0)


def test_a_catalogue_that_cannot_be_written_says_so(world: World) -> None:
    (world.data / "catalogue.sqlite").mkdir(parents=True)
    with pytest.raises(Problem) as caught:
        world.build()
    assert caught.value.key == "data_unwritable"


def test_two_builds_at_once_are_refused(world: World) -> None:
    with build_lock(world.data), pytest.raises(Problem) as caught:
        world.build()
    assert caught.value.key == "index_building"


class FailingExtractor(FakeExtractor):
    """Fails at its second batch of pictures."""

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        if self.embedded_pictures:
            raise ModelError("The extractor failed.")
        return super().embed_pictures(pictures)


def test_a_build_that_fails_is_taken_up_where_it_stopped(tmp_path: Path) -> None:
    world = World(tmp_path)
    drawn_gallery(world.gallery, each=8)
    world.extractor = FailingExtractor()
    with pytest.raises(ModelError):
        world.build()
    assert current_version(world.data) is None
    world.extractor = FakeExtractor()
    assert world.build().pictures == 40
    assert world.worked == (24, 24, 24)


def test_a_build_that_is_killed_changes_nothing_and_is_taken_up_where_it_stopped(
    world: World,
) -> None:
    version = world.build().version
    drawn_gallery(world.gallery, each=11)
    for path in world.gallery.glob("*/[012].png"):
        path.unlink()
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from core.gallery import build_index\n"
        "from tests.core.fakes import FakeDetector, FakeExtractor\n"
        "def progress(done, total):\n"
        "    if done >= 16: os.kill(os.getpid(), signal.SIGKILL)\n"
        "build_index(Path(sys.argv[1]), Path(sys.argv[2]), FakeDetector(), FakeExtractor(),"
        " progress)\n"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", code, world.gallery, world.data]
    assert subprocess.run(command, cwd=root, check=False).returncode == -9
    assert world.open().version == version
    report = world.build()
    assert report.pictures == 40
    assert world.worked == (24, 24, 24)


def test_the_index_answers_what_was_built(world: World) -> None:
    world.build()
    contents = world.open()._rows.contents
    query = Query(contents.face_vectors[0], None)
    assert query.look is Look.CHARACTER
    [nearest] = world.open().nearest(query, 1)
    assert nearest.picture == contents.pictures[0]
    assert nearest.face_similarity == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(contents.face_vectors).all()


class PointingDetector(FakeDetector):
    """Says five points as well, of the first picture's face alone."""

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        found = super().detect(images)
        first = next((number for number, faces in enumerate(found) if faces), None)
        if first is not None and not self.points:
            x0, y0, x1, y1 = found[first][0].box
            self.points = ((x0, y0), (x1, y0), (x0 + 0.1, y1), (x0, y1), (x1, y1))
            found[first] = (replace(found[first][0], points=self.points), *found[first][1:])
        return found

    points: Landmarks | None = None


class PointNotingExtractor(FakeExtractor):
    """Notes by which points it was shown faces."""

    def __init__(self, revision: int) -> None:
        super().__init__(revision)
        self.points: list[Landmarks | None] = []

    def prepare_face(
        self,
        pixels: Pixels,
        box: tuple[float, float, float, float] | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        self.points.append(points)
        return super().prepare_face(pixels, box, points)


def test_landmarks_are_kept_for_an_extractor_that_comes_later(tmp_path: Path) -> None:
    drawn_gallery(tmp_path / "gallery")
    detector = PointingDetector()
    for revision in (1, 2):
        extractor = PointNotingExtractor(revision)
        build_index(tmp_path / "gallery", tmp_path / "data", detector, extractor)
        assert len(extractor.points) == 15
        assert [points for points in extractor.points if points] == [detector.points]
    assert detector.seen == 15


def test_nobody_waits_for_pictures_that_a_build_decodes(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright = picture_module._upright
    asked = save(drawn_scene([("blue", 32, 24, 8)], (64, 48)), tmp_path / "asked.png")
    decoding, done = threading.Event(), threading.Event()

    def slow_where_it_is_large(image: Image.Image) -> Image.Image:
        if image.width > 64:
            decoding.set()
            assert done.wait(60)
        return upright(image)

    monkeypatch.setattr(picture_module, "_upright", slow_where_it_is_large)
    monkeypatch.setattr(picture_module, "DECODING", PixelBudget(1))  # one picture at a time
    with ThreadPoolExecutor() as threads:
        build = threads.submit(world.build)
        try:
            assert decoding.wait(60)
            assert threads.submit(decode, asked.read_bytes()).result(30).width == 64
        finally:
            done.set()
        assert build.result().pictures == 15
