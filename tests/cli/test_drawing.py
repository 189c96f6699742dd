"""The demo's gallery: the same from the same seed, no two pictures alike, faces to be found."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from cli.demo.canvas import Canvas, Points, brush, ellipse, mixed, path, points, smooth
from cli.demo.characters import CHARACTERS
from cli.demo.gallery import FRAMINGS, MOODS, PICTURES_EACH, SIZES, Drawn, draw_gallery, picture
from cli.demo.scenes import SCENES
from core.models import load_detector
from core.picture import read


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """The whole gallery, drawn once."""
    return draw_gallery(tmp_path_factory.mktemp("drawn"))


def pictures_of(drawn: Drawn) -> list[Path]:
    """All pictures, the asking one last."""
    return [*sorted(drawn.gallery.glob("*/*.jpg")), drawn.asked]


def test_there_are_enough_characters_and_pictures(drawn: Drawn) -> None:
    folders = sorted(path.name for path in drawn.gallery.iterdir())
    assert folders == sorted(who.name for who in CHARACTERS)
    assert len(folders) >= 8
    assert PICTURES_EACH >= 6
    assert len(pictures_of(drawn)) == len(folders) * PICTURES_EACH + 1 == drawn.pictures + 1


def test_each_picture_differs(drawn: Drawn) -> None:
    hashes = {hashlib.sha256(path.read_bytes()).digest() for path in pictures_of(drawn)}
    assert len(hashes) == len(pictures_of(drawn))


def test_pictures_of_a_character_differ_in_background_and_framing(drawn: Drawn) -> None:
    for who in CHARACTERS:
        corners, sizes = set(), set()
        for number in range(1, PICTURES_EACH + 1):
            pixels = read(drawn.gallery / who.name / f"{number}.jpg").pixels
            corners.add(tuple(pixels[4, 4] // 16) + tuple(pixels[4, -5] // 16))
            sizes.add(pixels.shape)
        assert len(corners) >= 4, who.name
        assert len(sizes) >= 4, who.name


def test_the_number_decides() -> None:
    who = CHARACTERS[3]
    first, again = (np.asarray(picture(who, 2)) for _ in range(2))
    alike = 2 + len(SIZES) * len(SCENES) * len(FRAMINGS) * len(MOODS)
    other = np.asarray(picture(who, alike))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_shipped_detector_finds_the_faces(drawn: Drawn) -> None:
    detector = load_detector()
    missed = []
    for path_ in pictures_of(drawn):
        pixels = read(path_).pixels
        faces = detector.detect([pixels])[0]
        if not faces or faces[0].score < detector.threshold:
            missed.append(path_.name)
    assert len(missed) <= 0.05 * len(pictures_of(drawn)), missed


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_scene_fills_the_canvas_and_differs_each_time(scene: object) -> None:
    painted = []
    for seed in (1, 2):
        canvas = Canvas(90, 120, (255, 0, 255))
        assert callable(scene)
        _, strength = scene(canvas, np.random.default_rng(seed))
        assert 0 <= strength <= 0.3
        painted.append(np.asarray(canvas.finished()))
        assert not (painted[-1] == (255, 0, 255)).all(axis=2).any()
    assert not np.array_equal(*painted)


class TestCanvas:
    """Shapes land where they are told to, and nowhere else."""

    @staticmethod
    def drawn(shape: Points, **how: object) -> np.ndarray:
        canvas = Canvas(20, 20)
        canvas.fill(shape, (0, 0, 0), **how)  # type: ignore[arg-type]
        return np.asarray(canvas.finished())[..., 0]

    def test_a_square(self) -> None:
        shown = self.drawn(points((5, 8), (15, 8), (15, 12), (5, 12)))
        assert (shown[9:11, 6:14] == 0).all()
        assert (shown[:7] == 255).all()
        assert (shown[:, :4] == 255).all()

    def test_only_inside_of_another(self) -> None:
        whole = points((0, 0), (20, 0), (20, 20), (0, 20))
        shown = self.drawn(whole, inside=points((0, 0), (10, 0), (10, 20), (0, 20)))
        assert (shown[:, :9] == 0).all()
        assert (shown[:, 12:] == 255).all()

    @pytest.mark.parametrize("offset", [(-100, 0), (0, 100), (100, -100)])
    def test_off_the_canvas_is_nothing(self, offset: tuple[int, int]) -> None:
        shown = self.drawn(points((0, 0), (5, 0), (5, 5)) + np.array(offset))
        assert (shown == 255).all()

    def test_a_gradient_runs_downwards(self) -> None:
        canvas = Canvas(10, 30)
        canvas.fill(points((0, 0), (10, 0), (10, 30), (0, 30)), (0, 0, 0), (200, 200, 200))
        column = np.asarray(canvas.finished())[:, 5, 0].astype(int)
        assert (np.diff(column) >= 0).all()
        assert column[0] < 10
        assert column[-1] > 190

    def test_half_opaque(self) -> None:
        shown = self.drawn(points((0, 0), (20, 0), (20, 20), (0, 20)), opacity=0.5)
        assert abs(int(shown[10, 10]) - 127) <= 2


def test_curves_go_through_their_points() -> None:
    through = [(0.0, 0.0), (4.0, 3.0), (9.0, 1.0)]
    for closed in (False, True):
        line = smooth(through, closed=closed)
        for corner in through:
            assert np.abs(line - corner).sum(axis=1).min() < 1e-9
    bent = path((0, 0), (1, 5, 2, 0))
    assert bent[0].tolist() == [0, 0]
    assert bent[-1].tolist() == [2, 0]
    assert bent[:, 1].max() == pytest.approx(2.5)


def test_an_ellipse_keeps_its_radii_when_turned() -> None:
    shape = ellipse((3, 4), (5, 2), turned=90)
    low, high = shape.min(axis=0), shape.max(axis=0)
    assert high - low == pytest.approx([4, 10], abs=0.05)


def test_a_brush_is_as_wide_as_asked_and_tapers() -> None:
    line = np.stack([np.linspace(0, 10, 21), np.zeros(21)], axis=1)
    shape = brush(line, 2.0, (0.0, 1.0))
    upper = shape[:21, 1]
    assert abs(upper).max() == pytest.approx(1.0, abs=0.02)
    assert upper[0] == pytest.approx(0.0)
    assert abs(upper[-1]) == pytest.approx(1.0)


def test_mixing_ends_at_both_colours() -> None:
    assert mixed((0, 10, 20), (100, 110, 120), 0) == (0, 10, 20)
    assert mixed((0, 10, 20), (100, 110, 120), 1) == (100, 110, 120)
