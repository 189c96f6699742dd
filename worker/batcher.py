"""Requests that meet at the extractor share one forward pass."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from core.face import Pixels, Vectors
from core.models import Extractor
from worker.wrapped import WrappedExtractor

ROWS: Final = 64
"""Crops in one forward pass, unless a single request brings more."""


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    embed: Callable[[Pixels], Vectors]
    crops: Pixels
    vectors: Future[Vectors] = field(default_factory=Future)


class BatcherClosed(Exception):
    """Nothing is embedded any more: the worker ends."""


class Batcher(WrappedExtractor):
    """An extractor that is fed by one thread. Itself an `Extractor`.

    A request that comes alone is served at once; while a forward pass runs, those that arrive
    gather, and the next pass takes them together. An error reaches every request of its pass.
    Both ways to embed raise `BatcherClosed` for what comes after `close`.
    """

    def __init__(self, extractor: Extractor) -> None:
        super().__init__(extractor)
        self._arrived: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._closed = False
        self._entering = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="batcher", daemon=True)
        self._thread.start()

    def embed_faces(self, faces: Pixels) -> Vectors:
        """As `core.models.Extractor.embed_faces`, together with whoever else asks."""
        return self._wait(self._extractor.embed_faces, faces)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """As `core.models.Extractor.embed_pictures`, together with whoever else asks."""
        return self._wait(self._extractor.embed_pictures, pictures)

    def close(self) -> None:
        """Serve what has arrived, refuse what comes, and end the thread."""
        with self._entering:
            self._closed = True
            self._arrived.put(None)
        self._thread.join()

    def _wait(self, embed: Callable[[Pixels], Vectors], crops: Pixels) -> Vectors:
        request = _Request(embed, crops)
        # Nothing may arrive behind the end, where nobody looks any more.
        with self._entering:
            if self._closed:
                raise BatcherClosed("the worker ends")
            self._arrived.put(request)
        return request.vectors.result()

    def _run(self) -> None:
        waiting: deque[_Request] = deque()
        closing = False
        while waiting or not closing:
            if not waiting:
                closing = not self._gather(waiting, self._arrived.get())
            while not self._arrived.empty():
                closing = not self._gather(waiting, self._arrived.get()) or closing
            if waiting:
                _serve(_next_pass(waiting))

    @staticmethod
    def _gather(waiting: deque[_Request], arrived: _Request | None) -> bool:
        if arrived is not None:
            waiting.append(arrived)
        return arrived is not None


def _next_pass(waiting: deque[_Request]) -> list[_Request]:
    """Take the first of `waiting` and all that fit into one pass with it, in their order."""
    first = waiting.popleft()
    taken, left, rows = [first], [], len(first.crops)
    for request in waiting:
        if request.embed == first.embed and rows + len(request.crops) <= ROWS:
            taken.append(request)
            rows += len(request.crops)
        else:
            left.append(request)
    waiting.clear()
    waiting.extend(left)
    return taken


def _serve(requests: list[_Request]) -> None:
    try:
        if len(requests) == 1:
            vectors = requests[0].embed(requests[0].crops)
        else:
            vectors = requests[0].embed(np.concatenate([request.crops for request in requests]))
    except BaseException as error:  # noqa: BLE001 - raised again in each thread that waits
        for request in requests:
            request.vectors.set_exception(error)
        return
    start = 0
    for request in requests:
        end = start + len(request.crops)
        request.vectors.set_result(vectors[start:end])
        start = end
