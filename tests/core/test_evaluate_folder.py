"""Given pictures by character, the figures of a search for each; checked against plain loops."""

from __future__ import annotations

import itertools
import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.evaluate_folder import (
    LabelledVectors,
    LookFigures,
    evaluate_folder,
    measure,
    measure_pairs,
    similarities,
)
from core.face import Face
from core.likeness import COSINE, MANHATTAN, Likeness
from core.look import Look
from core.problem import Problem
from core.retrieval import equal_error_of, equal_error_rate
from core.rows import Contents, IndexedFace, IndexedPicture, Query, Rows
from tests.core.directions import unit
from tests.core.fakes import HAIR, FakeDetector, FakeExtractor, drawn_gallery, drawn_scene, save

WEIGHTS = (0.7, 0.3)


def labelled(seed: int) -> LabelledVectors:
    """Thirty pictures of seven characters, one of them alone, with 0 to 3 faces each."""
    generator = np.random.default_rng(seed)
    names = [f"c{number % 6}" for number in range(29)] + ["alone"]
    faces = generator.integers(0, 4, 30)
    return LabelledVectors(
        tuple(names), unit(generator, 30, 6), unit(generator, int(faces.sum()), 8), faces
    )


def plainly(vectors: LabelledVectors, look: Look) -> LookFigures:
    """The same figures, one picture at a time."""
    starts = [int(vectors.faces[:number].sum()) for number in range(len(vectors.faces))]
    faces = [
        vectors.face_vectors[start : start + count]
        for start, count in zip(starts, vectors.faces, strict=True)
    ]
    first, five, averages = [], [], []
    for asking, character in enumerate(vectors.characters):
        if vectors.characters.count(character) == 1:
            continue
        ranked = []
        for number, other in enumerate(vectors.characters):
            if number == asking:
                continue
            feel = float(vectors.picture_vectors[asking] @ vectors.picture_vectors[number])
            face = (
                max((float(faces[asking][0] @ it) for it in faces[number]), default=None)
                if (len(faces[asking]))
                else None
            )
            if look is Look.FEEL or not len(faces[asking]):
                key = (0, feel)
            elif look is Look.CHARACTER:
                key = (-1, feel) if face is None else (0, face)
            else:
                key = (0, WEIGHTS[0] * (face or 0.0) + WEIGHTS[1] * feel)
            ranked.append((key, other == character))
        hits = [hit for _, hit in sorted(ranked, key=lambda item: item[0], reverse=True)]
        first.append(hits[0])
        five.append(sum(hits[:5]) / 5)
        found = [sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit]
        averages.append(sum(found) / len(found))
    return LookFigures(*(float(np.mean(figures)) for figures in (first, five, averages)))


@pytest.mark.parametrize("look", list(Look))
@pytest.mark.parametrize("seed", range(4))
def test_figures_agree_with_plain_loops(look: Look, seed: int) -> None:
    vectors = labelled(seed)
    got, expected = measure(vectors, look, WEIGHTS), plainly(vectors, look)
    assert got.precision_at_1 == pytest.approx(expected.precision_at_1)
    assert got.precision_at_5 == pytest.approx(expected.precision_at_5)
    assert got.mean_average_precision == pytest.approx(expected.mean_average_precision)


@pytest.mark.parametrize("look", list(Look))
def test_pictures_are_as_alike_as_a_search_of_the_same_gallery_says(look: Look) -> None:
    vectors = labelled(4)
    pictures = tuple(
        IndexedPicture(f"{number:02}.png", name, f"{number:02}", 1, 1)
        for number, name in enumerate(vectors.characters)
    )
    owners = np.repeat(np.arange(len(pictures)), vectors.faces)
    faces = tuple(IndexedFace(int(owner), Face((0, 0, 1, 1), 0.9)) for owner in owners)
    rows = Rows(Contents(pictures, faces, vectors.picture_vectors, vectors.face_vectors))
    starts = np.cumsum(vectors.faces) - vectors.faces
    asking = np.flatnonzero(vectors.faces > 0)

    alike, _ = similarities(vectors.as_searched(), asking, look, WEIGHTS)

    for row, number in enumerate(asking):
        face = None if look is Look.FEEL else vectors.face_vectors[starts[number]]
        picture = None if look is Look.CHARACTER else vectors.picture_vectors[number]
        found = rows.nearest(Query(face, picture, WEIGHTS), len(pictures), pictures[number].sha256)
        assert len(found) == (len(asking) if look is Look.CHARACTER else len(pictures)) - 1
        for neighbour in found:
            place = pictures.index(neighbour.picture)
            assert neighbour.similarity == pytest.approx(float(alike[row, place]), abs=1e-5)


@pytest.mark.parametrize("look", list(Look))
def test_perfect_and_hopeless_vectors(look: Look) -> None:
    eye = np.eye(8, dtype=np.float32)
    names = tuple(f"c{number}" for number in range(4) for _ in range(2))
    one_face = np.ones(8, np.int64)
    twins = eye[np.repeat(np.arange(4), 2)]
    assert measure(LabelledVectors(names, twins, twins, one_face), look, WEIGHTS) == LookFigures(
        1.0, pytest.approx(0.2), 1.0
    )
    strangers = eye[np.tile(np.arange(4), 2)]
    hopeless = measure(LabelledVectors(names, strangers, strangers, one_face), look, WEIGHTS)
    assert hopeless.precision_at_1 == 0.0


def test_pairs_of_one_face_each_have_the_equal_error_rate_of_their_vectors() -> None:
    generator = np.random.default_rng(3)
    labels = np.arange(40) % 5
    vectors = unit(generator, 5, 6)[labels] + 0.8 * unit(generator, 40, 6)
    vectors = np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)
    names = tuple(f"c{label}" for label in labels)
    folder = LabelledVectors(names, vectors, vectors, np.ones(40, np.int64))
    rate, threshold = measure_pairs(folder, Look.CHARACTER, WEIGHTS)
    expected, at = equal_error_rate(vectors, labels)
    assert 0.0 < rate < 0.5
    assert rate == pytest.approx(expected, abs=1e-3)
    assert threshold == pytest.approx(at, abs=1e-3)


@pytest.mark.parametrize("likeness", [COSINE, MANHATTAN])
@pytest.mark.parametrize("seed", range(3))
def test_a_pair_without_two_faces_is_like_nothing_whoever_asks(
    seed: int, likeness: Likeness
) -> None:
    vectors = labelled(seed)
    ends = np.cumsum(vectors.faces)
    faces = [
        vectors.face_vectors[end - count : end]
        for end, count in zip(ends, vectors.faces, strict=True)
    ]
    pairs: dict[bool, list[float]] = {True: [], False: []}
    for one, other in itertools.permutations(range(30), 2):
        alike = -np.inf
        if len(faces[one]) and len(faces[other]):
            alike = float(likeness.between(faces[one][:1], faces[other]).max())
        pairs[vectors.characters[one] == vectors.characters[other]].append(alike)
    expected = equal_error_of(*(np.sort(np.float32(pairs[kind])) for kind in (True, False)))
    found = measure_pairs(vectors, Look.CHARACTER, WEIGHTS, likeness)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_where_faces_alone_are_compared_a_picture_without_one_finds_and_is_found_by_nobody(
    order: tuple[int, ...],
) -> None:
    """Whichever character comes first by path, and wherever in it the one without a face."""
    points = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.6, 0.4], [-1.0, 0.0], [-1.0, 0.1]])
    faces = np.concatenate([points[2 * each : 2 * each + 2] for each in order])
    faces = np.asarray(faces / np.linalg.norm(faces, axis=1, keepdims=True), np.float32)
    names = tuple("abc"[place] for place in range(3) for _ in range(3))
    nothing = np.empty((9, 0), np.float32)
    for count in ([1, 1, 0] * 3, [0, 1, 1] * 3):
        folder = LabelledVectors(names, nothing, faces, np.array(count))
        found = measure(folder, Look.CHARACTER, (1.0, 0.0))
        # Of the six that have a face one finds two strangers first; each has two to find.
        assert found.precision_at_1 == pytest.approx(5 / 9)
        assert found.precision_at_5 == pytest.approx(6 / 5 / 9)
        assert found.mean_average_precision == pytest.approx((5 * 1 + 1 / 3) / 2 / 9)


def test_a_picture_without_a_face_is_taken_for_nobody_where_all_pictures_are_alike() -> None:
    """A method of faces alone gives all whole pictures one vector."""
    faces = np.eye(4, dtype=np.float32)[[0, 0, 1, 1, 2, 2, 3]]
    names = ("a", "a", "b", "b", "c", "c", "d", "d")
    alike = np.ones((8, 1), np.float32)
    folder = LabelledVectors(names, alike, faces, np.array([1] * 7 + [0]))
    rate, threshold = measure_pairs(folder, Look.CHARACTER, WEIGHTS)
    # Of the same pairs, two of eight are like nothing; of the different ones, none is like 1.
    assert (rate, threshold) == (pytest.approx(0.125), 1.0)


def test_pairs_without_a_face_are_compared_as_whole_pictures_where_these_count() -> None:
    vectors = labelled(0)
    faceless = replace(
        vectors, face_vectors=vectors.face_vectors[:0], faces=np.zeros_like(vectors.faces)
    )
    whole = measure_pairs(faceless, Look.FEEL, WEIGHTS)
    assert whole[0] < 0.6
    assert np.isfinite(whole[1])
    assert measure_pairs(faceless, Look.BOTH, WEIGHTS) == whole
    assert measure_pairs(faceless, Look.CHARACTER, WEIGHTS) == (0.5, -np.inf)


def test_ordered_pairs_take_hardly_more_memory_than_their_likenesses() -> None:
    count = 3000
    vectors = unit(np.random.default_rng(0), count, 8)
    names = tuple(f"c{number % 7}" for number in range(count))
    folder = LabelledVectors(names, vectors, vectors, np.ones(count, np.int64))
    tracemalloc.start()
    measure_pairs(folder, Look.BOTH, WEIGHTS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * count**2  # 4, and what is computed together


def test_the_pairs_of_many_pictures_take_no_more_memory_than_those_of_some() -> None:
    count = 9_000
    vectors = unit(np.random.default_rng(0), count, 2)
    names = tuple(f"c{number % 7}" for number in range(count))
    folder = LabelledVectors(names, vectors, vectors[:0], np.zeros(count, np.int64))
    tracemalloc.start()
    rate, _ = measure_pairs(folder, Look.FEEL, WEIGHTS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rate == pytest.approx(0.5, abs=0.01)
    assert peak < count**2  # 4 times as much were they kept


@pytest.mark.parametrize("names", [("a", "a", "a"), ("a", "b", "c")])
def test_pairs_of_one_kind_alone_have_no_equal_error_rate(names: tuple[str, ...]) -> None:
    vectors = unit(np.random.default_rng(3), 3, 6)
    folder = LabelledVectors(names, vectors, vectors, np.ones(3, np.int64))
    with pytest.raises(ValueError, match="pairs of one label and pairs of two"):
        measure_pairs(folder, Look.CHARACTER, WEIGHTS)


def test_distances_rank_the_nearest_first_and_pictures_without_a_face_in_between() -> None:
    points = np.array([[0.0, 0.0], [1.0, 0.0], [9.0, 0.0], [4.0, 0.0]], np.float32)
    faces = np.array([1, 1, 1, 0])
    folder = LabelledVectors(("a", "a", "b", "b"), points, points[:3], faces)
    alike, feel = similarities(folder, np.array([0]), Look.BOTH, (1.0, 1.0), MANHATTAN)
    average = (0 + 1 + 9) / 3
    assert alike[0] == pytest.approx([0, -2, -18, -4 - average])
    assert feel[0] == pytest.approx([0, -1, -9, -4])
    alike, _ = similarities(folder, np.array([0]), Look.CHARACTER, (1.0, 1.0), MANHATTAN)
    assert alike[0].tolist() == [0, -1, -9, -np.inf]


def test_more_askers_than_are_ranked_together() -> None:
    generator = np.random.default_rng(0)
    centres = unit(generator, 30, 16)[np.arange(600) % 30]
    vectors = centres + 0.2 * unit(generator, 600, 16)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"c{number % 30}" for number in range(600))
    one_face = np.ones(600, np.int64)
    figures = measure(LabelledVectors(names, vectors, vectors, one_face), Look.BOTH, WEIGHTS)
    assert figures.precision_at_1 == 1.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    drawn_gallery(tmp_path, each=4)
    save(drawn_scene([], background=900), tmp_path / "blue" / "from behind.png")
    save(drawn_scene([("blue", 100, 100, 40)]), tmp_path / "flat.png")
    save(drawn_scene([("dark", 150, 120, 40)], background=901), tmp_path / "once" / "0.png")
    (tmp_path / "blue" / "broken.png").write_bytes(b"no")
    return tmp_path


def test_a_folder_is_measured_under_every_look(folder: Path) -> None:
    figures = evaluate_folder(folder, FakeDetector(), FakeExtractor())
    assert set(figures.looks) == set(Look)
    assert (figures.pictures, figures.asked, figures.characters) == (22, 21, len(HAIR) + 1)
    assert figures.without_face == pytest.approx(1 / 22)
    assert [path for path, _ in figures.unreadable] == ["blue/broken.png"]
    assert figures.looks[Look.CHARACTER].precision_at_1 >= 0.9
    feel = figures.looks[Look.FEEL]
    assert feel.mean_average_precision < figures.looks[Look.CHARACTER].mean_average_precision


def test_both_is_measured_with_the_weights_that_the_extractor_names(folder: Path) -> None:
    extractor = FakeExtractor()
    extractor.weights_of_both = (0.0, 1.0)
    looks = evaluate_folder(folder, FakeDetector(), extractor).looks
    assert looks[Look.BOTH] == looks[Look.FEEL] != looks[Look.CHARACTER]


def test_a_picture_answers_with_all_of_its_faces(tmp_path: Path) -> None:
    """Not only with the most confident one, here that of somebody else, by which it asks."""
    small, large = ("coral", 70, 120, 14), ("dark", 220, 120, 40)
    save(drawn_scene([small], background=0), tmp_path / "coral" / "0.png")
    save(drawn_scene([small, large], background=1), tmp_path / "coral" / "1.png")
    for number in (2, 3):
        other = drawn_scene([("amber", 70, 120, 14)], background=number)
        save(other, tmp_path / "amber" / f"{number}.png")
    figures = evaluate_folder(tmp_path, FakeDetector(), FakeExtractor(), looks=[Look.CHARACTER])
    assert figures.looks[Look.CHARACTER].precision_at_1 == 1.0


def test_copies_of_a_file_neither_answer_for_it_nor_ask(folder: Path) -> None:
    """Whichever character's folder they lie in, and whatever their names."""
    expected = evaluate_folder(folder, FakeDetector(), FakeExtractor())
    for number, copy in enumerate(("blue/9.png", "blue/deeper/1.png", "coral/9.png", "new/1.png")):
        (folder / copy).parent.mkdir(exist_ok=True)
        shutil.copy(folder / "blue" / f"{number % 4}.png", folder / copy)
    shutil.copy(folder / "amber" / "0.png", folder / "0.png")  # of no character
    figures = evaluate_folder(folder, FakeDetector(), FakeExtractor())
    assert figures.copies == ("blue/9.png", "blue/deeper/1.png", "coral/9.png", "new/1.png")
    assert replace(figures, copies=()) == expected


def test_two_copies_of_one_picture_are_nothing_to_find_again(tmp_path: Path) -> None:
    picture = save(drawn_scene([("blue", 100, 100, 40)]), tmp_path / "blue" / "1.png")
    shutil.copy(picture, tmp_path / "blue" / "2.png")
    save(drawn_scene([]), tmp_path / "other" / "1.png")
    with pytest.raises(Problem, match="two pictures of at least one"):
        evaluate_folder(tmp_path, FakeDetector(), FakeExtractor())


def test_only_the_looks_asked_for_are_measured(folder: Path) -> None:
    figures = evaluate_folder(folder, FakeDetector(), FakeExtractor(), looks=[Look.FEEL])
    assert set(figures.looks) == {Look.FEEL}
    assert set(figures.equal_error_rates) == {Look.FEEL}


def test_crops_are_faces_already(tmp_path: Path) -> None:
    for name in HAIR:
        for place in range(3):
            crop = drawn_scene([(name, 32, 32 + place, 18)], size=(64, 64), background=place)
            save(crop, tmp_path / name / f"{place}.png")
    figures = evaluate_folder(tmp_path, None, FakeExtractor())
    assert figures.without_face == 0
    assert figures.looks[Look.CHARACTER].precision_at_1 > 0.9


@pytest.mark.parametrize("places", [("a/1", "b/1"), ("a/1", "a/2"), ("all/a/1", "all/b/1")])
def test_a_folder_without_characters_says_what_it_needs(
    places: tuple[str, ...], tmp_path: Path
) -> None:
    """Also where all are of one, such as in a folder one too high: 1.000 would say nothing."""
    for number, place in enumerate(places):
        save(drawn_scene([], background=number), tmp_path / f"{place}.png")
    with pytest.raises(Problem, match="one folder for each character, two characters or more"):
        evaluate_folder(tmp_path, FakeDetector(), FakeExtractor())
