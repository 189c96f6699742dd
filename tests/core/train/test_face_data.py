from __future__ import annotations

import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.train.face_data import (
    TrainingDataError,
    load_labelled,
    load_unlabelled,
    split_by_label,
    squared,
    together,
)


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


def test_labels_are_numbered_anew_in_a_part(tmp_path: Path) -> None:
    for number, name in enumerate("abcd"):
        for picture in range(2):
            write(tmp_path / name / f"{picture}.png", plain_picture((number * 50, 0, 0)))
    part = load_labelled(tmp_path, 8).only(np.array([1, 3]))
    assert part.names == ("b", "d")
    assert part.labels.tolist() == [0, 0, 1, 1]
    assert part.pixels[:, 4, 4, 0].tolist() == [50, 50, 150, 150]


def test_sets_keep_labels_of_their_own_together(tmp_path: Path) -> None:
    for place, names in (("first", "ab"), ("second", "bc")):
        for number, name in enumerate(names):
            for picture in range(2):
                colour = (50 * number, 100 * (place == "second"), 0)
                write(tmp_path / place / name / f"{picture}.png", plain_picture(colour))
    found = together([load_labelled(tmp_path / place, 8) for place in ("first", "second")])
    assert found.names == ("a", "b", "b", "c")
    assert found.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.pixels[::2, 4, 4, :2].tolist() == [[0, 0], [50, 0], [0, 100], [50, 100]]


def test_a_split_shares_no_label() -> None:
    """Near copies of one character's pictures on both sides would reward remembering."""
    for seed in range(5):
        kept, held = split_by_label(40, 10, seed)
        assert len(held) == 10
        assert sorted([*kept.tolist(), *held.tolist()]) == list(range(40))
    assert (split_by_label(40, 10, 1)[1] != split_by_label(40, 10, 2)[1]).any()
    with pytest.raises(ValueError, match="held out"):
        split_by_label(10, 9, 0)


def test_too_little_to_train_on_is_said(tmp_path: Path) -> None:
    write(tmp_path / "only" / "0.png", plain_picture((1, 2, 3)))
    write(tmp_path / "only" / "1.png", plain_picture((1, 2, 3)))
    with pytest.raises(TrainingDataError, match="at least two folders"):
        load_labelled(tmp_path, 16)
    (tmp_path / "empty").mkdir()
    with pytest.raises(TrainingDataError, match="no readable picture"):
        load_unlabelled(tmp_path / "empty", 16)


def test_unlabelled_pictures_come_from_folders_and_zip_files(tmp_path: Path) -> None:
    write(tmp_path / "one" / "0.png", plain_picture((10, 20, 30)))
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(tmp_path / "one" / "0.png", "inside/0.png")
        archive.writestr("inside/readme.txt", "no picture")
    found = load_unlabelled(tmp_path, 12)
    assert found.shape == (2, 12, 12, 3)
    assert (found == (10, 20, 30)).all()


def test_a_square_repeats_edges_or_squeezes() -> None:
    picture = plain_picture((0, 0, 0), height=10, width=40)
    picture[:, 20:] = 200
    padded, squeezed = squared(picture, 40), squared(picture, 40, "squeeze")
    assert padded.shape == squeezed.shape == (40, 40, 3)
    assert (padded[0] == padded[20]).all()
    assert padded[20, 10].tolist() == [0, 0, 0]
    assert squeezed[20, 30].tolist() == [200, 200, 200]
