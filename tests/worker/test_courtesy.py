"""A reindex waits for people, but not for ever."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from core.face import Face, Pixels, Vectors
from worker.courtesy import (
    CROPS_A_PASS,
    PICTURES_A_PASS,
    CourteousDetector,
    CourteousExtractor,
    Courtesy,
)


class Recorder:
    """A detector and an extractor that note how much they were given at a time."""

    name = "recorder"
    sha256 = "0" * 64
    threshold = 0.5
    face_dimensions = 2
    picture_dimensions = 3
    weights_of_both = (0.5, 0.5)
    same_threshold = None
    precision = None
    in_onnxruntime = False
    false_accepts = None

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def detect(self, images: list[Pixels]) -> list[tuple[Face, ...]]:
        self.sizes.append(len(images))
        return [(Face((0, 0, 1, float(image[0, 0, 0])), 0.9),) for image in images]

    def prepare_face(self, pixels: Pixels, box: object, points: object = None) -> Pixels:
        return pixels

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        return pixels

    def embed_faces(self, faces: Pixels) -> Vectors:
        self.sizes.append(len(faces))
        return np.repeat(faces[:, 0, 0, :1], 2, axis=1).astype(np.float32)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        self.sizes.append(len(pictures))
        return np.repeat(pictures[:, 0, 0, :1], 3, axis=1).astype(np.float32)


def pictures(count: int) -> Pixels:
    return np.stack([np.full((2, 2, 3), number + 1, dtype=np.uint8) for number in range(count)])


def test_nobody_waits_where_nobody_is_answered() -> None:
    started = time.monotonic()
    Courtesy(longest_wait=30).step_aside()
    assert time.monotonic() - started < 5


def test_building_goes_on_when_the_last_person_is_answered() -> None:
    courtesy = Courtesy(longest_wait=30)
    went_on = threading.Event()
    building = threading.Thread(target=lambda: (courtesy.step_aside(), went_on.set()))
    with courtesy.answering():
        with courtesy.answering():
            building.start()
            assert not went_on.wait(0.1)
        assert not went_on.wait(0.1), "one person is still being answered"
    assert went_on.wait(5)
    building.join()


def test_building_is_never_held_up_for_ever() -> None:
    courtesy = Courtesy(longest_wait=0.05)
    with courtesy.answering():
        started = time.monotonic()
        courtesy.step_aside()
        assert 0.04 < time.monotonic() - started < 5


def test_the_detector_takes_a_few_pictures_at_a_time_and_finds_the_same() -> None:
    recorder = Recorder()
    count = 2 * PICTURES_A_PASS + 1
    found = CourteousDetector(recorder, Courtesy()).detect(list(pictures(count)))
    assert recorder.sizes == [PICTURES_A_PASS, PICTURES_A_PASS, 1]
    assert [faces[0].box[3] for faces in found] == [float(n + 1) for n in range(count)]
    assert CourteousDetector(recorder, Courtesy()).detect([]) == []


@pytest.mark.parametrize(
    "work",
    [
        lambda model, courtesy: CourteousDetector(model, courtesy).detect(list(pictures(1))),
        lambda model, courtesy: CourteousExtractor(model, courtesy).embed_faces(pictures(1)),
        lambda model, courtesy: CourteousExtractor(model, courtesy).embed_pictures(pictures(1)),
    ],
    ids=["detect", "embed_faces", "embed_pictures"],
)
def test_no_pass_begins_while_somebody_is_answered(
    work: Callable[[Recorder, Courtesy], object],
) -> None:
    recorder, courtesy = Recorder(), Courtesy(longest_wait=30)
    building = threading.Thread(target=work, args=(recorder, courtesy))
    with courtesy.answering():
        building.start()
        building.join(0.1)
        assert recorder.sizes == []
    building.join(5)
    assert recorder.sizes == [1]


def test_each_pass_steps_aside_anew() -> None:
    """Somebody came during the first pass."""
    courtesy = Courtesy(longest_wait=30)
    asking = courtesy.answering()

    class Asked(Recorder):
        def detect(self, images: list[Pixels]) -> list[tuple[Face, ...]]:
            if not self.sizes:
                asking.__enter__()
            return super().detect(images)

    recorder = Asked()
    images = list(pictures(PICTURES_A_PASS + 1))
    building = threading.Thread(target=CourteousDetector(recorder, courtesy).detect, args=(images,))
    building.start()
    building.join(0.2)
    assert recorder.sizes == [PICTURES_A_PASS]
    asking.__exit__(None, None, None)
    building.join(5)
    assert recorder.sizes == [PICTURES_A_PASS, 1]


def test_the_extractor_takes_a_few_crops_at_a_time_and_gives_the_same() -> None:
    recorder = Recorder()
    extractor = CourteousExtractor(recorder, Courtesy())
    count = CROPS_A_PASS + 3
    for vectors, dimensions in (
        (extractor.embed_faces(pictures(count)), 2),
        (extractor.embed_pictures(pictures(count)), 3),
    ):
        expected = np.repeat(np.arange(1, count + 1, dtype=np.float32)[:, None], dimensions, axis=1)
        np.testing.assert_array_equal(vectors, expected)
    assert recorder.sizes == [CROPS_A_PASS, 3, CROPS_A_PASS, 3]
    assert extractor.embed_faces(np.zeros((0, 2, 2, 3), np.uint8)).shape == (0, 2)
