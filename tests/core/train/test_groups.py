"""Heads sorted by whom they seem to show."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.face import Vectors
from core.train.dataset import DatasetError
from core.train.groups import LIKE, groups_of, write_groups
from tests.core.fakes import FakeExtractor


def around(centre: list[float], count: int, seed: int) -> Vectors:
    """Unit vectors not far from one direction."""
    noise = np.random.default_rng(seed).normal(0, 0.1, (count, len(centre)))
    vectors = np.asarray(centre) + noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_each_direction_becomes_a_group_and_strangers_stay_out() -> None:
    first, second = around([1, 0, 0, 0, 0, 0], 8, 1), around([0, 1, 0, 0, 0, 0], 6, 2)
    strangers = np.eye(6, dtype=np.float32)[2:]
    vectors = np.concatenate([first[:4], strangers, second, first[4:]])
    groups = groups_of(vectors, like=0.5, apart=0.3, smallest=3)
    assert [group.tolist() for group in groups] == [
        [0, 1, 2, 3, 14, 15, 16, 17],
        [8, 9, 10, 11, 12, 13],
    ]


def test_groups_of_perhaps_one_character_are_not_learned_as_two() -> None:
    large, small = around([1, 0, 0, 0], 7, 1), around([0.5, 0.8, 0, 0], 5, 2)
    vectors = np.concatenate([large, small])
    sizes = [len(group) for group in groups_of(vectors, like=0.8, apart=0.9, smallest=2)]
    assert sizes == [7, 5]
    sizes = [len(group) for group in groups_of(vectors, like=0.8, apart=0.3, smallest=2)]
    assert sizes == [7]


def test_the_mean_likeness_of_two_groups_decides_not_the_likeness_of_their_nearest() -> None:
    # A chain, each link near the next: by its nearest pictures it would be one group.
    angles = np.linspace(0, np.pi / 2, 7)
    chain = np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32)
    groups = groups_of(chain, like=0.9, apart=1.0, smallest=1)
    assert max(len(group) for group in groups) < 7
    for group in groups:
        alike = chain[group] @ chain[group].T
        assert alike.mean() > 0.9


def test_one_that_joins_many_is_not_joined_with_itself() -> None:
    """Given a large group that joins a single picture: nothing is as near to it as it is itself."""
    many = np.tile(np.float32([1, 0]), (60, 1))
    vectors = np.concatenate([np.float32([[0.9, np.sqrt(1 - 0.9**2)]]), many])
    groups = groups_of(vectors, like=0.5, apart=0.4, smallest=1)
    assert [group.tolist() for group in groups] == [list(range(61))]


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_for_a_group(rows: int) -> None:
    assert groups_of(np.ones((rows, 1), np.float32), like=0.5, apart=0.4, smallest=2) == []


def surely(threshold: float | None) -> FakeExtractor:
    """An extractor by mean colours, with a likeness of its own from which two faces are one."""
    extractor = FakeExtractor()
    extractor.same_threshold = threshold
    return extractor


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    """Two series, red in both, blue in one; one file that is no picture."""
    rng = np.random.default_rng(3)
    for name, colour, count in (
        ("one/red", (220, 60, 60), 4),
        ("one/blue", (60, 60, 220), 3),
        ("two/red", (220, 60, 60), 3),
    ):
        (tmp_path / "heads" / name).parent.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            pixels = np.clip(rng.normal(colour, 20, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "heads" / f"{name}_{number}.png")
    (tmp_path / "heads" / "one" / "broken.png").write_bytes(b"no picture")
    return tmp_path / "heads"


def test_groups_are_written_within_each_series(heads: Path, tmp_path: Path) -> None:
    counted: list[tuple[int, int]] = []
    done = write_groups(
        heads, tmp_path / "out", surely(0.5), smallest=3, progress=lambda *at: counted.append(at)
    )
    written = {
        folder.name: sorted(path.name for path in folder.iterdir())
        for folder in (tmp_path / "out").iterdir()
    }
    assert written == {
        "one_0": ["red_0.png", "red_1.png", "red_2.png", "red_3.png"],
        "one_1": ["blue_0.png", "blue_1.png", "blue_2.png"],
        "two_0": ["red_0.png", "red_1.png", "red_2.png"],
    }
    assert (done.pictures, done.groups, done.grouped) == (10, 3, 10)
    assert [path for path, _ in done.unreadable] == ["one/broken.png"]
    assert counted[-1] == (11, 11)


def test_a_series_can_be_left_out_and_only_one_that_is_there(heads: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no series three"):
        write_groups(heads, tmp_path / "out", surely(0.5), smallest=3, without=["one", "three"])
    assert not (tmp_path / "out").exists()
    done = write_groups(heads, tmp_path / "out", surely(0.5), smallest=3, without=["one"])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["two_0"]
    assert (done.groups, done.grouped) == (1, 3)


def test_both_sides_of_a_split_are_no_series(heads: Path, tmp_path: Path) -> None:
    for side in ("train", "val"):
        shutil.copytree(heads, tmp_path / "split" / side)
    with pytest.raises(DatasetError, match=r"train and val; name .*split/train\."):
        write_groups(tmp_path / "split", tmp_path / "out", surely(0.5), smallest=3)
    assert not (tmp_path / "out").exists()
    done = write_groups(tmp_path / "split" / "train", tmp_path / "out", surely(0.5), smallest=3)
    assert done.groups == 3


def test_the_extractors_own_threshold_says_what_is_alike(heads: Path, tmp_path: Path) -> None:
    # Two pictures of one colour are alike to 0.98 or so.
    with pytest.raises(DatasetError, match="seem to show one character"):
        write_groups(heads, tmp_path / "strict", surely(1.0 / LIKE), smallest=3)
    with pytest.raises(DatasetError, match="has no threshold of its own"):
        write_groups(heads, tmp_path / "none", surely(None), smallest=3)
    done = write_groups(heads, tmp_path / "given", surely(None), like=0.5, smallest=3)
    assert done.groups == 3


def test_nothing_is_overwritten_and_no_group_is_said(heads: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="seem to show one character"):
        write_groups(heads, tmp_path / "out", surely(0.5), smallest=5)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "own.txt").write_text("a person's own")
    with pytest.raises(DatasetError, match="is there already"):
        write_groups(heads, tmp_path / "out", surely(0.5), smallest=3)
    with pytest.raises(DatasetError, match="which is only read"):
        write_groups(heads, heads / "out", surely(0.5), smallest=3)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["own.txt"]
    assert not (heads / "out").exists()


def test_an_empty_folder_is_filled(heads: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write_groups(heads, tmp_path / "out", surely(0.5), smallest=3)
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_what_is_interrupted_leaves_nothing_behind(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[Path] = []
    copy = shutil.copyfile

    def interrupted(source: Path, target: Path) -> None:
        if len(copied) == 5:
            raise KeyboardInterrupt
        copied.append(copy(source, target))

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "copyfile", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_groups(heads, tmp_path / "out", surely(0.5), smallest=3)
    assert len(copied) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["heads"]
    assert write_groups(heads, tmp_path / "out", surely(0.5), smallest=3).groups == 3


def test_heads_without_a_series_are_named_after_their_folder_wherever_it_is_named_from(
    heads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(heads / "two")
    write_groups(Path("."), tmp_path / "out", surely(0.5), smallest=3)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["two_0"]


def test_pictures_of_one_name_are_not_written_over_each_other(heads: Path, tmp_path: Path) -> None:
    for place in ("a", "b"):
        (heads / "one" / place).mkdir()
    (heads / "one" / "red_0.png").rename(heads / "one" / "a" / "red_0.png")
    (heads / "one" / "red_1.png").rename(heads / "one" / "b" / "red_0.png")
    write_groups(heads, tmp_path / "out", surely(0.5), smallest=4)
    names = sorted(path.name for path in (tmp_path / "out" / "one_0").iterdir())
    assert names == ["a_red_0.png", "b_red_0.png", "red_2.png", "red_3.png"]
    (heads / "one" / "red_2.png").rename(heads / "one" / "a_red_0.png")
    with pytest.raises(DatasetError, match="one name"):
        write_groups(heads, tmp_path / "other", surely(0.5), smallest=4)
    assert not (tmp_path / "other").exists()


def test_groups_are_those_of_joining_the_nearest_two_each_time() -> None:
    """Whatever is remembered of who is nearest, against seeking it among all at each step."""
    vectors = around([1, 0, 0], 40, 7)
    vectors = np.concatenate([vectors, around([0.6, 0.7, 0.2], 40, 8)])
    sets = [[row] for row in range(len(vectors))]
    alike = vectors @ vectors.T
    while True:
        means = {
            (a, b): float(alike[np.ix_(sets[a], sets[b])].mean())
            for a in range(len(sets))
            for b in range(a)
        }
        (a, b), most = max(means.items(), key=lambda item: item[1])
        if most < 0.97:
            break
        sets[b] += sets.pop(a)
    groups = groups_of(vectors, like=0.97, apart=2.0, smallest=1)
    assert 2 < len(groups) < 40
    assert sorted(group.tolist() for group in groups) == sorted(sorted(each) for each in sets)
