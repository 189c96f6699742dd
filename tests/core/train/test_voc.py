"""LabelImg's files."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.picture import DEFAULT_LIMITS, OWN_LIMITS, SUFFIXES
from core.train.voc import (
    PICTURE_SUFFIXES,
    Annotation,
    AnnotationError,
    contents_of,
    digest_of,
    files_in,
    pixels_of,
    read_annotation,
    read_folder,
    read_parts,
    split,
    within,
)
from tests.core.train.test_dataset import drawing


def write(folder: Path, name: str, *boxes: tuple[str, int, int, int, int]) -> Path:
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for label, x0, y0, x1, y1 in boxes
    )
    path = folder / f"{name}.xml"
    path.write_text(f"<annotation><filename>elsewhere.jpg</filename>{objects}</annotation>")
    pixels = np.full((40, 60, 3), zlib.crc32(f"{folder.name} {name}".encode()) % 256, np.uint8)
    cv2.imwrite(str(folder / f"{name}.jpg"), pixels)
    return path


def test_boxes_and_names_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "00012", ("velma", 1, 2, 30, 40), ("fred", 5, 6, 7, 8))

    annotation = read_annotation(path)

    assert annotation.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert annotation.names == ("velma", "fred")
    assert annotation.picture == tmp_path / "00012.jpg"
    assert annotation.number == 12


def test_a_picture_without_faces_has_no_boxes(tmp_path: Path) -> None:
    assert read_annotation(write(tmp_path, "1")).boxes.shape == (0, 4)


def test_boxes_without_area_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, "1", ("face", 5, 5, 5, 9), ("face", 1, 1, 3, 3))
    assert read_annotation(path).boxes.tolist() == [[1, 1, 3, 3]]


def test_a_picture_that_is_missing_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "7", ("face", 1, 1, 3, 3))
    (tmp_path / "7.jpg").unlink()
    with pytest.raises(AnnotationError, match=r"7\.xml has no picture beside it"):
        read_annotation(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no xml",
        "<annotation><object><bndbox><xmin>a</xmin></bndbox></object></annotation>",
        '<?xml version="1.0" encoding="foobar"?><annotation></annotation>',
    ],
)
def test_what_is_no_annotation_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, "7")
    path.write_text(text)
    with pytest.raises(AnnotationError, match=r"7\.xml is no Pascal VOC annotation"):
        read_annotation(path)


@pytest.mark.parametrize("corner", ["inf", "nan", "-inf", "1e300"])
def test_a_corner_that_is_nowhere_is_named(tmp_path: Path, corner: str) -> None:
    path = write(tmp_path, "7", ("face", 1, 1, 3, 77))
    path.write_text(path.read_text().replace("77", corner))
    with pytest.raises(AnnotationError, match=r"7\.xml has a box with a corner that is no finite"):
        read_annotation(path)


def test_boxes_end_where_their_picture_ends(tmp_path: Path) -> None:
    inside, across = ("in", 1, 2, 60, 40), ("across", -5, 20, 90000, 90000)
    outside = [("right", 60, 1, 70, 9), ("above", 1, -9, 5, 0), ("far", 5000, 5000, 5100, 5100)]
    annotation = read_annotation(write(tmp_path, "7", outside[0], inside, across, *outside[1:]))

    seen = within(annotation, pixels_of(annotation))

    assert seen.boxes.tolist() == [[1, 2, 60, 40], [0, 20, 60, 40]]
    assert seen.boxes.dtype == np.float32
    assert seen.names == ("in", "across")
    assert seen.picture == annotation.picture


def test_an_entity_bomb_does_not_blow_up(tmp_path: Path) -> None:
    path = write(tmp_path, "7")
    entities = '<!ENTITY a0 "faces">' + "".join(
        f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12)
    )
    path.write_text(
        f"<!DOCTYPE annotation [{entities}]><annotation><object><name>&a11;</name>"
        "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>3</xmax><ymax>3</ymax></bndbox>"
        "</object></annotation>"
    )
    with pytest.raises(AnnotationError, match="is no Pascal VOC annotation"):
        read_annotation(path)


def test_folders_are_read_below_and_in_order(tmp_path: Path) -> None:
    for show in ("b", "a"):
        (tmp_path / show).mkdir()
        write(tmp_path / show, "2")
        write(tmp_path / show, "1")

    found = [a.picture.relative_to(tmp_path).as_posix() for a in read_folder(tmp_path)]

    assert found == ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg"]


def test_what_is_hidden_is_no_annotation(tmp_path: Path) -> None:
    """Such as the files that macOS leaves beside each of its own on other disks."""
    folder = tmp_path / ".mine"
    (folder / ".Trash").mkdir(parents=True)
    kept = write(folder, "00001")
    write(folder / ".Trash", "00002")
    (folder / "._00001.xml").write_bytes(b"\0\5\x16\7 no XML")

    assert files_in(folder) == [kept]
    assert [a.picture.name for a in read_folder(folder)] == ["00001.jpg"]


def test_an_annotation_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "7.xml").mkdir()
    with pytest.raises(AnnotationError, match=r"7\.xml cannot be read \(Is a directory\)"):
        read_folder(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no Pascal VOC annotation"):
        read_folder(tmp_path)


def test_the_three_parts_share_no_picture() -> None:
    everything = [
        Annotation(Path(f"{i:05d}.jpg"), np.zeros((0, 4), np.float32), ()) for i in range(1, 501)
    ]

    parts = split(everything)

    assert {a.number for a in parts.validation} == set(range(10, 501, 10))
    assert {a.number for a in parts.tuning} == set(range(5, 501, 20))
    together = [a.number for part in (parts.training, parts.tuning, parts.validation) for a in part]
    assert sorted(together) == list(range(1, 501))


def test_pictures_without_a_number_stay_in_their_part() -> None:
    def named(name: str) -> Annotation:
        return Annotation(Path(f"{name}.jpg"), np.zeros((0, 4), np.float32), ())

    assert named("holiday").number == named("holiday").number
    assert named("holiday").number != named("birthday").number


def test_only_the_first_folder_is_split(tmp_path: Path) -> None:
    for folder in ("first", "other"):
        (tmp_path / folder).mkdir()
        for name in ("00010", "00011", "00025"):
            write(tmp_path / folder, name, ("face", 1, 2, 30, 40))
    parts, learning = read_parts([tmp_path / "first", tmp_path / "other"])
    assert [len(part) for part in (parts.training, parts.tuning, parts.validation)] == [1, 1, 1]
    assert [annotation.picture.relative_to(tmp_path).as_posix() for annotation in learning] == [
        "first/00011.jpg",
        "other/00010.jpg",
        "other/00011.jpg",
        "other/00025.jpg",
    ]
    assert len(read_parts(tmp_path / "first")[1]) == 1


@pytest.mark.parametrize("kept", ["00010", "00025"])
def test_what_is_reported_or_tuned_on_is_not_trained_on_in_the_first_folder_either(
    tmp_path: Path, kept: str
) -> None:
    for name in ("00010", "00011", "00025"):
        write(tmp_path, name, ("face", 1, 2, 30, 40))
    (tmp_path / "00011.jpg").write_bytes((tmp_path / f"{kept}.jpg").read_bytes())
    with pytest.raises(AnnotationError, match=r"00011\.jpg is one of the pictures in"):
        read_parts(tmp_path)


@pytest.mark.parametrize("kept", ["00010", "00025"])
def test_what_is_reported_or_tuned_on_is_not_trained_on(tmp_path: Path, kept: str) -> None:
    """Under whatever name it lies in another folder."""
    for folder in ("first", "other"):
        (tmp_path / folder).mkdir()
        for name in ("00010", "00011", "00025"):
            write(tmp_path / folder, name, ("face", 1, 2, 30, 40))
    copied = tmp_path / "other" / "00011.jpg"
    copied.write_bytes((tmp_path / "first" / f"{kept}.jpg").read_bytes())
    with pytest.raises(
        AnnotationError, match=r"other/00011\.jpg is one of the pictures in .*first"
    ):
        read_parts([tmp_path / "first", tmp_path / "other"])


def test_what_is_nearly_reported_or_tuned_on_is_left_out_of_what_is_learned(
    tmp_path: Path,
) -> None:
    """As the next frame of a film is, and a picture saved anew."""
    drawn = {"first": ("00001", "00002", "00010", "00025"), "other": ("00001", "00002")}
    for folder, names in drawn.items():
        (tmp_path / folder).mkdir()
        for name in names:
            write(tmp_path / folder, name, ("face", 1, 2, 30, 40))
            picture = drawing(int(name) + 100 * len(folder))
            cv2.imwrite(str(tmp_path / folder / f"{name}.jpg"), picture)
    for kept, again in (("00010", "first/00002"), ("00025", "other/00001")):
        picture = cv2.imread(str(tmp_path / "first" / f"{kept}.jpg"))
        cv2.imwrite(str(tmp_path / f"{again}.jpg"), cv2.resize(picture, (130, 180)))

    parts, learning = read_parts([tmp_path / "first", tmp_path / "other"])

    def names_of(annotations: Sequence[Annotation]) -> list[str]:
        return [each.picture.relative_to(tmp_path).as_posix() for each in annotations]

    assert names_of(learning) == ["first/00001.jpg", "other/00002.jpg"]
    assert names_of(parts.training) == ["first/00001.jpg"]
    assert names_of(parts.copies) == ["first/00002.jpg", "other/00001.jpg"]
    assert names_of([*parts.validation, *parts.tuning]) == ["first/00010.jpg", "first/00025.jpg"]


def test_every_picture_can_be_read_before_anything_is_learned(tmp_path: Path) -> None:
    for name in ("00001", "00010", "00025"):
        write(tmp_path, name, ("face", 1, 2, 30, 40))
    for name in ("00001", "00010", "00025"):
        whole = (tmp_path / f"{name}.jpg").read_bytes()
        (tmp_path / f"{name}.jpg").write_bytes(whole[:150])
        with pytest.raises(AnnotationError, match=rf"{name}\.jpg: damaged"):
            read_parts(tmp_path)
        (tmp_path / f"{name}.jpg").write_bytes(whole)


def test_the_hash_of_pictures_is_that_of_names_contents_and_boxes(tmp_path: Path) -> None:
    write(tmp_path, "1", ("face", 1, 2, 30, 40))
    write(tmp_path, "2", ("face", 1, 2, 30, 40))
    before = digest_of(read_folder(tmp_path))
    assert digest_of(read_folder(tmp_path)) == before
    write(tmp_path, "2", ("face", 1, 2, 30, 41))
    moved = digest_of(read_folder(tmp_path))
    cv2.imwrite(str(tmp_path / "2.jpg"), np.full((40, 60, 3), 255, np.uint8))
    assert len({before, moved, digest_of(read_folder(tmp_path))}) == 3


def test_names_that_are_no_utf_8_have_a_number_and_a_hash_too(tmp_path: Path) -> None:
    strange = Annotation(tmp_path / "caf\udce9.jpg", np.zeros((0, 4), np.float32), ())
    strange.picture.write_bytes(b"anything")
    assert strange.number == zlib.crc32(b"caf\xe9")
    of_content = hashlib.sha256(b"anything").hexdigest().encode()
    expected = hashlib.sha256(b"caf\xe9.jpg " + of_content + b" ").hexdigest()
    assert digest_of([strange]) == expected

    known = Annotation(tmp_path / "café.jpg", np.zeros((0, 4), np.float32), ())
    assert known.number == zlib.crc32("café".encode())


def test_copies_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    write(tmp_path, "1")
    first = hashlib.sha256((tmp_path / "1.jpg").read_bytes()).hexdigest()
    assert contents_of(read_folder(tmp_path)) == {first}
    gone = Annotation(tmp_path / "none.jpg", np.zeros((0, 4), np.float32), ())
    with pytest.raises(AnnotationError, match=r"none\.jpg: No such file"):
        contents_of([gone])


def test_every_kind_that_is_read_elsewhere_can_be_boxed_and_the_first_of_a_name_is() -> None:
    assert set(PICTURE_SUFFIXES) == SUFFIXES
    assert PICTURE_SUFFIXES[0] == ".jpg"


def test_pictures_of_ones_own_may_be_larger_than_those_of_strangers(tmp_path: Path) -> None:
    annotation = read_annotation(write(tmp_path, "7", ("face", 1, 1, 3, 3)))
    with annotation.picture.open("ab") as file:
        file.truncate(DEFAULT_LIMITS.file_bytes + 1)
    assert pixels_of(annotation).shape == (40, 60, 3)
    with annotation.picture.open("ab") as file:
        file.truncate(OWN_LIMITS.file_bytes + 1)
    with pytest.raises(AnnotationError, match=r"7\.jpg: too large"):
        pixels_of(annotation)


@pytest.mark.parametrize("suffix", [".JPG", ".PNG"])
def test_a_picture_may_have_its_suffix_in_capitals(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, "7", ("face", 1, 1, 3, 3))
    picture = (tmp_path / "7.jpg").rename(tmp_path / f"7{suffix}")
    assert read_annotation(path).picture == picture
