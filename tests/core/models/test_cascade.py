"""OpenCV's cascades as detectors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import core.models.cascade
from core.average_precision import claims
from core.models import ModelError, load_detector
from core.models.cascade import CascadeDetector
from core.train.parts import split
from core.voc import pixels_of, read_folder, within
from tests import shared_data


class EverywhereClassifier:
    """Answers as OpenCV does: boxes as x, y, width, height, how many stages each has passed, and
    the sum of the last one that looked at it."""

    def detectMultiScale3(self, grey, **_):
        assert grey.ndim == 2
        return (
            np.array([[10, 20, 30, 40], [50, 5, 8, 9]]),
            np.array([1, 3]),
            np.array([1.0, -1.0]),
        )


def test_boxes_and_scores_are_the_projects_own() -> None:
    detector = CascadeDetector("lbpcascade", "0" * 64, EverywhereClassifier(), [0.0, 2.0, -3.0])

    (faces,) = detector.detect([np.zeros((100, 120, 3), np.uint8)])

    assert [face.box for face in faces] == [(50, 5, 58, 14), (10, 20, 40, 60)]
    assert faces[0].score == pytest.approx(1 / (1 + np.exp(-2)))
    assert faces[1].score < detector.threshold < faces[0].score


class CornerClassifier:
    """Boxes the lower right quarter of what it is shown, whose size it keeps."""

    def detectMultiScale3(self, grey, **_):
        height, width = self.shown = grey.shape
        box = [width // 2, height // 2, width - width // 2, height - height // 2]
        return np.array([box]), np.array([1]), np.array([1.0])


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((1280, 900), (1280, 900)),  # as it is
        ((900, 1281), (899, 1280)),
        ((5300, 8000), (848, 1280)),
        ((20000, 3), (1280, 1)),
    ],
)
def test_a_large_picture_is_looked_at_smaller_and_its_boxes_are_its_own(
    size: tuple[int, int], shown: tuple[int, int]
) -> None:
    classifier = CornerClassifier()
    detector = CascadeDetector("lbpcascade", "0" * 64, classifier, [0.0, 0.0])

    ((face,),) = detector.detect([np.zeros((*size, 3), np.uint8)])

    assert classifier.shown == shown
    x0, y0, x1, y1 = face.box
    assert (x1, y1) == pytest.approx((size[1], size[0]))
    assert x1 <= size[1]
    assert y1 <= size[0]
    assert x0 == pytest.approx(shown[1] // 2 * size[1] / shown[1])
    assert y0 == pytest.approx(shown[0] // 2 * size[0] / shown[0])


def test_how_large_pictures_are_looked_at_is_part_of_its_identity(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = Path(cv2.data.haarcascades) / "haarcascade_eye.xml"
    before = CascadeDetector.load(path).sha256
    assert CascadeDetector.load(path).sha256 == before
    monkeypatch.setattr(core.models.cascade, "LONGEST", 640)
    assert CascadeDetector.load(path).sha256 != before


@pytest.mark.parametrize("form", ["cascade:{}", "lbpcascade:{}", "{}"])
def test_it_is_called_as_its_file_is(form: str) -> None:
    path = Path(cv2.data.haarcascades) / "haarcascade_eye.xml"
    assert load_detector(form.format(path)).name == "haarcascade_eye"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"nothing\.xml cannot be read"):
        CascadeDetector.load(tmp_path / "nothing.xml")


@pytest.mark.parametrize("text", ["", "no cascade", "<opencv_storage></opencv_storage>"])
def test_what_is_no_cascade_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "faces.xml"
    path.write_text(text)
    with pytest.raises(ModelError, match="is no cascade"):
        CascadeDetector.load(path)


def test_a_file_of_the_form_before_has_its_thresholds_too() -> None:
    path = Path(cv2.data.haarcascades) / "haarcascade_license_plate_rus_16stages.xml"
    assert "stageThreshold" not in path.read_text()
    detector = CascadeDetector.load(path)
    assert len(detector.stage_thresholds) == 16
    assert detector.stage_thresholds[0] == pytest.approx(-2.06843, abs=1e-4)


if shared_data.present("people"):

    @pytest.mark.parametrize("name", ["frontalcatface", "frontalface_alt2", "eye"])
    def test_what_a_cascade_accepts_is_a_face_by_its_score(name: str) -> None:
        """Whatever the threshold of its last stage: -1.3, 53.8 and -1.0."""
        path = Path(cv2.data.haarcascades) / f"haarcascade_{name}.xml"
        detector, opencv = CascadeDetector.load(path), cv2.CascadeClassifier(str(path))
        scores: list[float] = []
        for picture in sorted((shared_data.ROOT / "people").rglob("*.jpg"))[::80]:
            pixels = np.ascontiguousarray(cv2.resize(cv2.imread(str(picture)), None, fx=2, fy=2))
            grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY))
            accepted = opencv.detectMultiScale(grey, 1.1, 3, minSize=(24, 24))
            (faces,) = detector.detect([pixels[..., ::-1]])
            assert len(faces) == len(accepted)
            scores += [face.score for face in faces]
        assert min(scores) > detector.threshold
        assert len({round(score, 3) for score in scores}) > 5


if shared_data.present("cascade", "faces"):

    def test_it_finds_frontal_faces_and_leaves_an_empty_picture_alone() -> None:
        """It boxes faces from brow to chin, the annotations heads: they overlap by a third."""
        path = shared_data.ROOT / "cascade" / "lbpcascade_animeface.xml"
        detector = CascadeDetector.load(path)
        annotations = split(read_folder(shared_data.ROOT / "faces")).validation[:60]
        made: list[bool] = []
        for annotation in annotations:
            pixels = pixels_of(annotation)
            boxes = 2 * within(annotation, pixels).boxes  # many faces are too small as they are
            (faces,) = detector.detect([np.ascontiguousarray(cv2.resize(pixels, None, fx=2, fy=2))])
            made += [right for _, right in claims(faces, boxes, iou=0.3)]

        assert len(detector.sha256) == 64
        assert sum(made) >= 0.1 * sum(len(annotation.boxes) for annotation in annotations)
        assert sum(made) > len(made) / 2
        assert detector.detect([np.full((200, 200, 3), 255, np.uint8)]) == [()]
