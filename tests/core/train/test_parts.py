"""Which boxed pictures are learned from, and which are kept for other things."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.train import parts as module
from core.train.parts import contents_of, digest_of_annotations, read_parts, refuse_learned, split
from core.voc import Annotation, AnnotationError, read_folder
from tests.core.boxed import write
from tests.core.train.test_dataset import drawing


def test_the_three_parts_share_no_picture() -> None:
    everything = [
        Annotation(Path(f"{i:05d}.jpg"), np.zeros((0, 4), np.float32), ()) for i in range(1, 501)
    ]

    parts = split(everything)

    assert {a.number for a in parts.validation} == set(range(10, 501, 10))
    assert {a.number for a in parts.tuning} == set(range(5, 501, 20))
    together = [a.number for part in (parts.training, parts.tuning, parts.validation) for a in part]
    assert sorted(together) == list(range(1, 501))


def test_only_the_first_folder_is_split(tmp_path: Path) -> None:
    for folder in ("first", "other"):
        (tmp_path / folder).mkdir()
        for name in ("00010", "00011", "00025"):
            write(tmp_path / folder, name, ("face", 1, 2, 30, 40))
    further = ("face", 5, 6, 20, 30)
    write(tmp_path / "first", "00010", ("face", 1, 2, 30, 40), further, further)
    boxed = read_parts([tmp_path / "first", tmp_path / "other"])
    assert [len(part) for part in (boxed.tuning, boxed.validation)] == [1, 1]
    assert (boxed.tuning_boxes, boxed.validation_boxes) == (1, 3)
    assert [each.picture.relative_to(tmp_path).as_posix() for each in boxed.learning] == [
        "first/00011.jpg",
        "other/00010.jpg",
        "other/00011.jpg",
        "other/00025.jpg",
    ]
    assert len(read_parts(tmp_path / "first").learning) == 1


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
    drawn = {"first": ("00001", "00002", "00010", "00025"), "other": ("00001", "00002", "00003")}
    for folder, names in drawn.items():
        (tmp_path / folder).mkdir()
        for name in names:
            write(tmp_path / folder, name, ("face", 1, 2, 30, 40))
            picture = drawing(int(name) + 100 * len(folder))
            cv2.imwrite(str(tmp_path / folder / f"{name}.jpg"), picture)
    for kept, again in (("00010", "first/00002"), ("00025", "other/00001")):
        picture = cv2.imread(str(tmp_path / "first" / f"{kept}.jpg"))
        cv2.imwrite(str(tmp_path / f"{again}.jpg"), cv2.resize(picture, (130, 180)))

    boxed = read_parts([tmp_path / "first", tmp_path / "other"])

    def names_of(annotations: Sequence[Annotation]) -> list[str]:
        return [each.picture.relative_to(tmp_path).as_posix() for each in annotations]

    assert names_of(boxed.learning) == ["first/00001.jpg", "other/00002.jpg", "other/00003.jpg"]
    assert boxed.contents == contents_of(boxed.learning)
    assert names_of(boxed.copies) == ["first/00002.jpg", "other/00001.jpg"]
    assert names_of([*boxed.validation, *boxed.tuning]) == ["first/00010.jpg", "first/00025.jpg"]


def test_no_picture_is_decoded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("00001", "00010", "00025")
    for name in names:
        write(tmp_path, name, ("face", 1, 2, 30, 40))
    decoded: list[str] = []
    real = module.pixels_of

    def note(annotation: Annotation) -> np.ndarray:
        decoded.append(annotation.picture.stem)
        return real(annotation)

    monkeypatch.setattr(module, "pixels_of", note)
    boxed = read_parts(tmp_path)
    assert sorted(decoded) == sorted(names)
    assert boxed.kept.contents == contents_of([*boxed.tuning, *boxed.validation])
    assert len(boxed.kept.prints.hashes) == 2


def test_weights_that_learned_what_is_kept_are_refused(tmp_path: Path) -> None:
    for name in ("00001", "00010", "00025"):
        write(tmp_path, name, ("face", 1, 2, 30, 40))
    boxed, start = read_parts(tmp_path), tmp_path / "start.safetensors"
    refuse_learned(start, (), boxed)
    refuse_learned(start, boxed.contents, boxed)
    with pytest.raises(AnnotationError) as refused:
        refuse_learned(start, boxed.contents | contents_of(boxed.tuning), boxed)
    for said in (f"in {start} were trained on 1 of", "00025.jpg first", "give first the folder"):
        assert said in str(refused.value)


def test_every_picture_can_be_read_before_anything_is_learned(tmp_path: Path) -> None:
    for name in ("00001", "00010", "00025"):
        write(tmp_path, name, ("face", 1, 2, 30, 40))
    for name in ("00001", "00010", "00025"):
        whole = (tmp_path / f"{name}.jpg").read_bytes()
        (tmp_path / f"{name}.jpg").write_bytes(whole[:150])
        with pytest.raises(AnnotationError, match=rf"{name}\.jpg: damaged"):
            read_parts(tmp_path)
        (tmp_path / f"{name}.jpg").write_bytes(whole)


def test_boxes_that_all_lie_beyond_what_is_reported_on_are_refused_before_anything_is_learned(
    tmp_path: Path,
) -> None:
    """The pictures are 60 x 40 pixels; one box that is seen is enough to measure by."""
    beyond = ("face", 70, 2, 90, 40)
    for name in ("00001", "00010", "00020", "00025"):
        write(tmp_path, name, beyond)
    with pytest.raises(AnnotationError, match=r"All boxes lie beyond .*00010\.jpg among them"):
        read_parts(tmp_path)
    write(tmp_path, "00020", beyond, ("face", 50, 2, 70, 40))
    assert len(read_parts(tmp_path).validation) == 2
    for name in ("00010", "00020"):
        write(tmp_path, name)
    assert len(read_parts(tmp_path).validation) == 2


def test_the_hash_of_pictures_is_that_of_names_contents_and_boxes(tmp_path: Path) -> None:
    write(tmp_path, "1", ("face", 1, 2, 30, 40))
    write(tmp_path, "2", ("face", 1, 2, 30, 40))
    before = digest_of_annotations(read_folder(tmp_path))
    assert digest_of_annotations(read_folder(tmp_path)) == before
    write(tmp_path, "2", ("face", 1, 2, 30, 41))
    moved = digest_of_annotations(read_folder(tmp_path))
    cv2.imwrite(str(tmp_path / "2.jpg"), np.full((40, 60, 3), 255, np.uint8))
    assert len({before, moved, digest_of_annotations(read_folder(tmp_path))}) == 3


def test_names_that_are_no_utf_8_have_a_number_and_a_hash_too(tmp_path: Path) -> None:
    strange = Annotation(tmp_path / "caf\udce9.jpg", np.zeros((0, 4), np.float32), ())
    strange.picture.write_bytes(b"anything")
    assert strange.number == zlib.crc32(b"caf\xe9")
    of_content = hashlib.sha256(b"anything").hexdigest().encode()
    expected = hashlib.sha256(b"caf\xe9.jpg " + of_content + b" ").hexdigest()
    assert digest_of_annotations([strange]) == expected

    known = Annotation(tmp_path / "café.jpg", np.zeros((0, 4), np.float32), ())
    assert known.number == zlib.crc32("café".encode())


def test_copies_are_known_by_what_is_in_them(tmp_path: Path) -> None:
    write(tmp_path, "1")
    first = hashlib.sha256((tmp_path / "1.jpg").read_bytes()).hexdigest()
    assert contents_of(read_folder(tmp_path)) == {first}
    gone = Annotation(tmp_path / "none.jpg", np.zeros((0, 4), np.float32), ())
    with pytest.raises(AnnotationError, match=r"none\.jpg: No such file"):
        contents_of([gone])
