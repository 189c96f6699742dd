"""Given a folder, the arrays and boxes that come out of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import core.embed
from core.embed import (
    BATCH,
    FACES_AT_ONCE,
    above_threshold,
    check_characters,
    detect_folder,
    embed_batch,
    embed_faces,
    embed_folder,
    most_confident,
    save_detections,
    save_vectors,
)
from core.face import Face, largest
from core.picture import Limits, Picture, read
from core.problem import Problem
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_scene, save

DETECTOR, EXTRACTOR = FakeDetector(), FakeExtractor()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    save(drawn_scene([("blue", 100, 110, 40)], background=1), root / "b" / "one.png")
    heads = [("dark", 70, 110, 25), ("coral", 220, 110, 36), ("amber", 150, 40, 8)]
    save(drawn_scene(heads, background=2), root / "b" / "deep" / "two.png")
    save(drawn_scene([("blue", 100, 110, 8)], background=3), root / "a" / "small.png")
    save(drawn_scene([], background=4), root / "none.png")
    (root / "b" / "broken.png").write_bytes(b"no picture")
    return root


SORTED = ("a/small.png", "b/deep/two.png", "b/one.png", "none.png")


def test_the_arrays_of_a_folder(folder: Path, tmp_path: Path) -> None:
    vectors = embed_folder(folder, DETECTOR, EXTRACTOR)
    [(path, reason)] = vectors.unreadable
    assert path == "b/broken.png"
    assert reason.startswith("not a picture")
    save_vectors(vectors, tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert set(arrays) == {"path", "face_count", "character", "feel"}
    assert tuple(arrays["path"]) == SORTED
    assert list(arrays["face_count"]) == [0, 2, 1, 0]
    assert arrays["character"].shape == (4, 12)
    assert arrays["feel"].shape == (4, 27)
    lengths = np.linalg.norm(arrays["character"], axis=1)
    assert lengths == pytest.approx([0, 1, 1, 0], abs=1e-5)
    assert np.all(arrays["character"][[0, 3]] == 0)
    assert np.linalg.norm(arrays["feel"], axis=1) == pytest.approx(1, abs=1e-5)


def test_the_vector_is_that_of_the_most_confident_face(folder: Path) -> None:
    vectors = embed_folder(folder, DETECTOR, EXTRACTOR)
    pixels = read(folder / "b" / "deep" / "two.png").pixels
    [faces] = DETECTOR.detect([pixels])
    assert faces[0] == largest(faces, 1)[0]  # coral, here also the largest
    crop = EXTRACTOR.prepare_face(pixels, faces[0].box)
    assert vectors.character[1] == pytest.approx(EXTRACTOR.embed_faces(crop[None])[0])


def test_crops_are_faces_already_and_no_detector_is_asked(folder: Path) -> None:
    vectors = embed_folder(folder, None, EXTRACTOR)
    assert list(vectors.face_count) == [1, 1, 1, 1]
    assert vectors.paths == SORTED
    for path, character, feel in zip(vectors.paths, vectors.character, vectors.feel, strict=True):
        pixels = read(folder / path).pixels
        crop = EXTRACTOR.prepare_face(pixels, None)[None]
        assert character == pytest.approx(EXTRACTOR.embed_faces(crop)[0])
        whole = EXTRACTOR.prepare_picture(pixels)[None]
        assert feel == pytest.approx(EXTRACTOR.embed_pictures(whole)[0])


def test_many_pictures_come_out_as_one_by_one(tmp_path: Path) -> None:
    """Batches are an inner matter: rows must stay with their paths over their borders."""
    for number in range(2 * BATCH + 3):
        heads = [("coral", 60 + 40 * place, 110, 18) for place in range(number % 4)]
        save(drawn_scene(heads, background=number), tmp_path / f"{number:03}.png")
    vectors = embed_folder(tmp_path, DETECTOR, EXTRACTOR)
    for row, path in enumerate(vectors.paths):
        [alone] = embed_batch(
            [read(tmp_path / path).pixels], DETECTOR, EXTRACTOR, most_confident(DETECTOR)
        )
        assert vectors.feel[row] == pytest.approx(alone.picture_vector, abs=1e-6)
        expected = alone.face_vectors[0] if len(alone.face_vectors) else np.zeros(12)
        assert vectors.character[row] == pytest.approx(expected, abs=1e-6)
        assert vectors.face_count[row] == row % 4


def test_a_score_at_the_threshold_makes_a_face() -> None:
    sure, just, no = (
        Face((40.0 * place, 0.0, 40.0 * place + 20, 20.0), score)
        for place, score in enumerate((0.75, 0.5, 0.49))
    )
    assert above_threshold(FakeDetector(0.5))((sure, just, no)) == (sure, just)
    assert most_confident(FakeDetector(0.5))((sure, just, no)) == (sure,)
    assert most_confident(FakeDetector(0.5))((just, no)) == (just,)


def test_a_face_is_prepared_by_its_box_and_its_landmarks() -> None:
    class Noting(FakeExtractor):
        def prepare_face(self, pixels, box, points=None):
            noted.append((box, points))
            return super().prepare_face(pixels, box, points)

    noted: list[tuple[object, object]] = []
    box = (60.0, 70.0, 140.0, 150.0)
    points = ((80.0, 90.0), (120.0, 90.0), (100.0, 110.0), (85.0, 130.0), (115.0, 130.0))
    faces = (Face(box, 1.0, points), Face(box, 0.9))
    embed_faces(Noting(), [drawn_scene([("blue", 100, 110, 40)])], [faces])
    assert noted == [(box, points), (box, None)]


def test_however_many_faces_there_are_few_go_through_the_models_together() -> None:
    class Counting(FakeExtractor):
        def embed_faces(self, faces):
            together.append(len(faces))
            return super().embed_faces(faces)

    together: list[int] = []
    head = np.asarray(drawn_scene([("blue", 100, 110, 40)]))
    boxes = [tuple(Face((60.0, 70.0, 140.0 + n, 150.0), 1.0) for n in range(each))
             for each in (0, FACES_AT_ONCE + 5, 0, FACES_AT_ONCE, 3)]  # fmt: skip
    assert embed_faces(Counting(), [], []) == []
    vectors = embed_faces(Counting(), [head] * len(boxes), boxes)
    assert sum(together) == 2 * FACES_AT_ONCE + 8
    assert max(together) == FACES_AT_ONCE
    assert [len(its_vectors) for its_vectors in vectors] == list(map(len, boxes))
    for its_vectors, its_faces in zip(vectors, boxes, strict=True):
        for vector, face in zip(its_vectors, its_faces, strict=True):
            [[alone]] = embed_faces(FakeExtractor(), [head], [(face,)])
            assert vector == pytest.approx(alone, abs=1e-6)


def test_every_box_is_listed_with_its_score(folder: Path, tmp_path: Path) -> None:
    detections = detect_folder(folder, DETECTOR)
    save_detections(detections, tmp_path / "out.json")
    form = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert tuple(form) == SORTED
    assert [len(form[path]) for path in SORTED] == [1, 3, 1, 0]  # also those below the threshold
    assert form["b/one.png"] == [
        {"box": pytest.approx([60, 70, 141, 151], abs=1), "score": pytest.approx(0.99)}
    ]
    scores = [it["score"] for it in form["b/deep/two.png"]]
    assert scores == sorted(scores, reverse=True)
    assert [path for path, _ in detections.unreadable] == ["b/broken.png"]


def test_boxes_are_in_pixels_after_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = drawn_scene([("blue", 60, 80, 30)], (160, 320))
    Image.fromarray(upright).rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    [face] = detect_folder(tmp_path, DETECTOR).faces["turned.png"]
    assert face.box == pytest.approx((30, 50, 91, 111), abs=1)


def test_progress_reaches_the_end(folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    embed_folder(folder, DETECTOR, EXTRACTOR, lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 5)
    assert seen[-1] == (5, 5)


def test_a_folder_without_a_picture_or_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="no picture"):
        embed_folder(tmp_path, DETECTOR, EXTRACTOR)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(Problem, match="no picture"):
        detect_folder(tmp_path, DETECTOR)
    with pytest.raises(Problem, match="does not exist"):
        detect_folder(tmp_path / "nothing", DETECTOR)


def test_a_folder_with_two_pictures_of_a_character_can_be_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []

    def note(path: Path, limits: Limits) -> Picture:
        opened.append(path)
        return read(path, limits)

    monkeypatch.setattr(core.embed, "read", note)
    for number in range(200):
        save(drawn_scene([], size=(32, 24)), folder / "c" / f"{number}.png")
    check_characters(folder)
    assert 0 < len(opened) < 100  # it is not read to its end


def test_a_folder_in_which_no_character_has_two_pictures_cannot_be_measured(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for place, key in (("empty", "folder_without_pictures"), ("nowhere", "folder_missing")):
        with pytest.raises(Problem) as raised:
            check_characters(tmp_path / place)
        assert raised.value.key == key
    (folder / "b" / "one.png").write_bytes(b"no picture")
    with pytest.raises(Problem) as raised:
        check_characters(folder)
    assert raised.value.key == "folder_without_characters"


def test_a_file_that_cannot_be_written_says_so_and_leaves_nothing(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(Problem, match="cannot be written"):
        save_detections(detect_folder(folder, DETECTOR), tmp_path / "taken")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "taken"]
