"""The batcher against an extractor that counts its forward passes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest

from core.face import Pixels, Vectors
from tests.platforms.processes import wait_for
from worker.batcher import ROWS, Batcher, BatcherClosed

T = TypeVar("T")


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
        if (crops == 254).any():
            raise SystemExit("a crop that ends what sees it")
        return crops[:, 0, 0, :1].astype(np.float32)


def crops(*values: int) -> Pixels:
    return np.stack([np.full((2, 2, 3), value, dtype=np.uint8) for value in values])


def waiting(batcher: Batcher) -> int:
    return batcher._arrived.qsize()


def submit(function: Callable[..., T], *arguments: Any) -> Future[T]:
    """What a thread makes of it, which ends with the tests even if a batcher leaves it waiting."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*arguments))
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


@contextmanager
def busy() -> Iterator[tuple[CountingExtractor, Batcher, Future[Vectors]]]:
    """A batcher in the midst of its first pass, of the crop 1, which waits for its sign."""
    extractor = CountingExtractor()
    batcher = Batcher(extractor)
    first = submit(batcher.embed_faces, crops(1))
    assert extractor.entered.acquire(timeout=5)
    yield extractor, batcher, first
    submit(batcher.close).result(5)


def test_a_lone_request_is_served_at_once() -> None:
    extractor = CountingExtractor()
    extractor.may_go.release()
    batcher = Batcher(extractor)
    np.testing.assert_array_equal(batcher.embed_faces(crops(3, 4)), [[3.0], [4.0]])
    batcher.close()


def test_requests_that_meet_share_a_pass_and_get_their_own_vectors() -> None:
    with busy() as (extractor, batcher, first):
        others = [submit(batcher.embed_faces, crops(*v)) for v in ([2], [3, 4], [5])]
        pictures = submit(batcher.embed_pictures, crops(9))
        wait_for(lambda: waiting(batcher) == 4, "all have arrived")
        extractor.may_go.release(3)
        assert first.result(5).tolist() == [[1]]
        assert [other.result(5).tolist() for other in others] == [[[2]], [[3], [4]], [[5]]]
        assert pictures.result(5).tolist() == [[9]]
    assert extractor.passes[0] == ("faces", 1)
    assert sorted(extractor.passes[1:]) == [("faces", 4), ("pictures", 1)]
    assert len(extractor.threads) == 1


def test_a_pass_takes_no_more_rows_than_it_should() -> None:
    with busy() as (extractor, batcher, first):
        others = [submit(batcher.embed_faces, crops(*[2] * (ROWS // 2))) for _ in range(5)]
        wait_for(lambda: waiting(batcher) == 5, "all have arrived")
        extractor.may_go.release(4)
        for future in (first, *others):
            future.result(5)
    assert [rows for _, rows in extractor.passes] == [1, ROWS, ROWS, ROWS // 2]


@pytest.mark.parametrize(("crop", "error"), [(255, ValueError), (254, SystemExit)])
def test_an_error_reaches_everyone_of_its_pass_and_nobody_else(
    crop: int, error: type[BaseException]
) -> None:
    with busy() as (extractor, batcher, first):
        bad = submit(batcher.embed_faces, crops(crop))
        beside = submit(batcher.embed_faces, crops(7))
        wait_for(lambda: waiting(batcher) == 2, "both have arrived")
        extractor.may_go.release(2)
        assert first.result(5).tolist() == [[1]]
        for future in (bad, beside):
            with pytest.raises(error, match="a crop that"):
                future.result(5)
        extractor.may_go.release()
        after = submit(batcher.embed_faces, crops(8))
        assert after.result(5).tolist() == [[8]], "the thread goes on after an error"


@pytest.mark.parametrize(
    "embeds",
    [[], [Batcher.embed_faces], [Batcher.embed_faces, Batcher.embed_pictures]],
    ids=["nobody waits", "one waits", "two wait for a pass each"],
)
def test_closing_serves_what_has_arrived(embeds: list[Callable[..., Vectors]]) -> None:
    with busy() as (extractor, batcher, first):
        others = [submit(embed, batcher, crops(6)) for embed in embeds]
        wait_for(lambda: waiting(batcher) == len(others), "all have arrived")
        closing = submit(batcher.close)
        wait_for(lambda: waiting(batcher) == len(others) + 1, "it closes")
        extractor.may_go.release(len(others) + 1)
        assert first.result(5).tolist() == [[1]]
        assert [other.result(5).tolist() for other in others] == [[[6]]] * len(others)
        closing.result(5)


def test_after_closing_nobody_waits() -> None:
    """The hands of a worker that is ended a second time are at work still."""
    batcher = Batcher(CountingExtractor())
    batcher.close()
    for embed in (batcher.embed_faces, batcher.embed_pictures):
        with pytest.raises(BatcherClosed):
            submit(embed, crops(6)).result(5)
    batcher.close()


def test_what_arrives_while_it_closes_is_served_or_refused() -> None:
    with busy() as (extractor, batcher, first):
        closing = submit(batcher.close)
        wait_for(lambda: batcher._closed, "it closes")
        with pytest.raises(BatcherClosed):
            submit(batcher.embed_faces, crops(7)).result(5)
        extractor.may_go.release()
        assert first.result(5).tolist() == [[1]]
        closing.result(5)
