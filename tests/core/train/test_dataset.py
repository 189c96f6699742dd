"""Splits that leak nothing, and balancing that names its copies."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from core.face import Pixels
from core.problem import Problem
from core.train.copies import NEAR, difference_hash
from core.train.dataset import (
    DatasetError,
    Unit,
    balance_folder,
    refuse_sides,
    split_folder,
)


def drawing(number: int, side: int = 60) -> Pixels:
    """Smooth patches of grey, another pattern for another number."""
    coarse = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)


def save(pixels: Pixels, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[..., ::-1])
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six characters with ten pictures each; of each the first is there three times."""
    root = tmp_path / "pictures"
    for who in range(6):
        for number in range(10):
            save(drawing(100 * who + number), root / f"c{who}" / f"{number}.png")
        again = cv2.resize(drawing(100 * who), (45, 45), interpolation=cv2.INTER_AREA)
        save(np.asarray(again, np.uint8), root / f"c{who}" / "again.jpg")
        save(drawing(100 * who), root / f"c{who}" / "copy.png")
    return root


def hashes(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): difference_hash(cv2.imread(str(path))[..., ::-1])
        for path in sorted(folder.rglob("*.*"))
    }


def nearest(train: dict[str, int], validation: dict[str, int]) -> int:
    return min((a ^ b).bit_count() for a in train.values() for b in validation.values())


class TestSplit:
    @pytest.mark.parametrize("seed", range(4))
    def test_by_picture_every_character_is_on_both_sides_and_no_duplicate(
        self, folder: Path, tmp_path: Path, seed: int
    ) -> None:
        out = tmp_path / "out"
        done = split_folder(folder, out, Unit.PICTURE, validation=0.25, seed=seed)
        train, validation = hashes(out / "train"), hashes(out / "val")
        assert (sorted(done.train), sorted(done.validation)) == (sorted(train), sorted(validation))
        assert sorted([*train, *validation]) == sorted(hashes(folder))
        assert nearest(train, validation) > NEAR
        assert done.duplicates == 18
        counts = Counter(path.split("/")[0] for path in validation)
        assert counts == {f"c{who}": 3 for who in range(6)}

    @pytest.mark.parametrize("seed", range(4))
    def test_by_character_no_character_is_on_both_sides(
        self, folder: Path, tmp_path: Path, seed: int
    ) -> None:
        out = tmp_path / "out"
        split_folder(folder, out, Unit.CHARACTER, validation=0.34, seed=seed)
        train = {path.name for path in (out / "train").iterdir()}
        validation = {path.name for path in (out / "val").iterdir()}
        assert not train & validation
        assert (len(train), len(validation)) == (4, 2)

    @pytest.mark.parametrize("seed", range(4))
    def test_by_character_the_share_is_one_of_characters_not_of_pictures(
        self, tmp_path: Path, seed: int
    ) -> None:
        """Given twelve pictures of one and two of each other: a fifth of all would be two's."""
        for number in range(20):
            who = 0 if number < 12 else (number - 10) // 2
            save(drawing(number), tmp_path / "pictures" / f"c{who}" / f"{number}.png")
        out = tmp_path / "out"
        split_folder(tmp_path / "pictures", out, Unit.CHARACTER, validation=0.2, seed=seed)
        assert len(list((out / "train").iterdir())) == 4
        assert len(list((out / "val").iterdir())) == 1

    def test_characters_that_share_a_picture_stay_together(
        self, folder: Path, tmp_path: Path
    ) -> None:
        save(drawing(100), folder / "c2" / "both.png")  # c1's first
        save(drawing(202), folder / "c5" / "both.png")  # c2's third
        for seed in range(5):
            out = tmp_path / f"out{seed}"
            split_folder(folder, out, Unit.CHARACTER, validation=0.5, seed=seed)
            assert nearest(hashes(out / "train"), hashes(out / "val")) > NEAR
            train = {path.name for path in (out / "train").iterdir()}
            assert len(train & {"c1", "c2", "c5"}) in {0, 3}

    def test_copies_made_by_balancing_do_not_leak(self, folder: Path, tmp_path: Path) -> None:
        """The known fault: balanced first and split afterwards, copies are on both sides."""
        balance_folder(folder, tmp_path / "balanced", 30)
        out = tmp_path / "out"
        split_folder(tmp_path / "balanced", out, Unit.PICTURE)
        assert nearest(hashes(out / "train"), hashes(out / "val")) > NEAR

    @pytest.mark.parametrize("seed", range(4))
    def test_mirror_images_do_not_leak(self, tmp_path: Path, seed: int) -> None:
        for number in range(20):
            save(drawing(number), tmp_path / "pictures" / f"{number}.png")
            mirrored = np.ascontiguousarray(drawing(number)[:, ::-1])
            save(mirrored, tmp_path / "pictures" / f"{number}-mirrored.png")
        done = split_folder(
            tmp_path / "pictures", tmp_path / "out", Unit.PICTURE, validation=0.3, seed=seed
        )
        sides = [
            {name.split(".")[0].split("-")[0] for name in side}
            for side in (done.train, done.validation)
        ]
        assert not sides[0] & sides[1]
        assert done.duplicates == 40

    def test_what_is_written_are_copies_and_no_links(self, folder: Path, tmp_path: Path) -> None:
        split_folder(folder, tmp_path / "out", Unit.PICTURE)
        for path in (tmp_path / "out").rglob("*.png"):
            source = folder / path.relative_to(tmp_path / "out" / path.parts[-3])
            assert not path.is_symlink()
            assert path.stat().st_nlink == 1
            assert path.read_bytes() == source.read_bytes()

    def test_the_same_seed_gives_the_same_split(self, folder: Path, tmp_path: Path) -> None:
        one = split_folder(folder, tmp_path / "one", Unit.PICTURE, seed=3)
        assert split_folder(folder, tmp_path / "two", Unit.PICTURE, seed=3) == one
        assert split_folder(folder, tmp_path / "three", Unit.PICTURE, seed=4) != one

    def test_what_cannot_be_read_is_listed_and_left_out(self, folder: Path, tmp_path: Path) -> None:
        (folder / "c0" / "text.png").write_text("no picture")
        told: list[tuple[int, int]] = []
        unreadable: list[str] = []
        split_folder(
            folder,
            tmp_path / "out",
            Unit.PICTURE,
            progress=lambda done, total: told.append((done, total)),
            left_out=lambda path, _: unreadable.append(path),
        )
        assert unreadable == ["c0/text.png"]
        assert told[-1] == (73, 73)

    def test_a_flat_folder_is_split_by_picture_alone(self, tmp_path: Path) -> None:
        for number in range(10):
            save(drawing(number), tmp_path / "flat" / f"{number}.png")
        done = split_folder(tmp_path / "flat", tmp_path / "out", Unit.PICTURE)
        assert (len(done.train), len(done.validation)) == (8, 2)
        with pytest.raises(DatasetError, match="outside of any folder"):
            split_folder(tmp_path / "flat", tmp_path / "other", Unit.CHARACTER)

    def test_what_cannot_be_split_leaves_nothing_behind(self, folder: Path, tmp_path: Path) -> None:
        before = sorted(os.listdir(tmp_path))
        for number in range(3):
            save(drawing(1), tmp_path / "same" / f"{number}.png")
        with pytest.raises(DatasetError, match="too small"):
            split_folder(tmp_path / "same", tmp_path / "out", Unit.PICTURE)
        with pytest.raises(DatasetError, match="only read"):
            split_folder(folder, folder / "out", Unit.PICTURE)
        with pytest.raises(Problem, match="does not exist"):
            split_folder(tmp_path / "nowhere", tmp_path / "out", Unit.PICTURE)
        (tmp_path / "same" / "train").mkdir()
        with pytest.raises(DatasetError, match="there already"):
            split_folder(folder, tmp_path / "same", Unit.PICTURE)
        (tmp_path / "empty").mkdir()
        with pytest.raises(Problem, match=r"no picture in .*empty"):
            split_folder(tmp_path / "empty", tmp_path / "out", Unit.PICTURE)
        assert sorted(os.listdir(tmp_path)) == sorted([*before, "empty", "same"])

    def test_of_two_at_once_the_second_is_refused_and_nothing_is_mixed(
        self, folder: Path, tmp_path: Path
    ) -> None:
        refused: list[OSError] = []

        def begin_another(done: int, total: int) -> None:
            if done == total:
                with pytest.raises(BlockingIOError, match="another command is writing") as caught:
                    split_folder(folder, tmp_path / "out", Unit.CHARACTER, seed=2)
                refused.append(caught.value)

        split_folder(folder, tmp_path / "alone", Unit.CHARACTER, seed=1)
        split_folder(folder, tmp_path / "out", Unit.CHARACTER, seed=1, progress=begin_another)
        assert len(refused) == 1
        for side in ("train", "val"):
            assert hashes(tmp_path / "out" / side) == hashes(tmp_path / "alone" / side)
        assert set(os.listdir(tmp_path)) == {"pictures", "alone", "out"}

    def test_a_folder_that_is_filled_meanwhile_is_left_as_it_is(
        self, folder: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "out"

        def fill(done: int, total: int) -> None:
            (out / "train").mkdir(parents=True, exist_ok=True)

        with pytest.raises(DatasetError, match="there already"):
            split_folder(folder, out, Unit.CHARACTER, progress=fill)
        assert [path.name for path in out.rglob("*")] == ["train"]
        assert set(os.listdir(tmp_path)) == {"pictures", "out"}


@pytest.mark.parametrize("kind", ["here", "link"])
@pytest.mark.parametrize("command", ["split", "balance"])
def test_an_empty_folder_is_filled_and_stays_the_one_that_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, command: str
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    out = Path(".")
    if kind == "link":
        out = tmp_path / "link"
        out.symlink_to(tmp_path / "empty")
    if command == "split":
        split_folder(folder, out, Unit.CHARACTER)
    else:
        balance_folder(folder, out, 2)
    written = {"split": {"train", "val"}, "balance": {f"c{who}" for who in range(6)}}[command]
    assert set(os.listdir(".")) == set(os.listdir(tmp_path / "empty")) == written
    assert set(os.listdir(tmp_path)) - {"link"} == {"pictures", "empty"}
    assert out.is_symlink() == (kind == "link")


class TestBalance:
    def test_every_character_has_as_many_and_copies_are_named(
        self, folder: Path, tmp_path: Path
    ) -> None:
        save(drawing(900), folder / "few" / "1.png")
        save(drawing(901), folder / "few" / "1_copy1.png")  # a name that is taken
        done = balance_folder(folder, tmp_path / "out", 5)
        counts = Counter(path.parent.name for path in (tmp_path / "out").rglob("*.*"))
        assert counts == dict.fromkeys(("few", *(f"c{who}" for who in range(6))), 5)
        assert (done.characters, done.copies, done.left_out) == (7, 3, 6 * 7)
        content = Counter(path.read_bytes() for path in (tmp_path / "out" / "few").iterdir())
        assert sorted(content.values()) == [2, 3]
        original = folder / "few" / "1_copy1.png"
        assert (tmp_path / "out" / "few" / "1_copy1.png").read_bytes() == original.read_bytes()
        names = {path.name for path in (tmp_path / "out" / "few").iterdir()}
        assert {"1.png", "1_copy1.png"} < names
        assert all("_copy" in name for name in names - {"1.png", "1_copy1.png"})
        assert not any("copy" in path.name for path in (tmp_path / "out" / "c1").glob("*_copy*"))

    def test_what_is_taken_of_many_is_drawn_by_the_seed(self, folder: Path, tmp_path: Path) -> None:
        chosen = []
        for number, seed in enumerate((3, 3, 4)):
            balance_folder(folder, tmp_path / f"{number}", 5, seed=seed)
            chosen.append(hashes(tmp_path / f"{number}").keys())
        assert chosen[0] == chosen[1] != chosen[2]

    def test_both_sides_of_a_split_are_refused(self, folder: Path, tmp_path: Path) -> None:
        split_folder(folder, tmp_path / "split", Unit.CHARACTER)
        with pytest.raises(DatasetError, match="both sides of a split"):
            balance_folder(tmp_path / "split", tmp_path / "out", 5)
        with pytest.raises(DatasetError, match="both sides of a split"):
            split_folder(tmp_path / "split", tmp_path / "out", Unit.PICTURE)
        assert not (tmp_path / "out").exists()
        assert balance_folder(tmp_path / "split" / "train", tmp_path / "out", 5).characters == 5

    @pytest.mark.parametrize("other", ["", "test/1.png", "train.png", ".cache/1.png"])
    def test_a_split_is_known_by_its_folders(
        self, folder: Path, tmp_path: Path, other: str
    ) -> None:
        """A third folder beside them, and they may be characters."""
        split = tmp_path / "split"
        split_folder(folder, split, Unit.CHARACTER)
        if other:
            save(drawing(1), split / other)
        if other == "test/1.png":
            refuse_sides(split, "val")
        else:
            with pytest.raises(DatasetError, match=f"both sides of a split.*name {split}/val"):
                refuse_sides(split, "val")
        refuse_sides(split / "train", "val")
        refuse_sides(tmp_path / "nowhere", "val")

    def test_two_characters_may_be_called_like_the_sides(self, tmp_path: Path) -> None:
        for side in ("train", "val"):
            save(drawing(1), tmp_path / "pictures" / side / "1.png")
        refuse_sides(tmp_path / "pictures", "val")
        save(drawing(1), tmp_path / "pictures" / "train" / "further" / "1.png")
        refuse_sides(tmp_path / "pictures", "val")

    def test_what_cannot_be_read_is_listed_and_not_counted(
        self, folder: Path, tmp_path: Path
    ) -> None:
        for number in range(3):
            save(drawing(900 + number), folder / "few" / f"{number}.png")
        (folder / "few" / "z.jpg").write_text("no picture")
        (folder / "few" / "z.avif").write_text("of a kind that is not read")
        (folder / "none").mkdir()
        (folder / "none" / "z.jpg").write_text("no picture")
        told: list[tuple[int, int]] = []
        unreadable: list[str] = []
        done = balance_folder(
            folder,
            tmp_path / "out",
            4,
            progress=lambda done, total: told.append((done, total)),
            left_out=lambda path, _: unreadable.append(path),
        )
        assert sorted(unreadable) == ["few/z.avif", "few/z.jpg", "none/z.jpg"]
        assert told[-1] == (78, 78)
        assert (done.characters, done.copies, done.left_out) == (7, 1, 6 * 8)
        assert not (tmp_path / "out" / "none").exists()
        assert not list((tmp_path / "out").rglob("z*"))
        assert len(list((tmp_path / "out" / "few").iterdir())) == 4

    def test_it_needs_characters(self, tmp_path: Path) -> None:
        save(drawing(1), tmp_path / "flat" / "1.png")
        with pytest.raises(DatasetError, match="outside of any folder"):
            balance_folder(tmp_path / "flat", tmp_path / "out", 5)
        (tmp_path / "empty").mkdir()
        with pytest.raises(Problem, match="no picture"):
            balance_folder(tmp_path / "empty", tmp_path / "out", 5)
