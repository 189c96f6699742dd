"""LabelImg's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from core.picture import DEFAULT_LIMITS, OWN_LIMITS, SUFFIXES
from core.voc import (
    PICTURE_SUFFIXES,
    Annotation,
    AnnotationError,
    files_in,
    pixels_of,
    read_annotation,
    read_folder,
    within,
)
from tests.core.boxed import write


def test_boxes_and_names_in_order(tmp_path: Path) -> None:
    path = write(tmp_path, "00012", ("velma", 1, 2, 30, 40), ("fred", 5, 6, 7, 8))

    annotation = read_annotation(path)

    assert annotation.boxes.tolist() == [[1, 2, 30, 40], [5, 6, 7, 8]]
    assert annotation.names == ("velma", "fred")
    assert annotation.picture == tmp_path / "00012.jpg"
    assert annotation.number == 12


def test_a_picture_without_faces_has_no_boxes(tmp_path: Path) -> None:
    assert read_annotation(write(tmp_path, "1")).boxes.shape == (0, 4)


def test_a_box_without_a_name_is_called_a_face(tmp_path: Path) -> None:
    path = write(tmp_path, "1", ("velma", 1, 2, 30, 40), ("", 5, 6, 7, 8), ("?", 9, 9, 20, 20))
    path.write_text(path.read_text().replace("<name>?</name>", ""))
    assert read_annotation(path).names == ("velma", "face", "face")


def test_a_name_is_the_same_on_a_line_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path, "1", ("\n  Asuka \n", 1, 2, 30, 40), (" ", 5, 6, 7, 8))
    assert read_annotation(path).names == ("Asuka", "face")


def test_a_box_that_is_difficult_counts_as_any_other(tmp_path: Path) -> None:
    path = write(tmp_path, "1", ("velma", 1, 2, 30, 40))
    marked = path.read_text().replace("<bndbox>", "<difficult>1</difficult><bndbox>")
    path.write_text(marked)
    assert read_annotation(path).boxes.tolist() == [[1, 2, 30, 40]]


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


def test_boxes_in_shares_of_the_picture_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "7", ("face", 11, 12, 13, 14), ("face", 11, 12, 13, 14))
    for pixels, share in ((11, 0.1), (12, 0), (13, 0.4), (14, 1.0)):
        path.write_text(path.read_text().replace(f">{pixels}<", f">{share}<"))
    with pytest.raises(AnnotationError, match=r"7\.xml has no corner beyond 1.*write them in pix"):
        read_annotation(path)
    path.write_text(path.read_text().replace(">0.4<", ">1.5<", 1))
    assert len(read_annotation(path).boxes) == 2


def test_boxes_end_where_their_picture_ends(tmp_path: Path) -> None:
    inside, across = ("in", 1, 2, 60, 40), ("across", -5, 20, 90000, 90000)
    outside = [("right", 60, 1, 70, 9), ("above", 1, -9, 5, 0), ("far", 5000, 5000, 5100, 5100)]
    annotation = read_annotation(write(tmp_path, "7", outside[0], inside, across, *outside[1:]))

    seen = within(annotation, pixels_of(annotation))

    assert seen.boxes.tolist() == [[1, 2, 60, 40], [0, 20, 60, 40]]
    assert seen.boxes.dtype == np.float32
    assert seen.names == ("in", "across")
    assert seen.picture == annotation.picture


def sized(path: Path, width: object, height: object) -> Annotation:
    """What `path` holds once it says of which size its picture was."""
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    path.write_text(path.read_text().replace("<object>", f"{size}<object>", 1))
    return read_annotation(path)


@pytest.mark.parametrize(
    ("width", "height"), [(60, 40), (0, 0), (0, 400), ("", ""), ("\n ", " "), ("60.0", "40.0")]
)
def test_boxes_fit_a_picture_of_their_size_or_of_none(
    tmp_path: Path, width: object, height: object
) -> None:
    annotation = sized(write(tmp_path, "7", ("face", 1, 1, 3, 3)), width, height)
    assert pixels_of(annotation).shape == (40, 60, 3)


@pytest.mark.parametrize(("width", "height"), [(600, 400), (60, 41), (40, 60), ("inf", 40)])
def test_boxes_of_a_picture_that_was_changed_since_are_refused(
    tmp_path: Path, width: object, height: object
) -> None:
    """The box fits into both sizes, and would lie on something else."""
    annotation = sized(write(tmp_path, "7", ("face", 1, 1, 3, 3)), width, height)
    told = rf"7\.jpg is 60 x 40 pixels and was boxed at {width} x {height}; put that picture back"
    with pytest.raises(AnnotationError, match=told):
        pixels_of(annotation)


def test_a_picture_without_boxes_may_have_been_changed(tmp_path: Path) -> None:
    path = write(tmp_path, "7")
    path.write_text("<annotation><size><width>600</width><height>400</height></size></annotation>")
    assert pixels_of(read_annotation(path)).shape == (40, 60, 3)


def test_a_size_that_is_no_number_is_no_annotation(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"7\.xml is no Pascal VOC annotation"):
        sized(write(tmp_path, "7", ("face", 1, 1, 3, 3)), "wide", 40)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_turned_was_boxed_turned(tmp_path: Path, orientation: int) -> None:
    """As a viewer shows it that turns pictures by their EXIF: so it is seen here, too."""
    path = write(tmp_path, "7", ("face", 1, 1, 3, 3))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    with Image.open(tmp_path / "7.jpg") as picture:
        picture.save(tmp_path / "7.jpg", exif=exif)
    upright, other = ((40, 60), (60, 40)) if orientation > 4 else ((60, 40), (40, 60))
    text = path.read_text()
    assert pixels_of(sized(path, *upright)).shape == (*upright[::-1], 3)
    path.write_text(text)
    with pytest.raises(AnnotationError, match="was boxed at"):
        pixels_of(sized(path, *other))


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


def test_an_annotation_may_have_its_suffix_in_capitals(tmp_path: Path) -> None:
    for name, suffix in (("1", ".XML"), ("2", ".Xml"), ("3", ".xml")):
        write(tmp_path, name).rename(tmp_path / f"{name}{suffix}")
    assert [path.name for path in files_in(tmp_path)] == ["1.XML", "2.Xml", "3.xml"]
    assert [each.picture.name for each in read_folder(tmp_path)] == ["1.jpg", "2.jpg", "3.jpg"]


def test_what_is_hidden_is_no_annotation(tmp_path: Path) -> None:
    """Such as the files that macOS leaves beside each of its own on other disks."""
    folder = tmp_path / ".mine"
    (folder / ".Trash").mkdir(parents=True)
    kept = write(folder, "00001")
    write(folder / ".Trash", "00002")
    (folder / "._00001.xml").write_bytes(b"\0\5\x16\7 no XML")

    assert files_in(folder) == [kept]
    assert [a.picture.name for a in read_folder(folder)] == ["00001.jpg"]


@pytest.mark.parametrize("text", ["", "<annotation><object>", "no XML", "<annotation/>"])
def test_xml_of_something_else_is_no_annotation_and_a_damaged_file_may_be_one(
    tmp_path: Path, text: str
) -> None:
    (tmp_path / "ComicInfo.xml").write_text("<?xml version='1.0'?>\n<ComicInfo></ComicInfo>")
    with pytest.raises(AnnotationError, match="There is no Pascal VOC annotation"):
        read_folder(tmp_path)
    (tmp_path / "7.xml").write_text(text)
    assert files_in(tmp_path) == [tmp_path / "7.xml"]


def test_an_annotation_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "7.xml").mkdir()
    with pytest.raises(AnnotationError, match=r"7\.xml cannot be read \(Is a directory\)"):
        read_folder(tmp_path)


def test_a_folder_without_annotations_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no Pascal VOC annotation"):
        read_folder(tmp_path)


def test_pictures_without_a_number_stay_in_their_part() -> None:
    def named(name: str) -> Annotation:
        return Annotation(Path(f"{name}.jpg"), np.zeros((0, 4), np.float32), ())

    assert named("holiday").number == named("holiday").number
    assert named("holiday").number != named("birthday").number


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


@pytest.mark.parametrize("suffix", [".JPG", ".PNG", ".Jpeg"])
def test_a_picture_may_have_its_suffix_in_capitals(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path, "7", ("face", 1, 1, 3, 3))
    picture = (tmp_path / "7.jpg").rename(tmp_path / f"7{suffix}")
    assert read_annotation(path).picture == picture
