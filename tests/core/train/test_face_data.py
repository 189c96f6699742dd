from __future__ import annotations

import errno
import io
import os
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.folder import scan
from core.framing import crop, resized, whole_square
from core.picture import SUFFIXES, decode
from core.train.face_data import (
    TrainingDataError,
    bytes_of,
    decoded,
    load_labelled,
    load_unlabelled,
    split_by_label,
    squared,
    together,
)
from core.train.spread import all_over
from tests.core.cuts import widest_cut


def write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels[:, :, ::-1])


def plain_picture(colour: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_labels_follow_the_folders(tmp_path: Path) -> None:
    for name, colour in {"rin": (200, 0, 0), "aoi": (0, 200, 0), "yui": (0, 0, 200)}.items():
        for number in range(3):
            write(tmp_path / name / f"{number}.png", plain_picture(colour))
    (tmp_path / "rin" / "notes.txt").write_text("not a picture")
    (tmp_path / "rin" / "broken.jpg").write_bytes(b"\xff\xd8 not a picture either")
    write(tmp_path / "alone" / "0.png", plain_picture((9, 9, 9)))
    found = load_labelled(tmp_path, 16)
    assert found.names == ("aoi", "rin", "yui")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.pixels.shape == (9, 16, 16, 3)
    assert found.pixels[4, 8, 8].tolist() == [200, 0, 0]


def test_of_a_label_no_more_than_two_full_pictures_are_held_at_once(tmp_path: Path) -> None:
    large = plain_picture((9, 90, 200), 1000, 1000)
    for name in ("one", "two"):
        for number in range(8):
            write(tmp_path / name / f"{number}.png", large)
    tracemalloc.start()
    try:
        load_labelled(tmp_path, 32)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert large.nbytes < most < 4 * large.nbytes


def test_labels_can_be_left_out_and_only_such_as_there_are(tmp_path: Path) -> None:
    for name in ("aoi", "rin", "yui", "rezero"):
        for number in range(2):
            write(tmp_path / name / f"{number}.png", plain_picture((len(name), 1, 2)))
    found = load_labelled(tmp_path, 16, without=["rin", "rezero"])
    assert found.names == ("aoi", "yui")
    assert found.labels.tolist() == [0, 0, 1, 1]
    with pytest.raises(TrainingDataError, match=r"no folder re_zero with pictures in it"):
        load_labelled(tmp_path, 16, without=["rin", "re_zero"])


def test_what_counts_is_what_every_other_command_finds(tmp_path: Path) -> None:
    """Else a character would be learned whom no check for leaks has seen."""
    for name in ("a", "a-b", ".hidden"):
        for number in range(2):
            write(tmp_path / "faces" / name / f"{number}.png", plain_picture((1, 2, 3)))
    faces = tmp_path / "faces"
    write(faces / "a" / ".2.png", plain_picture((1, 2, 3)))
    write(faces / "a" / "further" / "3.png", plain_picture((1, 2, 3)))
    write(faces / "4.png", plain_picture((1, 2, 3)))
    (faces / "a" / "5.avif").write_bytes(b"of a kind that is not read")
    (tmp_path / "elsewhere").mkdir()
    for number in range(2):
        write(tmp_path / "elsewhere" / f"{number}.png", plain_picture((1, 2, 3)))
    (faces / "linked").symlink_to(tmp_path / "elsewhere")
    told: list[str] = []
    found = load_labelled(faces, 8, left_out=told.append)
    assert found.names == ("a", "a-b")
    assert found.labels.tolist() == [0, 0, 0, 1, 1]
    assert told == [str(faces / "a" / "5.avif"), str(faces / "linked")]
    counted = Counter(file.character for file in scan(faces).pictures)
    assert counted == {"a": 3, "a-b": 2, None: 1}


def test_every_kind_that_is_read_elsewhere_is_learned_from(tmp_path: Path) -> None:
    formats = {".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG"}
    for number, suffix in enumerate(sorted(SUFFIXES)):
        data = encoded(
            Image.new("RGB", (20, 20), (40 * number, 0, 0)),
            formats.get(suffix, suffix[1:].upper()),
        )
        for name in ("a", "b"):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / f"{number}{suffix}").write_bytes(data)
    red = np.array([40 * number for number in range(len(SUFFIXES))] * 2)
    for found in (load_labelled(tmp_path, 8).pixels, load_unlabelled(tmp_path, 8)):
        assert np.abs(found[:, 4, 4, 0].astype(int) - red).max() <= 3


def test_labels_are_numbered_anew_in_a_part(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        for picture in range(2):
            write(tmp_path / name / f"{picture}.png", plain_picture((number * 50, 0, 0)))
    part = load_labelled(tmp_path, 8).only(np.array([1, 3]))
    assert part.names == ("b", "d")
    assert part.labels.tolist() == [0, 0, 1, 1]
    assert part.pixels[:, 4, 4, 0].tolist() == [50, 50, 150, 150]


def test_one_name_is_one_label_in_several_sets_together(tmp_path: Path) -> None:
    """Else a character would meet itself in a batch as somebody else."""
    for place, names in (("first", "bd"), ("second", "abc")):
        for number, name in enumerate(names):
            for picture in range(2):
                colour = (50 * number, 100 * (place == "second"), 0)
                write(tmp_path / place / name / f"{picture}.png", plain_picture(colour))
    found = together([load_labelled(tmp_path / place, 8) for place in ("first", "second")])
    # The first set's labels keep their numbers, on which its checkpoints rely.
    assert found.names == ("b", "d", "a", "c")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 3, 3]
    seen = found.pixels[::2, 4, 4, :2].tolist()
    assert seen == [[0, 0], [50, 0], [0, 100], [50, 100], [100, 100]]


def test_sets_without_a_common_name_keep_their_order_together(tmp_path: Path) -> None:
    for place, names in (("first", "cd"), ("second", "ab")):
        for name in names:
            for picture in range(2):
                write(tmp_path / place / name / f"{picture}.png", plain_picture((1, 2, 3)))
    found = together([load_labelled(tmp_path / place, 8) for place in ("first", "second")])
    assert found.names == ("c", "d", "a", "b")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def half_transparent() -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 4)).astype(np.uint8)
    pixels[:, :10, 3], pixels[:, 10:20, 3] = 0, 255
    return Image.fromarray(pixels, "RGBA")


@pytest.mark.parametrize(
    "data",
    [
        encoded(half_transparent(), "PNG"),
        encoded(half_transparent(), "WEBP", lossless=True),
        encoded(half_transparent().convert("LA"), "PNG"),
        encoded(half_transparent().convert("RGB").quantize(16), "PNG", transparency=3),
    ],
    ids=["png", "webp", "grey", "palette"],
)
def test_what_is_transparent_is_learned_on_white_as_it_is_compared(data: bytes) -> None:
    pixels = decoded(data)
    assert pixels is not None
    assert (pixels == decode(data).pixels).all()
    assert (pixels == 255).all(2).any()


def test_formats_without_transparency_are_decoded_alike() -> None:
    smooth = cv2.resize(np.array(half_transparent().convert("RGB")), (90, 70))
    for kind in ("JPEG", "PNG", "WEBP", "BMP"):
        data = encoded(Image.fromarray(smooth), kind)
        found = decoded(data)
        assert found is not None
        assert (found == cv2.imdecode(np.frombuffer(data, np.uint8), 1)[:, :, ::-1]).all()


def of_declared_size(side: int) -> bytes:
    """A JPEG that says it is as large as that."""
    data = encoded(half_transparent().convert("RGB"), "JPEG")
    start = data.index(b"\xff\xc0") + 5
    return data[:start] + 2 * side.to_bytes(2, "big") + data[start + 4 :]


UNREADABLE = {
    "empty.jpg": b"",
    "cut.jpg": b"\xff\xd8",
    "huge.jpg": of_declared_size(65_000),
    "broken.png": b"\x89PNG\r\n\x1a\n and no more",
    "text.webp": b"no picture",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_no_picture(name: str) -> None:
    assert decoded(UNREADABLE[name]) is None


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    for name in "ab":
        for picture in range(2):
            write(tmp_path / name / f"{picture}.png", plain_picture((1, 2, 3)))
    for name, data in UNREADABLE.items():
        (tmp_path / "a" / name).write_bytes(data)
    (tmp_path / "a" / "folder.jpg").mkdir()
    broken = sorted(str(tmp_path / "a" / name) for name in UNREADABLE)
    told: list[str] = []
    assert len(load_labelled(tmp_path, 8, left_out=told.append).labels) == 4
    assert told == broken

    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("folder.png/", "")
        archive.writestr("folder.png/empty.png", b"")
        archive.writestr("readme.txt", "no picture")
    told.clear()
    assert len(load_unlabelled(tmp_path, 8, left_out=told.append)) == 4
    assert told == [*broken, f"{tmp_path / 'more.zip'}/folder.png/empty.png"]


def test_a_file_that_may_not_be_read_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "ab":
        for picture in range(3):
            write(tmp_path / name / f"{picture}.png", plain_picture((1, 2, 3)))
    locked = tmp_path / "a" / "1.png"
    original = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == locked.name and path.parent.name == locked.parent.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    told: list[str] = []
    assert len(load_labelled(tmp_path, 8, left_out=told.append).labels) == 5
    assert len(load_unlabelled(tmp_path, 8, left_out=told.append)) == 5
    assert told == [str(locked)] * 2


def test_what_is_no_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "broken.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "file.jpg").write_bytes(b"something")
    found = {path.name: bytes_of(path) for path in tmp_path.iterdir()}
    assert found == {"x.jpg": b"", "broken.jpg": b"", "pipe.jpg": b"", "file.jpg": b"something"}


def test_a_zip_file_that_cannot_be_unpacked_is_named(tmp_path: Path) -> None:
    write(tmp_path / "0.png", plain_picture((10, 20, 30)))
    path = tmp_path / "more.zip"
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA):
        with zipfile.ZipFile(path, "w", compression) as archive:
            archive.write(tmp_path / "0.png", "0.png")
        good = path.read_bytes()
        local, central = good.index(b"PK\x03\x04"), good.index(b"PK\x01\x02")
        locked, strange, first, later, cut = (bytearray(good) for _ in range(5))
        locked[local + 6] |= 1
        locked[central + 8] |= 1  # says that a password is needed
        strange[local + 8] = strange[central + 10] = 99
        data = local + 30 + len("0.png")
        first[data] = first[data + 4] = 255
        later[data + 12] ^= 255
        del cut[central + 10 :]
        for damaged in (locked, strange, first, later, cut, b"no archive", b""):
            path.write_bytes(damaged)
            with pytest.raises(TrainingDataError, match=r"more\.zip cannot be unpacked"):
                load_unlabelled(tmp_path, 8)


def test_a_split_shares_no_label() -> None:
    """Near copies of one character's pictures on both sides would reward remembering."""
    for seed in range(5):
        kept, held = split_by_label(40, 10, seed)
        assert len(held) == 10
        assert sorted([*kept.tolist(), *held.tolist()]) == list(range(40))
    assert (split_by_label(40, 10, 1)[1] != split_by_label(40, 10, 2)[1]).any()
    with pytest.raises(TrainingDataError, match="Of 10 labels, 9 cannot be held out"):
        split_by_label(10, 9, 0)


def test_too_little_to_train_on_is_said(tmp_path: Path) -> None:
    write(tmp_path / "only" / "0.png", plain_picture((1, 2, 3)))
    write(tmp_path / "only" / "1.png", plain_picture((1, 2, 3)))
    with pytest.raises(TrainingDataError, match="at least two folders"):
        load_labelled(tmp_path, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match="no readable picture"):
        load_unlabelled(tmp_path / "empty", 16)


def test_hidden_pictures_are_passed_over_in_zip_files_too(tmp_path: Path) -> None:
    """Such as thumbnails, and the files that macOS leaves beside each of its own."""
    folder = tmp_path / ".mine"
    kept = folder / "one" / "0.png"
    write(kept, plain_picture((10, 20, 30)))
    (folder / "one" / "._0.png").write_bytes(b"no picture")
    write(folder / ".thumbnails" / "0.png", plain_picture((10, 20, 30)))
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        for name in ("inside/0.png", "__MACOSX/inside/._0.png", ".hidden/0.png"):
            archive.write(kept, name)
    (folder / ".more.zip").write_bytes(b"no zip file")
    told: list[str] = []
    assert len(load_unlabelled(folder, 8, left_out=told.append)) == 2
    assert told == []


def test_unlabelled_pictures_come_from_folders_and_zip_files(tmp_path: Path) -> None:
    write(tmp_path / "one" / "0.png", plain_picture((10, 20, 30)))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "one" / "0.png", "inside/0.png")
        archive.writestr("inside/readme.txt", "no picture")
    found = load_unlabelled(tmp_path, 12)
    assert found.shape == (2, 12, 12, 3)
    assert (found == (10, 20, 30)).all()


def test_of_many_files_some_from_all_over_are_read_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        write(tmp_path / "a" / f"{number}.png", plain_picture((number, 0, 0)))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        for number in reversed(range(6)):
            archive.write(tmp_path / "a" / f"{number}.png", f"{number}.png")
        archive.writestr("readme.txt", "no picture")
    write(tmp_path / "c.png", plain_picture((20, 0, 0)))
    read: list[str] = []

    def note(kind: type, method: str) -> None:
        original = getattr(kind, method)

        def noting(self: object, *given: str) -> bytes:
            read.append("/".join([Path(str(getattr(self, "filename", self))).name, *given]))
            return original(self, *given)

        monkeypatch.setattr(kind, method, noting)

    note(Path, "read_bytes")
    note(zipfile.ZipFile, "read")
    everything = load_unlabelled(tmp_path, 8)[:, 4, 4, 0].tolist()
    assert everything == [*range(9), *range(6), 20]
    for most in (1, 2, 5, 7, 16, 30):
        read.clear()
        found = load_unlabelled(tmp_path, 8, most=most)[:, 4, 4, 0].tolist()
        assert found == all_over(everything, most)
        assert len(read) == len(found)
    assert read[-3:] == ["b.zip/4.png", "b.zip/5.png", "c.png"]


def test_a_square_repeats_edges_or_squeezes() -> None:
    picture = plain_picture((0, 0, 0), height=10, width=40)
    picture[:, 20:] = 200
    padded, squeezed = squared(picture, 40), squared(picture, 40, "squeeze")
    assert padded.shape == squeezed.shape == (40, 40, 3)
    assert (padded[0] == padded[20]).all()
    assert padded[20, 10].tolist() == [0, 0, 0]
    assert squeezed[20, 30].tolist() == [200, 200, 200]


@pytest.mark.parametrize("wide", [True, False])
def test_a_strip_is_shrunk_before_a_square_is_made_of_it(
    monkeypatch: pytest.MonkeyPatch, wide: bool
) -> None:
    sides = widest_cut(monkeypatch)
    strip = np.zeros((20, 60_000, 3), np.uint8)
    strip[:, 30_000:] = 200
    found = squared(strip if wide else strip.transpose(1, 0, 2), 64)
    found = found if wide else found.transpose(1, 0, 2)
    assert len(sides) == 1
    assert (found[:, :31] == 0).all()
    assert (found[:, 33:] == 200).all()


@pytest.mark.parametrize(("height", "width"), [(300, 4000), (4000, 300), (700, 700), (9600, 8000)])
def test_other_pictures_are_cut_as_they_are(height: int, width: int) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    expected = resized(crop(picture, whole_square(picture)), 32)
    assert (squared(picture, 32) == expected).all()
