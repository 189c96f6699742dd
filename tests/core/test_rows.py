"""Given rows of faces and pictures, which are nearest; checked against plain loops."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from annoy import AnnoyIndex
from numpy.typing import NDArray

from core.face import Face
from core.face_space import AS_THEY_ARE, FEWEST, FaceSpace
from core.look import Look
from core.neighbourhood import Neighbourhoods
from core.rows import METRIC, Contents, IndexedFace, IndexedPicture, Query, Rows
from tests.core.directions import unit

WEIGHTS = (0.7, 0.3)


def some_contents(pictures: int = 60, seed: int = 0, copies: int = 0) -> Contents:
    """Pictures with no face, one or two; the last `copies` are copies of the first."""
    generator = np.random.default_rng(seed)
    picture_vectors = unit(generator, pictures, 6)
    faces: list[IndexedFace] = []
    face_vectors: list[NDArray[np.float32]] = []
    per_picture: list[list[NDArray[np.float32]]] = []
    for number in range(pictures):
        original = number - (pictures - copies)
        if original >= 0:
            picture_vectors[number] = picture_vectors[original]
            its = per_picture[original]
        else:
            its = [unit(generator, 8) for _ in range(number % 3)]
        per_picture.append(its)
        for place, vector in enumerate(its):
            box = (10.0 * place, 0.0, 10.0 * place + 9, 9.0)
            faces.append(IndexedFace(number, Face(box, 0.9)))
            face_vectors.append(vector)
    indexed = []
    for number in range(pictures):
        original = number - (pictures - copies)
        content = f"{original if original >= 0 else number:064x}"
        indexed.append(IndexedPicture(f"c{number % 4}/{number:03}.png", "c", content, 10, 10))
    return Contents(tuple(indexed), tuple(faces), picture_vectors, np.stack(face_vectors))


def of_first_files(contents: Contents) -> list[bool]:
    """Of each face whether no file before its own has the same content."""
    hashes = [picture.sha256 for picture in contents.pictures]
    return [hashes.index(hashes[face.picture]) == face.picture for face in contents.faces]


def in_its_space(contents: Contents, face: NDArray[np.float32]) -> NDArray[np.float64]:
    """A face as it is compared in this gallery, which has faces enough."""
    wide = contents.face_vectors[of_first_files(contents)].astype(np.float64)
    mean = wide.mean(0)
    _, lengths, directions = np.linalg.svd(wide - mean, full_matrices=False)
    moved = (face - mean) @ directions.T * lengths @ directions
    moved /= np.sqrt(np.sum(moved**2))
    return np.concatenate([np.sqrt(AS_THEY_ARE) * face, np.sqrt(1 - AS_THEY_ARE) * moved])


def as_they_answer(contents: Contents, without: str = "") -> list[NDArray[np.float64]]:
    """Every face with the four most like it that are not of the picture that asks, in loops.

    Nor are they its own in a copy, and of copies the first counts.
    """
    faces = [in_its_space(contents, vector) for vector in contents.face_vectors]
    hashes = [contents.pictures[face.picture].sha256 for face in contents.faces]
    boxes = [face.face.box for face in contents.faces]
    there = [
        first and content != without
        for first, content in zip(of_first_files(contents), hashes, strict=True)
    ]
    answers = []
    for number, face in enumerate(faces):
        others = [
            (-float(face @ other), place)
            for place, other in enumerate(faces)
            if there[place] and (hashes[place], boxes[place]) != (hashes[number], boxes[number])
        ]
        joined = face.copy()
        for cosine, place in sorted(others)[:4]:
            joined += 0.25 * max(0.0, -cosine) ** 2 * faces[place]
        answers.append(joined / np.sqrt(joined @ joined))
    return answers


def plainly(contents: Contents, query: Query, count: int, without: str) -> list[tuple[str, float]]:
    """What `nearest` has to give, in loops: path and similarity."""
    best: dict[str, tuple[float, int, str]] = {}
    answers = as_they_answer(contents, without)
    for number, picture in enumerate(contents.pictures):
        if picture.sha256 == without:
            continue
        feel = 0.0
        if query.picture is not None:
            feel = float(np.dot(contents.picture_vectors[number], query.picture))
        faces = [
            float(np.dot(answer, in_its_space(contents, query.face)))
            for face, answer in zip(contents.faces, answers, strict=True)
            if face.picture == number and query.face is not None
        ]
        if query.look is Look.FEEL:
            similarity = feel
        elif query.look is Look.CHARACTER:
            if not faces:
                continue
            similarity = max(faces)
        else:
            a, b = query.weights
            similarity = a * max(faces, default=0.0) + b * feel
        if picture.sha256 not in best:
            best[picture.sha256] = (-similarity, number, picture.path)
    nearest = sorted(best.values())[:count]
    return [(path, -similarity) for similarity, _, path in nearest]


def queries(seed: int) -> list[Query]:
    generator = np.random.default_rng(seed)
    face, picture = unit(generator, 8), unit(generator, 6)
    return [Query(face, picture, WEIGHTS), Query(face, None), Query(None, picture)]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("count", [1, 4, 60])
@pytest.mark.parametrize("look", range(3))
def test_exact_search_agrees_with_plain_loops(seed: int, count: int, look: int) -> None:
    contents = some_contents(seed=seed, copies=5)
    query = queries(seed + 10)[look]
    without = contents.pictures[5].sha256  # two faces, that are others' neighbours
    found = Rows(contents).nearest(query, count, without)
    expected = plainly(contents, query, count, without)
    assert [n.picture.path for n in found] == [path for path, _ in expected]
    assert [n.similarity for n in found] == pytest.approx([s for _, s in expected], abs=1e-5)


def without_copies(contents: Contents) -> Contents:
    """The same gallery, of each content the first file alone, which all lie before the copies."""
    of_faces = of_first_files(contents)
    kept = len({picture.sha256 for picture in contents.pictures})
    return Contents(
        contents.pictures[:kept],
        contents.faces[: sum(of_faces)],
        contents.picture_vectors[:kept],
        contents.face_vectors[of_faces],
    )


def test_faces_of_a_gallery_without_copies_answer_in_its_space_with_their_neighbours() -> None:
    contents = some_contents()
    space = FaceSpace(contents.face_vectors)
    neighbourhoods = Neighbourhoods(space.of(contents.face_vectors))
    rows = Rows(contents)
    assert np.array_equal(rows.joined()[: len(contents.faces), :16], neighbourhoods.joined)
    assert np.array_equal(rows.nearest_faces, neighbourhoods.nearest)


def test_copies_change_nothing_and_get_what_the_first_file_gets() -> None:
    """Five and more of one picture would be each other's nearest, and weigh in the space."""
    alone = some_contents(60)
    picture = alone.pictures[5]
    its_own = [number for number, face in enumerate(alone.faces) if face.picture == 5]
    places = range(60, 67)
    copied = Contents(
        alone.pictures + tuple(replace(picture, path=f"z/{place}.png") for place in places),
        alone.faces
        + tuple(replace(alone.faces[own], picture=place) for place in places for own in its_own),
        np.concatenate([alone.picture_vectors, *[alone.picture_vectors[5:6]] * 7]),
        np.concatenate([alone.face_vectors, *[alone.face_vectors[its_own]] * 7]),
    )
    rows, expected = Rows(copied), Rows(alone)

    assert np.array_equal(rows.nearest_faces, expected.nearest_faces)
    joined, of_one = rows.joined(), expected.joined()
    assert np.array_equal(joined[: len(alone.faces)], of_one[: len(alone.faces)])
    copies = joined[len(alone.faces) : len(copied.faces)]
    assert np.array_equal(copies, np.tile(of_one[its_own], (7, 1)))
    for query in queries(3):
        for without in ("", picture.sha256, alone.pictures[8].sha256):
            found, once = (each.nearest(query, 12, without) for each in (rows, expected))
            assert [it.picture for it in found] == [it.picture for it in once]
            alike = [it.similarity for it in once]
            assert [it.similarity for it in found] == pytest.approx(alike, abs=1e-6)


def test_copies_of_a_few_faces_are_not_faces_enough_for_a_space() -> None:
    contents = some_contents(pictures=16, copies=8)
    alone = without_copies(contents)
    assert len(alone.faces) < FEWEST <= len(contents.faces)
    joined = Rows(contents).joined()
    assert np.array_equal(joined[: len(alone.faces), :8], alone.face_vectors)
    assert joined.shape[1] == 8 + 6 + 1


def test_every_row_has_the_same_length_so_that_angles_rank_like_weighted_cosines() -> None:
    contents = some_contents()
    rows = Rows(contents)
    joined = rows.joined()
    assert np.linalg.norm(joined, axis=1) == pytest.approx(math.sqrt(2), abs=1e-5)
    # Without the constant a picture without a face would be shorter, and rank too high.
    for query in queries(1):
        assert query.look in Look
        asked = np.concatenate(
            [
                np.zeros(16)
                if query.face is None
                else WEIGHTS[0] * in_its_space(contents, query.face),
                np.zeros(6) if query.picture is None else WEIGHTS[1] * query.picture,
                [0.0],
            ]
        )
        of_annoy = rows._joined(query)
        expected = asked * np.linalg.norm(of_annoy) / np.linalg.norm(asked)
        assert of_annoy == pytest.approx(expected, abs=1e-5)
        similarities, numbers = rows._all_similarities(query, "")
        by_angle = joined[numbers] @ asked
        assert np.array_equal(np.argsort(by_angle), np.argsort(similarities))


def test_the_face_that_matched_is_named() -> None:
    contents = some_contents()
    rows = Rows(contents)
    wanted = contents.faces[2]  # the second of picture 2
    assert (wanted.picture, contents.faces[1].picture) == (2, 2)
    [nearest] = rows.nearest(Query(contents.face_vectors[2], None), 1)
    assert nearest.picture == contents.pictures[2]
    assert nearest.face == wanted.face
    assert nearest.face_similarity == pytest.approx(1.0, abs=1e-5)


def test_faces_are_ranked_in_their_gallerys_space_and_held_against_thresholds_as_they_are() -> None:
    contents = some_contents()
    face = unit(np.random.default_rng(6), 8)
    number = {(*place.face.box, place.picture): row for row, place in enumerate(contents.faces)}
    answers = as_they_answer(contents)

    found = Rows(contents).nearest(Query(face, None), 12)

    for neighbour in found:
        assert neighbour.face is not None
        picture = contents.pictures.index(neighbour.picture)
        row = number[(*neighbour.face.box, picture)]
        own = contents.face_vectors[row]
        assert neighbour.face_similarity == pytest.approx(float(own @ face), abs=1e-5)
        moved = answers[row] @ in_its_space(contents, face)
        assert neighbour.similarity == pytest.approx(float(moved), abs=1e-5)


def test_a_picture_without_a_face_answers_both_and_feel_but_not_character() -> None:
    contents = some_contents()
    rows = Rows(contents)
    assert not [face for face in contents.faces if face.picture == 0]
    face, picture = unit(np.random.default_rng(5), 8), contents.picture_vectors[0]
    everything = len(contents.pictures)
    both = rows.nearest(Query(face, picture, (0.1, 0.9)), everything)
    assert both[0].picture == contents.pictures[0]
    assert both[0].face is None
    assert both[0].similarity == pytest.approx(0.9, abs=1e-5)
    assert rows.nearest(Query(None, picture), 1)[0].picture == contents.pictures[0]
    answered = {n.picture.path for n in rows.nearest(Query(face, None), everything)}
    assert contents.pictures[0].path not in answered
    assert len(answered) == len({face.picture for face in contents.faces})


def test_rows_without_any_face_still_answer_by_feel() -> None:
    pictures = unit(np.random.default_rng(0), 3, 6)
    indexed = tuple(IndexedPicture(f"{n}.png", None, f"{n:064x}", 9, 9) for n in range(3))
    rows = Rows(Contents(indexed, (), pictures, np.zeros((0, 8), np.float32)))
    face = unit(np.random.default_rng(1), 8)
    assert rows.nearest(Query(face, None), 3) == ()
    assert len(rows.nearest(Query(face, pictures[1], WEIGHTS), 9)) == 3
    assert rows.nearest(Query(None, pictures[1]), 1)[0].picture == indexed[1]


@pytest.mark.parametrize("count", [1, 5, 12])
def test_of_pictures_that_are_equally_alike_the_first_by_path_comes_first(count: int) -> None:
    """Whether it has a face or not: rows of faces come before the others."""
    contents = some_contents(12)
    alike = np.zeros((12, 6), np.float32)
    alike[:, 0] = 1
    rows = Rows(Contents(contents.pictures, contents.faces, alike, contents.face_vectors))
    found = rows.nearest(Query(contents.face_vectors[0], alike[0], (0.0, 1.0)), count)
    assert [it.picture for it in found] == list(contents.pictures[:count])


def test_a_query_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="a face, a picture or both"):
        Query(None, None)


def with_trees(contents: Contents, search_k: int) -> Rows:
    rows = Rows(contents)
    joined = rows.joined()
    trees = AnnoyIndex(joined.shape[1], METRIC)
    trees.set_seed(1)
    for number, row in enumerate(joined):
        trees.add_item(number, row)
    trees.build(20, n_jobs=1)
    return Rows(contents, trees, dict.fromkeys(Look, search_k))


@pytest.mark.parametrize("look", range(3))
def test_annoy_proposes_and_exact_cosines_order(look: int) -> None:
    contents = some_contents(pictures=400, copies=30)
    rows = with_trees(contents, search_k=100_000)
    for seed in range(5):
        query = queries(seed)[look]
        without = contents.pictures[seed].sha256
        found = rows.nearest_by_trees(query, 6, without, 100_000)
        assert found == rows.nearest_exactly(query, 6, without)
        found, exact = (
            {it.picture for it in search(query, 400, without, *nodes)}
            for search, nodes in ((rows.nearest_by_trees, [100_000]), (rows.nearest_exactly, []))
        )
        assert found == exact, "of those, too, that have no face"


def test_pictures_without_a_face_compete_under_feel_however_few_nodes_are_inspected() -> None:
    generator = np.random.default_rng(0)
    pictures = unit(generator, 400, 6)
    faces = tuple(IndexedFace(n, Face((0.0, 0.0, 5.0, 5.0), 0.9)) for n in range(1, 400, 2))
    indexed = tuple(IndexedPicture(f"{n:03}.png", None, f"{n:064x}", 9, 9) for n in range(400))
    rows = with_trees(Contents(indexed, faces, pictures, unit(generator, 200, 8)), 100)
    for without_face in range(0, 400, 2):
        query = Query(None, pictures[without_face])
        (nearest,) = rows.nearest_by_trees(query, 1, "", 100)
        assert nearest.picture == indexed[without_face]


@pytest.mark.parametrize("look", Look)
def test_where_annoy_proposes_too_few_pictures_exact_search_answers(look: Look) -> None:
    """A picture of a crowd, whose faces are alike, fills all candidates."""
    generator = np.random.default_rng(0)
    pictures = unit(generator, 30, 6)
    crowd = unit(generator, 8) + 0.05 * unit(generator, 200, 8)
    crowd = np.asarray(crowd / np.linalg.norm(crowd, axis=1, keepdims=True), np.float32)
    owners = [0] * 200 + list(range(1, 30))
    faces = tuple(IndexedFace(n, Face((0.0, 0.0, 5.0, 5.0), 0.9)) for n in owners)
    indexed = tuple(IndexedPicture(f"{n:02}.png", None, f"{n:064x}", 9, 9) for n in range(30))
    vectors = np.concatenate([crowd, unit(generator, 29, 8)])
    rows = with_trees(Contents(indexed, faces, pictures, vectors), 100_000)
    query = Query(
        None if look is Look.FEEL else crowd[0],
        None if look is Look.CHARACTER else pictures[0],
    )
    assert len(rows.nearest_by_trees(query, 4, "", 100_000)) < 4
    found = rows.nearest(query, 4)
    assert len(found) == 4
    assert found == rows.nearest_exactly(query, 4, "")


@pytest.mark.parametrize("look", Look)
def test_rows_that_are_drawn_as_queries_leave_their_own_picture_out(look: Look) -> None:
    """Else each would find itself, and recall would seem higher than it is."""
    contents = some_contents(copies=5)
    for query, without in Rows(contents).sample_queries(look, WEIGHTS, 40, seed=0):
        assert query.look is look
        if query.face is None:
            number = int((contents.picture_vectors == query.picture).all(1).argmax())
        else:
            number = contents.faces[(contents.face_vectors == query.face).all(1).argmax()].picture
        assert without == contents.pictures[number].sha256


def test_asking_rows_without_trees_for_candidates_is_an_error() -> None:
    with pytest.raises(ValueError, match="no trees"):
        Rows(some_contents()).nearest_by_trees(queries(0)[0], 1, "", 10)
