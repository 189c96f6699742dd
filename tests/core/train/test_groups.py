"""Heads sorted by whom they seem to show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.face import Landmarks, Pixels, Vectors
from core.train.dataset import DatasetError
from core.train.groups import LIKE, groups_of, write_groups


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


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_for_a_group(rows: int) -> None:
    assert groups_of(np.ones((rows, 1), np.float32), like=0.5, apart=0.4, smallest=2) == []


class ByColour:
    """A face is told by its mean colour."""

    name = "by-colour"
    sha256 = "0" * 64
    face_dimensions = 3
    picture_dimensions = 3
    weights_of_both = (0.5, 0.5)

    def __init__(self, same_threshold: float | None = 0.5) -> None:
        self.same_threshold = same_threshold

    def prepare_face(
        self,
        pixels: Pixels,
        box: tuple[float, float, float, float] | None,
        points: Landmarks | None = None,
    ) -> Pixels:
        """The upper left."""
        assert box is None
        return pixels[:8, :8]

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        """The upper left."""
        return pixels[:8, :8]

    def embed_faces(self, faces: Pixels) -> Vectors:
        """Mean colours, from the middle of all."""
        vectors = faces.mean((1, 2)) - 100.0
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)

    embed_pictures = embed_faces


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
        heads, tmp_path / "out", ByColour(), smallest=3, progress=lambda *at: counted.append(at)
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
    assert (done.pictures, done.groups, done.grouped) == (11, 3, 10)
    assert [path for path, _ in done.unreadable] == ["one/broken.png"]
    assert counted[-1][1] == 11


def test_the_extractors_own_threshold_says_what_is_alike(heads: Path, tmp_path: Path) -> None:
    # Two pictures of one colour are alike to 0.98 or so.
    with pytest.raises(DatasetError, match="seem to show one character"):
        write_groups(heads, tmp_path / "strict", ByColour(1.0 / LIKE), smallest=3)
    with pytest.raises(DatasetError, match="has no threshold of its own"):
        write_groups(heads, tmp_path / "none", ByColour(None), smallest=3)
    done = write_groups(heads, tmp_path / "given", ByColour(None), like=0.5, smallest=3)
    assert done.groups == 3


def test_nothing_is_overwritten_and_no_group_is_said(heads: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="seem to show one character"):
        write_groups(heads, tmp_path / "out", ByColour(), smallest=5)
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(DatasetError, match="is there already"):
        write_groups(heads, tmp_path / "out", ByColour(), smallest=3)
