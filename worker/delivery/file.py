"""Answers for the terminal: files in the data folder, named after the job."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from enum import StrEnum
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from core.files import replacing
from worker.delivery import DeliveryFailed

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 24 * 3600

_LEFT_OVER: Final = f".*.{'[0-9a-f]' * 8}.partial"
"""What a worker that was killed within `replacing` left."""


class FileState(StrEnum):
    """How far an answer in a file is."""

    WORKING = "working"
    SAID = "said"
    ANSWERED = "answered"


class FileAnswer(BaseModel):
    """What ``answers/<job id>.json`` holds.

    Attributes:
        state: How far the answer is.
        sentence: What was said, where it is `SAID`: progress, or what went wrong.
        caption: The names below the collage, where it is `ANSWERED`.
        collage: The picture's file name beside this file, where it is `ANSWERED`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: FileState
    sentence: str | None = None
    caption: str | None = None
    collage: str | None = None


def answers_folder(data: Path) -> Path:
    """Where in the data folder the answers lie."""
    return data / "answers"


def answer_file(data: Path, job_id: str) -> Path:
    """The file that a job's answer appears in."""
    return answers_folder(data) / f"{job_id}.json"


def read_answer(data: Path, job_id: str) -> FileAnswer | None:
    """How far a job's answer is; None where no worker has begun with it."""
    try:
        text = answer_file(data, job_id).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return FileAnswer.model_validate_json(text)


class FileDelivery:
    """Writes ``answers/<job id>.json`` and, for an answer, the collage beside it.

    Each file appears at once and whole, the collage before the file that names it. Answers older
    than a day are removed. Safe to use from several threads.
    """

    def __init__(self, data: Path, job_id: str) -> None:
        self._data = data
        self._job_id = job_id
        self._lock = threading.Lock()
        self._told = False

    def working(self) -> None:
        """Write that a worker has begun, unless something was said or answered already."""
        with self._lock:
            if self._told:
                return
            try:
                self._write(FileAnswer(state=FileState.WORKING))
            except DeliveryFailed as failure:
                log.debug("That a worker has begun could not be written: %s", failure)

    def say(self, sentence: str, *, deadline: float) -> None:
        """Write a sentence."""
        with self._lock:
            self._told = True
            self._write(FileAnswer(state=FileState.SAID, sentence=sentence))

    def answer(
        self, collage: bytes, caption: str, *, deadline: float, spoiler: bool = False
    ) -> None:
        """Write the collage, then the caption and the collage's name. A file covers nothing."""
        suffix = "png" if collage.startswith(b"\x89PNG") else "jpg"
        name = f"{self._job_id}.{suffix}"
        with self._lock:
            self._told = True
            self._replace(answers_folder(self._data) / name, collage)
            self._write(FileAnswer(state=FileState.ANSWERED, caption=caption, collage=name))

    def _write(self, answer: FileAnswer) -> None:
        text = answer.model_dump_json(exclude_none=True)
        self._replace(answer_file(self._data, self._job_id), text.encode())

    def _replace(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_old(path.parent)
            with replacing(path) as partial:
                partial.write_bytes(content)
        except OSError as error:
            raise DeliveryFailed(f"{path}: {error.strerror}", final=True) from error


def _remove_old(folder: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    for path in [*folder.glob("*.json"), *folder.glob(_LEFT_OVER)]:
        # Another worker may remove it first, and what is no answer is somebody else's.
        with contextlib.suppress(FileNotFoundError, ValidationError):
            if path.stat().st_mtime >= oldest:
                continue
            if path.suffix == ".json":
                answer = FileAnswer.model_validate_json(path.read_bytes())
                if answer.collage in {f"{path.stem}.jpg", f"{path.stem}.png"}:
                    path.with_name(answer.collage).unlink(missing_ok=True)
            path.unlink()
