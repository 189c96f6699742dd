"""What a detector finds, and what it takes for a face."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.evaluate_detector import Found, evaluate_boxed, evaluate_plain, false_alarms
from core.face import Face, Pixels
from core.faceless import Faceless, Kind
from core.voc import Annotation, AnnotationError
from tests.core.fakes import FakeDetector, drawn_scene, save


class Answers:
    """Gives each picture what the number in its first pixel stands for."""

    name = "answers"
    sha256 = "0" * 64
    threshold = 0.5

    def __init__(self, *answers: tuple[Face, ...]) -> None:
        self._answers = answers
        self.batches: list[int] = []

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """The answer of each picture's number."""
        self.batches.append(len(images))
        return [self._answers[image[0, 0, 0]] for image in images]


def numbered(folder: Path, number: int, *boxes: tuple[float, float, float, float]) -> Annotation:
    pixels = np.full((60, 80, 3), number, np.uint8)
    path = save(pixels, folder / f"{number}.png")
    return Annotation(path, np.array(boxes, np.float32).reshape(-1, 4), ("face",) * len(boxes))


def test_figures_of_boxed_pictures(tmp_path: Path) -> None:
    here, there = (0.0, 0.0, 20.0, 20.0), (40.0, 30.0, 60.0, 50.0)
    annotations = [
        numbered(tmp_path, 0, here, there),  # the second is found below the threshold alone
        numbered(tmp_path, 1, here),  # missed, and something else taken for a face
        numbered(tmp_path, 2),  # nothing there, nothing found
    ]
    detector = Answers((Face(here, 0.9), Face(there, 0.3)), (Face(there, 0.6),), ())
    progress: list[tuple[int, int]] = []

    figures, found = evaluate_boxed(annotations, detector, lambda *done: progress.append(done))

    # By score: right (1 of 1), wrong, right (2 of 3), of three faces: 1/3 * 1 + 1/3 * 2/3.
    assert figures.average_precision == pytest.approx(1 / 3 + 2 / 9)
    assert (figures.precision, figures.recall) == (0.5, pytest.approx(1 / 3))
    assert (figures.boxes, figures.pictures) == (3, 3)
    assert found == Found(pictures=2, with_box=2)
    assert progress[-1] == (3, 3)


def test_a_second_box_on_a_face_is_wrong_although_another_face_beside_it_is_free(
    tmp_path: Path,
) -> None:
    """Two heads close together; both boxes lie on the first."""
    one, other = (0.0, 0.0, 20.0, 20.0), (6.0, 0.0, 26.0, 20.0)
    detector = Answers((Face((1.0, 0.0, 21.0, 20.0), 0.9), Face((2.0, 0.0, 22.0, 20.0), 0.8)))
    figures, _ = evaluate_boxed([numbered(tmp_path, 0, one, other)], detector)
    assert figures.average_precision == 0.5
    detector = Answers((Face((1.0, 0.0, 21.0, 20.0), 0.9), Face((4.0, 0.0, 24.0, 20.0), 0.8)))
    figures, _ = evaluate_boxed([numbered(tmp_path, 0, one, other)], detector)
    assert figures.average_precision == 1.0


@pytest.mark.parametrize(
    ("scores", "expected"), [((0.9, 0.8), (1.0, 1.0)), ((0.8, 0.9), (0.0, 0.0))]
)
def test_at_the_threshold_a_box_around_another_one_is_no_face_as_wherever_faces_are_used(
    tmp_path: Path, scores: tuple[float, float], expected: tuple[float, float]
) -> None:
    face, around = (10.0, 10.0, 30.0, 30.0), (0.0, 0.0, 50.0, 50.0)
    detector = Answers((Face(face, scores[0]), Face(around, scores[1])))
    figures, found = evaluate_boxed([numbered(tmp_path, 0, face)], detector)
    assert (figures.precision, figures.recall) == expected
    assert figures.average_precision == (1.0 if scores[0] > scores[1] else 0.5)
    assert found == Found(pictures=1, with_box=1)


def test_a_box_where_nothing_is_boxed_is_wrong_and_in_no_picture_with_a_face(
    tmp_path: Path,
) -> None:
    here = (0.0, 0.0, 20.0, 20.0)
    annotations = [numbered(tmp_path, 0, here), numbered(tmp_path, 1)]
    figures, found = evaluate_boxed(annotations, Answers((), (Face(here, 0.9),)))
    assert (figures.precision, figures.recall, figures.pictures) == (0.0, 0.0, 2)
    assert found == Found(pictures=1, with_box=0)


def test_a_box_at_the_threshold_counts_and_so_does_half_an_overlap(tmp_path: Path) -> None:
    annotations = [numbered(tmp_path, 0, (0.0, 0.0, 20.0, 20.0))]
    detector = Answers((Face((0.0, 0.0, 20.0, 10.0), 0.5),))
    figures, found = evaluate_boxed(annotations, detector)
    assert (figures.average_precision, figures.precision, figures.recall) == (1.0, 1.0, 1.0)
    assert found == Found(pictures=1, with_box=1)


def test_nothing_found_has_no_precision(tmp_path: Path) -> None:
    annotations = [numbered(tmp_path, 0, (0.0, 0.0, 20.0, 20.0))]
    figures, found = evaluate_boxed(annotations, Answers(()))
    assert figures.precision is None
    assert (figures.average_precision, figures.recall, found.share) == (0.0, 0.0, 0.0)


def test_a_boxed_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    annotation = numbered(tmp_path, 0, (0.0, 0.0, 20.0, 20.0))
    annotation.picture.write_text("no picture")
    with pytest.raises(AnnotationError, match=r"0\.png: not a picture"):
        evaluate_boxed([annotation], Answers(()))


def test_boxes_that_all_lie_beyond_their_pictures_are_told_with_the_name_of_one(
    tmp_path: Path,
) -> None:
    """The pictures were scaled down after they had been boxed."""
    annotations = [numbered(tmp_path, 1), numbered(tmp_path, 0, (90.0, 70.0, 120.0, 100.0))]
    with pytest.raises(AnnotationError, match=r"beyond their pictures, those of .*/0\.png"):
        evaluate_boxed(annotations, Answers((), ()))


def test_pictures_without_boxes_are_counted(tmp_path: Path) -> None:
    save(drawn_scene([("blue", 160, 120, 40)]), tmp_path / "a" / "1.png")
    save(drawn_scene([]), tmp_path / "a" / "2.png")
    (tmp_path / "broken.png").write_text("no picture")
    found, unreadable = evaluate_plain(tmp_path, FakeDetector())
    assert found == Found(pictures=2, with_box=1)
    assert [path for path, _ in unreadable] == ["broken.png"]


def test_false_alarms_are_those_at_the_threshold_by_kind_and_name() -> None:
    box = (0.0, 0.0, 20.0, 20.0)
    detector = Answers((), (Face(box, 0.49),), (Face(box, 0.5), Face(box, 0.4)), (Face(box, 0.8),))
    kinds = [Kind.CUT, Kind.CUT, Kind.TEXTURE, Kind.CUT]
    pictures = [
        Faceless(f"picture {n}", kind, np.full((8, 8, 3), n, np.uint8))
        for n, kind in enumerate(kinds)
    ]

    alarms = false_alarms(iter(pictures), detector)

    assert alarms.kinds == {Kind.CUT: Found(3, 1), Kind.TEXTURE: Found(1, 1)}
    assert alarms.total == Found(4, 2)
    assert alarms.names == (("picture 3", 0.8), ("picture 2", 0.5))


def test_pictures_are_looked_at_a_batch_at_a_time() -> None:
    detector = Answers(())
    pictures = (Faceless(str(n), Kind.CUT, np.zeros((8, 8, 3), np.uint8)) for n in range(40))
    assert false_alarms(pictures, detector).total == Found(40, 0)
    assert sum(detector.batches) == 40
    assert max(detector.batches) <= 16
