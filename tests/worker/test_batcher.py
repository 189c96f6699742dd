"""The batcher against an extractor that counts its forward passes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from core.face import Pixels, Vectors
from tests.platforms.processes import wait_for
from worker.batcher import ROWS, Batcher, BatcherClosed


class CountingExtractor:
    """Says for each crop its own first pixel, and waits for a sign before each pass."""

    name = "counting"
    sha256 = "0" * 64
    face_dimensions = 1
    picture_dimensions = 1
    weights_of_both = (0.5, 0.5)
    same_threshold = None
    precision = None
    in_onnxruntime = False
    false_accepts = None

    def __init__(self) -> None:
        self.passes: list[tuple[str, int]] = []
        self.may_go = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)
        self.threads: set[int] = set()

    def prepare_face(self, pixels: Pixels, box: object, points: object = None) -> Pixels:
        return pixels

    def prepare_picture(self, pixels: Pixels) -> Pixels:
        return pixels

    def embed_faces(self, faces: Pixels) -> Vectors:
        return self._embed("faces", faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        return self._embed("pictures", pictures)

    def _embed(self, kind: str, crops: Pixels) -> Vectors:
        self.threads.add(threading.get_ident())
        self.passes.append((kind, len(crops)))
        self.entered.release()
        self.may_go.acquire()
        if (crops == 255).any():
            raise ValueError("a crop that no network can see")
        return crops[:, 0, 0, :1].astype(np.float32)


def crops(*values: int) -> Pixels:
    return np.stack([np.full((2, 2, 3), value, dtype=np.uint8) for value in values])


def waiting(batcher: Batcher) -> int:
    return batcher._arrived.qsize()


def test_a_lone_request_is_served_at_once() -> None:
    extractor = CountingExtractor()
    extractor.may_go.release()
    batcher = Batcher(extractor)
    np.testing.assert_array_equal(batcher.embed_faces(crops(3, 4)), [[3.0], [4.0]])
    batcher.close()


def test_requests_that_meet_share_a_pass_and_get_their_own_vectors() -> None:
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.embed_faces, crops(1))
        extractor.entered.acquire()
        others = [pool.submit(batcher.embed_faces, crops(*v)) for v in ([2], [3, 4], [5])]
        pictures = pool.submit(batcher.embed_pictures, crops(9))
        wait_for(lambda: waiting(batcher) == 4, "all have arrived")
        for _ in range(3):
            extractor.may_go.release()
        assert first.result(5).tolist() == [[1]]
        assert [other.result(5).tolist() for other in others] == [[[2]], [[3], [4]], [[5]]]
        assert pictures.result(5).tolist() == [[9]]
    assert extractor.passes[0] == ("faces", 1)
    assert sorted(extractor.passes[1:]) == [("faces", 4), ("pictures", 1)]
    assert len(extractor.threads) == 1
    batcher.close()


def test_a_pass_takes_no_more_rows_than_it_should() -> None:
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.embed_faces, crops(1))
        extractor.entered.acquire()
        others = [pool.submit(batcher.embed_faces, crops(*[2] * (ROWS // 2))) for _ in range(3)]
        wait_for(lambda: waiting(batcher) == 3, "all have arrived")
        for _ in range(3):
            extractor.may_go.release()
        for future in (first, *others):
            future.result(5)
    assert [rows for _, rows in extractor.passes] == [1, ROWS, ROWS // 2]
    batcher.close()


def test_an_error_reaches_everyone_of_its_pass_and_nobody_else() -> None:
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(batcher.embed_faces, crops(1))
        extractor.entered.acquire()
        bad = pool.submit(batcher.embed_faces, crops(255))
        beside = pool.submit(batcher.embed_faces, crops(7))
        wait_for(lambda: waiting(batcher) == 2, "both have arrived")
        extractor.may_go.release()
        extractor.may_go.release()
        assert first.result(5).tolist() == [[1]]
        for future in (bad, beside):
            with pytest.raises(ValueError, match="no network"):
                future.result(5)
    extractor.may_go.release()
    assert batcher.embed_faces(crops(8)).tolist() == [[8]], "the thread goes on after an error"
    batcher.close()


def test_closing_serves_what_has_arrived() -> None:
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    with ThreadPoolExecutor(2) as pool:
        future = pool.submit(batcher.embed_faces, crops(6))
        extractor.entered.acquire()
        closing = pool.submit(batcher.close)
        extractor.may_go.release()
        closing.result(5)
        assert future.result(5).tolist() == [[6]]


def test_after_closing_nobody_waits() -> None:
    """The hands of a worker that is ended a second time are at work still."""
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    batcher.close()
    refused: list[BaseException | None] = []

    def ask() -> None:
        for embed in (batcher.embed_faces, batcher.embed_pictures):
            with pytest.raises(BatcherClosed) as error:
                embed(crops(6))
            refused.append(error.value)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(5)
    assert len(refused) == 2
    batcher.close()


def test_what_arrives_while_it_closes_is_served_or_refused() -> None:
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batcher.embed_faces, crops(6))
        extractor.entered.acquire()
        closing = pool.submit(batcher.close)
        try:
            wait_for(lambda: batcher._closed, "it closes")
            with pytest.raises(BatcherClosed):
                batcher.embed_faces(crops(7))
        finally:
            extractor.may_go.release()
        assert first.result(5).tolist() == [[6]]
        closing.result(5)
