"""The table of methods, on drawn pictures and with small models."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.evaluate_folder import evaluate_folder
from core.face import Pixels, Vectors
from core.look import Look
from core.methods.cell_histogram import CellHistogram
from core.methods.chart import draw_chart
from core.methods.table import (
    METHODS,
    MethodComparison,
    compare_methods,
    load_sources,
    shared_pictures,
)
from core.methods.training import SOURCES, Budget, result_of, trainings
from core.models import load_extractor
from core.problem import Problem
from core.rows import Neighbour, Query, Rows
from core.train.extractor_options import LIKENESS
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery, drawn_scene, save
from tests.core.methods.test_training import small


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = drawn_gallery(tmp_path_factory.mktemp("gallery"), each=4)
    save(drawn_scene([], background=77), root / "amber" / "empty.png")
    return root


@pytest.fixture(scope="module")
def comparison(gallery: Path) -> MethodComparison:
    sources = {"histogram": CellHistogram(), "shipped": FakeExtractor()}
    missing = {method.source: f"no {method.source}" for method in METHODS}
    return compare_methods(gallery, FakeDetector(), sources, missing)


def test_every_method_has_a_row_and_a_missing_one_says_why(comparison: MethodComparison) -> None:
    assert tuple(row.method for row in comparison.methods) == METHODS
    for row in comparison.methods:
        if row.method.source in ("histogram", "shipped"):
            assert row.figures is not None
        else:
            assert row.figures is None
            assert row.note == f"no {row.method.source}"
    assert (comparison.pictures, comparison.characters) == (21, 5)
    assert comparison.without_face == pytest.approx(1 / 21)


def test_ours_scores_what_evaluate_says(gallery: Path, comparison: MethodComparison) -> None:
    expected = evaluate_folder(gallery, FakeDetector(), FakeExtractor())
    for row in comparison.methods:
        if row.method.source == "shipped" and not row.method.by_trees:
            assert row.figures == expected.looks[row.method.look]
            assert row.equal_error_rate is not None
            assert 0.0 <= row.equal_error_rate <= 0.5


def test_annoy_finds_no_more_than_exact_search(comparison: MethodComparison) -> None:
    exact, by_trees = (
        next(
            row
            for row in comparison.methods
            if row.method.source == "shipped"
            and row.method.look is Look.BOTH
            and row.method.by_trees is wanted
        )
        for wanted in (False, True)
    )
    assert exact.figures is not None
    assert by_trees.figures is not None
    assert by_trees.figures.precision_at_1 > 0.5
    assert by_trees.figures.mean_average_precision <= exact.figures.mean_average_precision + 1e-6
    assert by_trees.equal_error_rate is None
    assert "nodes" in by_trees.note


def test_what_annoy_does_not_propose_is_not_found(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It proposes three, which are too few for five and for all of a character."""
    answers: dict[str, list[bool]] = {}

    def propose(
        rows: Rows, query: Query, count: int, without: str, search_k: int
    ) -> tuple[Neighbour, ...]:
        found = rows.nearest_exactly(query, count, without)[:3]
        if count == len(rows.contents.pictures):
            character = without.partition("/")[0]
            answers[without] = [it.picture.character == character for it in found]
        return found

    monkeypatch.setattr(Rows, "nearest_by_trees", propose)
    missing = {method.source: "left out" for method in METHODS}
    found = compare_methods(gallery, FakeDetector(), {"shipped": FakeExtractor()}, missing)
    (row,) = (row for row in found.methods if row.method.by_trees)
    five, averages = [], []
    for path, hits in answers.items():
        others = len(list((gallery / path).parent.iterdir())) - 1
        five.append(sum(hits) / 5)
        found_at = [place for place, hit in enumerate(hits, start=1) if hit]
        averages.append(sum(n / place for n, place in enumerate(found_at, start=1)) / others)
    assert len(answers) == 21
    assert row.figures is not None
    assert row.figures.precision_at_1 == np.mean([hits[0] for hits in answers.values()])
    assert row.figures.precision_at_5 == pytest.approx(np.mean(five))
    assert row.figures.mean_average_precision == pytest.approx(np.mean(averages))


def test_vectors_are_compared_as_their_loss_learned_them() -> None:
    learned = trainings(Budget())
    for method in METHODS:
        if method.source in SOURCES:
            name, _ = SOURCES[method.source]
            assert method.likeness is LIKENESS[learned[name].loss], method.name


class OfFacesAlone(FakeExtractor):
    """Compares no whole pictures, as `TrainedExtractor` without a network for them."""

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """``(n, 48, 48, 3)`` -> ``(n, 0)``."""
        return np.empty((len(pictures), 0), np.float32)


@pytest.mark.parametrize("first", ["amber", "zinc"])
def test_methods_of_faces_alone_find_no_picture_without_one_whatever_its_name(
    gallery: Path, tmp_path: Path, first: str
) -> None:
    """It lies in the folder that comes first by path, or last."""
    folder = shutil.copytree(gallery, tmp_path / "gallery")
    (folder / "amber").rename(folder / first)
    missing = {method.source: "left out" for method in METHODS}
    found = compare_methods(folder, FakeDetector(), {"facenet": OfFacesAlone()}, missing)
    (row,) = (row for row in found.methods if row.method.source == "facenet")
    (folder / first / "empty.png").unlink()
    found = compare_methods(folder, FakeDetector(), {"facenet": OfFacesAlone()}, missing)
    (faces,) = (row for row in found.methods if row.method.source == "facenet")
    assert row.figures is not None
    assert faces.figures is not None
    assert row.figures.precision_at_1 == pytest.approx(faces.figures.precision_at_1 * 20 / 21)
    assert row.figures.precision_at_5 == pytest.approx(faces.figures.precision_at_5 * 20 / 21)


def test_crops_are_their_own_faces(gallery: Path) -> None:
    sources = {"shipped": FakeExtractor()}
    missing = {method.source: "left out" for method in METHODS}
    found = compare_methods(gallery, None, sources, missing)
    expected = evaluate_folder(gallery, None, FakeExtractor())
    assert found.without_face == 0.0
    of_look = {row.method.look: row.figures for row in found.methods if row.figures}
    assert of_look[Look.CHARACTER] == expected.looks[Look.CHARACTER]
    rates = {
        row.method.look: row.equal_error_rate
        for row in found.methods
        if row.equal_error_rate is not None
    }
    assert rates == expected.equal_error_rates


def test_a_folder_without_characters_is_refused(tmp_path: Path) -> None:
    save(drawn_scene([("amber", 100, 100, 30)]), tmp_path / "one" / "a.png")
    missing = {method.source: "" for method in METHODS}
    with pytest.raises(Problem):
        compare_methods(tmp_path, None, {"shipped": FakeExtractor()}, missing)


def test_one_character_can_be_mistaken_for_nobody_and_is_refused(
    gallery: Path, tmp_path: Path
) -> None:
    shutil.copytree(gallery / "blue", tmp_path / "one" / "blue")
    missing = {method.source: "left out" for method in METHODS}
    with pytest.raises(Problem, match="two characters or more"):
        compare_methods(tmp_path / "one", None, {"shipped": FakeExtractor()}, missing)


def test_the_chart_is_a_picture(comparison: MethodComparison, tmp_path: Path) -> None:
    for title in ("drawn", "$a_$: 3 pictures", "a$", r"\$"):
        draw_chart(comparison, title, tmp_path / "chart.png")
        assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
        (tmp_path / "chart.png").unlink()


@pytest.mark.parametrize("scaled", [False, True])
def test_leaked_copies_are_found_as_they_are_and_scaled(
    gallery: Path, tmp_path: Path, scaled: bool
) -> None:
    (tmp_path / "other").mkdir()
    leaked = tmp_path / "other" / "renamed.jpg"
    leaked.write_bytes((gallery / "blue" / "1.png").read_bytes())
    if scaled:
        with Image.open(gallery / "blue" / "1.png") as picture:
            picture.convert("RGB").resize((96, 96)).save(leaked, quality=70)
    save(drawn_scene([("coral", 90, 90, 30)], background=999), tmp_path / "other" / "own.png")
    assert shared_pictures(gallery, tmp_path) == ("blue/1.png",)
    assert shared_pictures(gallery, tmp_path, without=["other"]) == ()
    leaked.unlink()
    assert shared_pictures(gallery, tmp_path) == ()


def test_ours_alone_sees_a_face_and_its_mirror_image(gallery: Path, tmp_path: Path) -> None:
    one = result_of("familiar-faces", small("familiar-faces"), gallery, tmp_path)
    sources, missing = load_sources(
        load_extractor(), "no network", dict.fromkeys(trainings(Budget()), one), "cpu"
    )
    assert missing == {"resnet101": "no network"}
    faces = np.random.default_rng(0).integers(0, 256, (3, 24, 24, 3)).astype(np.uint8)
    for name in ("attributes", "triplet-soft", "triplet-margin", "facenet", "arcface-ir-se50"):
        ahead, mirrored = (sources[name].embed_faces(it) for it in (faces, faces[:, :, ::-1]))
        assert not np.allclose(ahead, mirrored, atol=1e-3), name
    ahead, mirrored = (sources["familiar"].embed_faces(it) for it in (faces, faces[:, :, ::-1]))
    assert ahead == pytest.approx(mirrored, abs=1e-5)


def test_the_histogram_agrees_with_plain_loops() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (128, 128, 3)).astype(np.uint8)
    counts = np.zeros((2, 2, 8, 8, 8))
    for y in range(128):
        for x in range(128):
            red, green, blue = (int(value) // 32 for value in pixels[y, x])
            counts[y // 64, x // 64, red, green, blue] += 1
    expected = np.sqrt(counts.ravel() / 128**2)
    found = CellHistogram().embed_pictures(pixels[None])
    assert found.shape == (1, 2048)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)
    assert found[0] == pytest.approx(expected, abs=1e-6)
