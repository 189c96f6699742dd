"""Crops of heads and their table."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from core.embed import BATCH
from core.face import Face
from core.framing import Framing
from core.problem import Problem
from core.train.crops import write_crops
from core.train.dataset import DatasetError


class RedFinder:
    """Boxes everything red, and something below its threshold."""

    name = "red-finder"
    sha256 = "0" * 64
    threshold = 0.5

    def detect(self, images):
        found = []
        for pixels in images:
            red = ((pixels[..., 0] > 200) & (pixels[..., 1] < 80)).astype(np.uint8)
            _, _, stats, _ = cv2.connectedComponentsWithStats(red)
            faces = [
                Face((float(x), float(y), float(x + w), float(y + h)), 0.9 - 0.1 * i)
                for i, (x, y, w, h, area) in enumerate(stats[1:])
                if area > 20
            ]
            found.append((*faces, Face((0.0, 0.0, 5.0, 5.0), 0.2)))
        return found


def save(path: Path, *boxes: tuple[int, int, int, int]) -> None:
    pixels = np.full((100, 300, 3), 240, np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[y0:y1, x0:x1] = (0, 0, 255)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    save(folder / "rei" / "1.png", (200, 10, 240, 40), (20, 50, 50, 90))
    save(folder / "rei" / "1.bmp", (100, 30, 140, 60))
    save(folder / "asuka.png")
    (folder / "zz.jpg").write_bytes(b"\xff\xd8\xffbroken")
    return folder


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "crops.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_crop_is_mapped_to_its_picture(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"

    written = write_crops(pictures, out, RedFinder())

    assert written.pictures == 3
    assert written.crops == 3
    assert [path for path, _ in written.unreadable] == ["zz.jpg"]
    table = rows(out)
    assert {(row["crop"], row["picture"]) for row in table} == {
        ("rei/1_0.jpg", "rei/1.bmp"),
        ("rei/1_1.jpg", "rei/1.png"),
        ("rei/1_2.jpg", "rei/1.png"),
    }
    assert {p.relative_to(out).as_posix() for p in out.rglob("*.jpg")} == {
        row["crop"] for row in table
    }
    first = next(row for row in table if row["crop"] == "rei/1_1.jpg")
    assert [float(first[k]) for k in ("x0", "y0", "x1", "y1")] == [200, 10, 240, 40]
    assert float(first["score"]) == pytest.approx(0.9)


def test_a_crop_shows_its_face_and_what_is_around(pictures: Path, tmp_path: Path) -> None:
    write_crops(pictures, tmp_path / "crops", RedFinder(), framing=Framing(0.5))

    for row in rows(tmp_path / "crops"):
        pixels = cv2.imread(str(tmp_path / "crops" / row["crop"]))
        width, height = (float(row[f"{a}1"]) - float(row[f"{a}0"]) for a in "xy")
        assert pixels.shape == (round(2 * max(width, height)),) * 2 + (3,)
        red = (pixels[..., 2] > 200) & (pixels[..., 1] < 80)
        assert red.mean() == pytest.approx(width * height / pixels.shape[0] ** 2, abs=0.03)


class TwiceFinder(RedFinder):
    """Boxes everything red once more, with its surroundings, as a detector's suppression allows."""

    def detect(self, images):
        return [
            (
                *faces,
                *(
                    Face((x0 - 20, y0 - 20, x1 + 20, y1 + 20), score - 0.05)
                    for (x0, y0, x1, y1), score in ((face.box, face.score) for face in faces)
                    if score > 0.5
                ),
            )
            for faces in super().detect(images)
        ]


def test_a_head_that_was_boxed_twice_is_cut_once(pictures: Path, tmp_path: Path) -> None:
    write_crops(pictures, tmp_path / "once", RedFinder())
    assert write_crops(pictures, tmp_path / "twice", TwiceFinder()).crops == 3
    assert content(tmp_path / "twice") == content(tmp_path / "once")


class WholeFinder(RedFinder):
    """Boxes the whole of every picture."""

    def detect(self, images):
        return [(Face((0.0, 0.0, *map(float, each.shape[1::-1])), 0.9),) for each in images]


def test_a_face_along_a_strip_is_cut_in_a_size_that_can_be_held(tmp_path: Path) -> None:
    (tmp_path / "strip").mkdir()
    cv2.imwrite(str(tmp_path / "strip" / "1.png"), np.full((20, 12_000, 3), 200, np.uint8))
    write_crops(tmp_path / "strip", tmp_path / "crops", WholeFinder(), framing=Framing(0.0))
    with Image.open(tmp_path / "crops" / "1_0.jpg") as head:
        assert head.width == head.height < 9000
    assert [float(rows(tmp_path / "crops")[0][key]) for key in ("x1", "y1")] == [12_000, 20]


def test_a_lifted_crop_shows_what_is_above_a_face(pictures: Path, tmp_path: Path) -> None:
    write_crops(pictures, tmp_path / "level", RedFinder(), framing=Framing(0.5))
    write_crops(pictures, tmp_path / "lifted", RedFinder(), framing=Framing(0.5, lift=0.25))

    def middle_of_red(crop: Path) -> float:
        pixels = cv2.imread(str(crop))
        return float(np.flatnonzero((pixels[..., 2] > 200) & (pixels[..., 1] < 80)).mean()) / (
            pixels.shape[0] * pixels.shape[1]
        )

    for row in rows(tmp_path / "level"):
        level, lifted = (
            middle_of_red(tmp_path / each / row["crop"]) for each in ("level", "lifted")
        )
        # The crop's side is twice the box's: a quarter of the box is an eighth of the crop.
        assert lifted - level == pytest.approx(0.125, abs=0.02)


def test_crops_that_are_too_small_are_left_out(pictures: Path, tmp_path: Path) -> None:
    """The boxes are 40 x 30, 30 x 40 and 40 x 30 pixels; crops are twice their longer side."""
    save(pictures / "rei" / "2.png", (10, 10, 25, 25))
    kept = write_crops(pictures, tmp_path / "all", RedFinder(), framing=Framing(0.5), smallest=30)
    fewer = write_crops(
        pictures, tmp_path / "large", RedFinder(), framing=Framing(0.5), smallest=31
    )
    assert (kept.crops, fewer.crops) == (4, 3)
    assert not (tmp_path / "large" / "rei" / "2_0.jpg").exists()
    assert len(rows(tmp_path / "large")) == 3


def test_progress_is_told(pictures: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []

    write_crops(
        pictures, tmp_path / "crops", RedFinder(), progress=lambda d, t: told.append((d, t))
    )

    assert told[-1] == (4, 4)


def test_crops_are_counted_across_batches(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number in range(BATCH - 1):
        save(folder / "a" / f"{number:02}.png", (10, 10, 40, 40))
    # The last picture of the first batch and the first of the second have one name.
    save(folder / "b" / "1.bmp", (10, 10, 40, 40))
    save(folder / "b" / "1.png", (10, 10, 40, 40))
    written = write_crops(folder, tmp_path / "crops", RedFinder())
    assert (written.pictures, written.crops) == (BATCH + 1, BATCH + 1)
    assert [row["crop"] for row in rows(tmp_path / "crops")[-2:]] == ["b/1_0.jpg", "b/1_1.jpg"]


def test_where_no_picture_can_be_read_the_old_table_stays(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    before = (out / "crops.csv").read_bytes()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "broken.jpg").write_bytes(b"\xff\xd8\xffbroken")
    with pytest.raises(Problem, match="bad"):
        write_crops(tmp_path / "bad", out, RedFinder())
    assert (out / "crops.csv").read_bytes() == before
    assert not list(out.glob("*.partial"))


def test_what_an_earlier_run_alone_cut_is_removed(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    (out / "rei" / "own.jpg").write_bytes(b"a person's own")
    (tmp_path / "beside.jpg").write_bytes(b"a person's own")
    with (out / "crops.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["../beside.jpg", "rei/1.png", 0, 0, 9, 9, 0.9])
    (pictures / "rei" / "1.bmp").unlink()

    assert write_crops(pictures, out, RedFinder()).removed == 1

    kept = {row["crop"] for row in rows(out)}
    assert kept == {"rei/1_0.jpg", "rei/1_1.jpg"}
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.jpg")} == {
        *kept,
        "rei/own.jpg",
    }
    assert (tmp_path / "beside.jpg").exists()


def test_of_another_table_nothing_is_removed(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    out.mkdir()
    (out / "own.jpg").write_bytes(b"a person's own")
    (out / "crops.csv").write_text("file,who\nown.jpg,rei\n")
    with pytest.raises(DatasetError, match=r"crops\.csv is no table of crops; move it away"):
        write_crops(pictures, out, RedFinder())
    assert (out / "own.jpg").exists()
    assert (out / "crops.csv").read_text() == "file,who\nown.jpg,rei\n"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("own", ["rei/1_1.jpg", "rei"])
@pytest.mark.parametrize("again", [False, True])
def test_a_file_of_somebody_else_is_never_overwritten(
    pictures: Path, tmp_path: Path, own: str, again: bool
) -> None:
    out = tmp_path / "crops"
    save(pictures / "a.png", (10, 10, 40, 40))
    if again:
        (pictures / "rei").rename(tmp_path / "rei")
        write_crops(pictures, out, RedFinder())
        (tmp_path / "rei").rename(pictures / "rei")
    (out / own).parent.mkdir(parents=True, exist_ok=True)
    (out / own).write_bytes(b"a person's own")
    before = content(out)
    with pytest.raises(DatasetError, match=rf"crops/{own} is there already.*move it away"):
        write_crops(pictures, out, RedFinder())
    assert content(out) == before


def test_a_picture_that_an_earlier_table_lists_stays_as_it_is(
    pictures: Path, tmp_path: Path
) -> None:
    """Given crops of which a part is cut again, into the folder that holds them."""
    write_crops(pictures, tmp_path / "crops", RedFinder())
    pictures.rename(tmp_path / "elsewhere")
    heads = tmp_path / "crops" / "rei"
    save(heads / "rei" / "1.png", (10, 10, 40, 40))
    save(tmp_path / "crops" / "rei" / "rei" / "1_0.jpg")
    with (tmp_path / "crops" / "crops.csv").open("a", newline="") as file:
        csv.writer(file).writerow(["rei/rei/1_0.jpg", "rei/1.png", 0, 0, 9, 9, 0.9])
    before = content(tmp_path / "crops")
    with pytest.raises(DatasetError, match="which is only read"):
        write_crops(heads, tmp_path / "crops", RedFinder())
    assert content(tmp_path / "crops") == before
    (heads / "rei" / "1.png").unlink()
    write_crops(heads, tmp_path / "crops", RedFinder())
    assert content(heads) == {
        path.removeprefix("rei/"): data
        for path, data in before.items()
        if path.startswith("rei/") and path != "rei/rei/1.png"
    }


@pytest.mark.parametrize("character", ["asuka", "rei"])
@pytest.mark.parametrize("written", ["path", "link"])
def test_crops_of_another_folder_are_not_removed_whatever_its_names(
    pictures: Path, tmp_path: Path, written: str, character: str
) -> None:
    out = tmp_path / "crops"
    folder = pictures
    if written == "link":
        folder = tmp_path / "link"
        folder.symlink_to(pictures)
    write_crops(folder, out, RedFinder())
    before = content(out)
    save(tmp_path / "others" / character / "1.png", (10, 10, 40, 40))
    with pytest.raises(DatasetError, match=rf"{out} holds crops of other pictures than those in"):
        write_crops(tmp_path / "others", out, RedFinder())
    assert content(out) == before
    assert write_crops(pictures, out, RedFinder()).removed == 0
    assert content(out) == before


def test_crops_of_a_folder_that_was_filled_anew_are_not_removed(
    pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    before = content(out)
    (pictures / "rei").rename(tmp_path / "rei")
    save(pictures / "misato" / "1.png", (10, 10, 40, 40))
    with pytest.raises(DatasetError, match=rf"{out} holds crops of other pictures than those in"):
        write_crops(pictures, out, RedFinder())
    assert content(out) == before


@pytest.mark.parametrize("moved", ["pictures", "crops", "both"])
def test_a_folder_that_was_moved_is_known_by_its_pictures(
    pictures: Path, tmp_path: Path, moved: str
) -> None:
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    place = tmp_path / "elsewhere"
    place.mkdir()
    if moved != "crops":
        pictures = pictures.rename(place / "pictures")
    if moved != "pictures":
        out = out.rename(place / "crops")
    (pictures / "rei" / "1.bmp").unlink()
    assert write_crops(pictures, out, RedFinder()).removed == 1


def test_crops_that_do_not_say_where_they_are_from_are_cut_again(
    pictures: Path, tmp_path: Path
) -> None:
    """Given what an earlier version of this program wrote."""
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    before = content(out)
    (out / ".crops.csv.from").unlink()
    assert write_crops(pictures, out, RedFinder()).crops == 3
    assert content(out) == before


def test_where_cutting_is_interrupted_the_earlier_crops_stay(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "crops"
    write_crops(pictures, out, RedFinder())
    before = content(out)
    for number in range(BATCH):
        save(pictures / "a" / f"{number}.png", (10, 10, 40, 40))
    finder = RedFinder()
    seen: list[int] = []

    def interrupted(images: list[np.ndarray]) -> list[tuple[Face, ...]]:
        seen.append(len(images))
        if len(seen) > 1:
            raise KeyboardInterrupt
        return RedFinder().detect(images)

    monkeypatch.setattr(finder, "detect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_crops(pictures, out, finder)
    assert len(seen) == 2
    assert content(out) == before
    assert write_crops(pictures, out, RedFinder()).crops == 3 + BATCH


def test_of_two_at_once_the_second_is_refused(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "crops"
    refused: list[OSError] = []

    def begin_another(done: int, total: int) -> None:
        if done == total:
            with pytest.raises(BlockingIOError, match="another command is writing") as caught:
                write_crops(pictures, out, RedFinder())
            refused.append(caught.value)

    assert write_crops(pictures, out, RedFinder(), progress=begin_another).crops == 3
    assert len(refused) == 1
    assert len(list(out.rglob("*.jpg"))) == 3
    assert not list(out.glob(".*.partial*"))


@pytest.mark.parametrize("within", ["", "crops", "../pictures", "rei"])
def test_no_picture_is_overwritten_by_a_crop(pictures: Path, within: str) -> None:
    save(pictures / "rei" / "1_1.jpg")
    before = {path: path.read_bytes() for path in pictures.rglob("*.*")}
    with pytest.raises(DatasetError, match="which is only read"):
        write_crops(pictures, pictures / within, RedFinder())
    assert {path: path.read_bytes() for path in pictures.rglob("*.*")} == before


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Problem):
        write_crops(tmp_path / "nowhere", tmp_path / "crops", RedFinder())
