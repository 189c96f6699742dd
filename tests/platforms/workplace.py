"""A worker's surroundings: Redis, a gallery, a data folder, and somebody who asks as a bot does."""

from __future__ import annotations

import itertools
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from celery import Celery
from redis import Redis

from core.gallery import build_index
from core.job import Destination, FileDestination, ReindexJob, SimilarJob
from core.look import Look
from tests.core.fakes import FakeDetector, FakeExtractor
from tests.platforms.processes import RealProcess, RealRedis, wait_for
from worker.app import REINDEX_TASK, SIMILAR_TASK, create_app, send
from worker.delivery.file import FileAnswer, FileState, read_answer
from worker.store import UploadStore


class Workplace:
    """Starts workers and puts jobs into their queue.

    Attributes:
        server: The Redis server.
        redis: A client of it.
        folder: Where the workers run.
        gallery: Their gallery.
        data: Their data folder.
        queue: The Celery application that jobs are sent with.
    """

    def __init__(self, server: RealRedis, folder: Path) -> None:
        self.server = server
        self.redis: Redis = server.client()
        self.folder = folder
        self.gallery = folder / "gallery"
        self.data = folder / "data"
        self.queue: Celery = create_app(server.url)
        self._uploads = UploadStore(self.redis, 600)
        self._numbers = itertools.count(1)
        self._workers: list[RealProcess] = []

    def index(self) -> None:
        """Index the gallery as it is now, with the small models of `tests.core.fakes`."""
        build_index(self.gallery, self.data, FakeDetector(), FakeExtractor())

    def start_worker(
        self, *, fakes: bool = False, at_work: bool = True, **settings: str
    ) -> RealProcess:
        """Start a worker.

        Args:
            fakes: With the small models of `tests.core.fakes` instead of the shipped ones.
            at_work: Wait until it is.
            settings: Further environment variables.
        """
        module = ("tests.worker.worker_with_fakes",) if fakes else ("cli.main", "worker")
        worker = RealProcess(
            [sys.executable, "-m", *module],
            {
                "REDIS_URL": self.server.url,
                "FAMILIAR_GALLERY": str(self.gallery),
                "FAMILIAR_DATA": str(self.data),
                **settings,
            },
            self.folder,
            "worker",
        )
        self._workers.append(worker)
        if at_work:
            worker.wait_for_output("at work", timeout=180)
        return worker

    def close(self) -> None:
        """Kill the workers that still run, and the connections."""
        for worker in self._workers:
            worker.kill()
        self.queue.close()
        self.redis.close()

    def ask(
        self,
        picture: bytes,
        *,
        destination: Destination | None = None,
        look: Look = Look.BOTH,
        count: int = 4,
        seconds: float = 120,
    ) -> str:
        """Ask about a picture.

        Returns:
            The job's id.
        """
        job = SimilarJob(
            id=f"asked-{next(self._numbers)}",
            destination=destination or FileDestination(),
            deadline=time.time() + seconds,
            upload=self._uploads.put(picture),
            look=look,
            count=count,
        )
        self.send(SIMILAR_TASK, job)
        return job.id

    def ask_reindex(self) -> str:
        """Ask for a reindex.

        Returns:
            The job's id.
        """
        job = ReindexJob(
            id=f"reindex-{next(self._numbers)}",
            destination=FileDestination(),
            deadline=time.time() + 600,
        )
        self.send(REINDEX_TASK, job)
        return job.id

    def send(self, task: str, job: SimilarJob | ReindexJob) -> None:
        """Put a job into the queue."""
        send(self.queue, task, job.id, job.model_dump(mode="json"))

    def answer(self, job_id: str, timeout: float = 60) -> FileAnswer:
        """The answer to a job whose destination is a file, once the job is done."""
        wait_for(lambda: self.is_done(job_id), f"{job_id} is done", timeout)
        answer = read_answer(self.data, job_id)
        assert answer is not None
        return answer

    def said(self, job_id: str, timeout: float = 60) -> str:
        """The sentence that a job got instead of a collage."""
        answer = self.answer(job_id, timeout)
        assert answer.state is FileState.SAID, answer
        assert answer.sentence
        return answer.sentence

    def is_done(self, job_id: str) -> bool:
        """Whether a worker has written the job down as answered."""
        return bool(self.redis.exists(f"familiar:answered:{job_id}"))

    def in_hand(self) -> int:
        """Jobs that workers have taken and not acknowledged."""
        return int(self.redis.zcard("unacked_index"))

    def embedded(self) -> int:
        """Pictures whose vectors the catalogue keeps."""
        address = f"file:{self.data}/catalogue.sqlite?mode=ro"
        try:
            with closing(sqlite3.connect(address, uri=True)) as catalogue:
                (count,) = catalogue.execute("SELECT COUNT(*) FROM picture_vectors").fetchone()
        except sqlite3.OperationalError:
            return 0
        return int(count)
