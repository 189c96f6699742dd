"""Given a built gallery, of which pictures small copies are kept, and what is drawn from them."""

from __future__ import annotations

import errno
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core import collage
from core.collage import draw
from core.face import Pixels
from core.gallery import build_index
from core.index import Index
from core.look import Look
from core.picture import Limits, Picture, Reduced, read, read_reduced
from core.problem import Problem
from core.search import Answer, Searcher
from core.thumbnails import SIDE, Thumbnails
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery, drawn_scene, save

HEADS = [("blue", 1500, 300, 120), ("amber", 400, 900, 120)]


class World:
    """A gallery with a large picture and small ones, and its data folder."""

    def __init__(self, root: Path) -> None:
        self.gallery = drawn_gallery(root / "gallery", each=1)
        self.data = root / "data"
        self.large = save(drawn_scene(HEADS, (2000, 1280)), self.gallery / "blue" / "large.png")

    def build(self) -> None:
        build_index(self.gallery, self.data, FakeDetector(), FakeExtractor())

    @property
    def kept(self) -> list[Path]:
        return sorted((self.data / "thumbnails").glob("*"))

    def ask(self) -> Answer:
        """About a picture of no one's, so that all of the gallery answers."""
        models = FakeDetector(), FakeExtractor()
        searcher = Searcher(*models, Index.open_current(self.data, *models))
        asked = Picture(drawn_scene([("blue", 100, 90, 40)], background=77), "0" * 64)
        return searcher.search(asked, Look.CHARACTER, 9)

    def tile(self) -> Pixels:
        """The large picture's in the collage, without its corners and its number."""
        answer = self.ask()
        (row,), (place,) = answer.rows, collage.layout(answer).rows
        number = [match.path for match in row.matches].index("blue/large.png")
        x0, y0, x1, y1 = place.tiles[number]
        with Image.open(io.BytesIO(draw(answer, self.gallery))) as image:
            return np.asarray(image)[y0 + 50 : y1 - 20, x0 + 50 : x1 - 20]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_one_is_kept_of_each_picture_that_takes_long_to_decode(world: World) -> None:
    pixels = read(world.large).pixels
    Image.fromarray(pixels).save(world.gallery / "blue" / "other.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    high = world.gallery / "blue" / "high.png"
    Image.fromarray(pixels[::-1]).save(high, compress_level=1, exif=turned)
    shutil.copy(world.large, world.gallery / "amber" / "copy.png")
    world.build()
    expected = {read(path).sha256: size for path, size in ((world.large, (1000, 640)),)}
    expected[read(high).sha256] = (640, 1000)
    assert {path.stem: Image.open(path).size for path in world.kept} == expected
    assert min(expected[read(world.large).sha256]) == SIDE


def test_it_goes_with_its_picture(world: World) -> None:
    world.build()
    (small,) = world.kept
    small.with_suffix(".partial").write_bytes(b"of a build that was killed")
    world.build()
    assert world.kept == [small]
    world.large.unlink()
    world.build()
    assert world.kept == []


def test_that_of_a_very_wide_picture_can_be_read(tmp_path: Path) -> None:
    thumbnails, pixels = Thumbnails(tmp_path), np.full((960, 26_000, 3), 200, np.uint8)
    thumbnails.keep("0" * 64, b"no JPEG file", pixels)
    reduced = thumbnails.of("0" * 64, 26_000).read(SIDE)
    assert reduced.image.size == (17_333, SIDE)
    assert reduced.scale == pytest.approx(SIDE / 960, rel=1e-4)


def test_nobody_sees_one_that_is_half_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    came: list[tuple[bool, tuple[int, int]]] = []
    replace = Path.replace

    def noting(path: Path, target: Path) -> Path:
        if target.parent.name == "thumbnails":
            with Image.open(path) as image:
                image.load()
                came.append((target.exists(), image.size))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", noting)
    world.build()
    assert came == [(False, (1000, 640))]
    assert [path.suffix for path in world.kept] == [".jpg"]


def test_what_somebody_else_keeps_there_stays(world: World) -> None:
    world.build()
    (small,) = world.kept
    foreign = [small.with_name(name) for name in ("holiday.jpg", "notes.txt", "a.partial")]
    for path in foreign:
        path.write_bytes(b"mine")
    world.build()
    assert world.kept == sorted([small, *foreign])


def test_what_cannot_be_removed_hinders_no_build(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.build()
    (small,) = world.kept
    foreign = small.parent / "@eaDir"
    foreign.mkdir()
    stale, held = (small.with_name(f"{letter * 64}.partial") for letter in "ab")
    stale.touch()
    held.touch()
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path == held:
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    world.build()
    assert world.kept == sorted([foreign, small, held])


def test_the_collage_looks_the_same_with_and_without(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[str] = []

    def noting(path: Path, side: int, limits: Limits) -> Reduced:
        decoded.append(path.name)
        return read_reduced(path, side, limits)

    monkeypatch.setattr(collage, "read_reduced", noting)
    world.build()
    with_it = world.tile()
    assert "large.png" not in decoded
    (small,) = world.kept
    small.write_bytes(small.read_bytes()[:-9000])
    damaged = world.tile()
    assert decoded.count("large.png") == 1
    small.unlink()
    without_it = world.tile()
    assert decoded.count("large.png") == 2
    assert np.array_equal(damaged, without_it)
    assert np.abs(with_it.astype(int) - without_it).mean() < 3


def test_a_picture_that_its_owner_removed_is_not_shown(world: World) -> None:
    world.build()
    assert world.tile().std((0, 1)).max() > 20
    world.large.unlink()
    assert world.tile().std((0, 1)).max() < 2


def test_a_data_folder_that_takes_none_says_so(world: World) -> None:
    world.data.mkdir()
    (world.data / "thumbnails").write_text("in the way")
    with pytest.raises(Problem) as caught:
        world.build()
    assert caught.value.key == "data_unwritable"
