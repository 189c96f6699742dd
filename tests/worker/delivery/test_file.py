"""Answers as files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from worker.delivery import DeliveryFailed
from worker.delivery.file import (
    FileDelivery,
    FileState,
    answer_file,
    answers_folder,
    read_answer,
)

SOON = time.time() + 60


def delivery(data: Path, job_id: str = "terminal-1") -> FileDelivery:
    return FileDelivery(data, job_id)


def test_each_call_replaces_what_the_file_said_before(tmp_path: Path) -> None:
    assert read_answer(tmp_path, "terminal-1") is None
    answer = delivery(tmp_path)
    answer.working()
    begun = read_answer(tmp_path, "terminal-1")
    assert begun is not None
    assert begun.state is FileState.WORKING
    answer.say("3 of 4 pictures...", deadline=SOON)
    said = read_answer(tmp_path, "terminal-1")
    assert said is not None
    assert (said.state, said.sentence) == (FileState.SAID, "3 of 4 pictures...")
    answer.answer(b"\xff\xd8 a picture", "1. Aoi 93%", deadline=SOON)
    answered = read_answer(tmp_path, "terminal-1")
    assert answered is not None
    assert answered.state is FileState.ANSWERED
    assert answered.caption == "1. Aoi 93%"
    assert answered.sentence is None
    assert answered.collage == "terminal-1.jpg"
    assert (answers_folder(tmp_path) / answered.collage).read_bytes() == b"\xff\xd8 a picture"


def test_an_answer_given_twice_is_one_answer(tmp_path: Path) -> None:
    for _ in range(2):
        delivery(tmp_path).answer(b"\x89PNG...", "1. Aoi 93%", deadline=SOON)
    names = sorted(path.name for path in answers_folder(tmp_path).iterdir())
    assert names == ["terminal-1.json", "terminal-1.png"], "and nothing partial is left"


def test_answers_older_than_a_day_are_removed(tmp_path: Path) -> None:
    delivery(tmp_path, "old").answer(b"...", "", deadline=SOON)
    delivery(tmp_path, "recent").answer(b"...", "", deadline=SOON)
    for path in answers_folder(tmp_path).glob("old.*"):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    delivery(tmp_path, "new").working()
    names = {path.stem for path in answers_folder(tmp_path).iterdir()}
    assert names == {"recent", "new"}


def test_what_is_no_answer_stays_however_old_it_is(tmp_path: Path) -> None:
    delivery(tmp_path, "old").answer(b"...", "", deadline=SOON)
    folder = answers_folder(tmp_path)
    (folder / ".old.jpg.0123abcd.partial").write_bytes(b"of a worker that was killed")
    (folder / "homework.json").write_text('{"state": "done"}')
    (folder / "homework.jpg").write_bytes(b"mine")
    (folder / "of last year").mkdir()
    for path in folder.iterdir():
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    delivery(tmp_path, "new").say("3 of 4 pictures...", deadline=SOON)
    names = {path.name for path in folder.iterdir()}
    assert names == {"homework.json", "homework.jpg", "of last year", "new.json"}


def test_a_folder_that_cannot_be_written_is_a_failed_delivery(tmp_path: Path) -> None:
    answers_folder(tmp_path).write_text("a file where the folder should be")
    with pytest.raises(DeliveryFailed) as failure:
        delivery(tmp_path).say("3 of 4 pictures...", deadline=SOON)
    assert failure.value.final
    assert not answer_file(tmp_path, "terminal-1").exists()


def test_a_sign_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    answers_folder(tmp_path).write_text("a file where the folder should be")
    delivery(tmp_path).working()
    assert answers_folder(tmp_path).is_file(), "and it stays as it was"


TELLING = [
    (lambda it: it.say("It is too late.", deadline=SOON), FileState.SAID),
    (lambda it: it.answer(b"\xff\xd8 a picture", "1. Aoi 93%", deadline=SOON), FileState.ANSWERED),
]


@pytest.mark.parametrize(("tell", "state"), TELLING, ids=["said", "answered"])
def test_a_sign_after_the_answer_changes_nothing(
    tmp_path: Path, tell: Callable[[FileDelivery], None], state: FileState
) -> None:
    answer = delivery(tmp_path)
    tell(answer)
    answer.working()
    told = read_answer(tmp_path, "terminal-1")
    assert told is not None
    assert told.state is state


@pytest.mark.parametrize(("tell", "state"), TELLING, ids=["said", "answered"])
def test_a_sign_that_is_being_written_does_not_replace_the_answer(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tell: Callable[[FileDelivery], None],
    state: FileState,
) -> None:
    answer = delivery(tmp_path)
    sign = threading.Thread(target=answer.working)
    telling = threading.Thread(target=tell, args=(answer,))
    begun, go_on = threading.Event(), threading.Event()
    write = Path.write_bytes

    def held_up(path: Path, content: bytes) -> int:
        if threading.current_thread() is sign:
            begun.set()
            assert go_on.wait(10)
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", held_up)
    sign.start()
    assert begun.wait(10)
    telling.start()
    telling.join(0.2)
    go_on.set()
    for thread in (sign, telling):
        thread.join(10)
    told = read_answer(tmp_path, "terminal-1")
    assert told is not None
    assert told.state is state


def test_two_workers_on_one_job_do_not_mix_their_answers(tmp_path: Path) -> None:
    """A worker that was given up may still be at it when another has taken its job over."""
    answers = [bytes([number]) * 2_000_000 for number in range(2)]

    def give(collage: bytes) -> None:
        delivery(tmp_path).answer(collage, "", deadline=SOON)

    with ThreadPoolExecutor(2) as workers:
        for _ in range(60):
            list(workers.map(give, answers))
            assert (answers_folder(tmp_path) / "terminal-1.jpg").read_bytes() in answers
    assert len(list(answers_folder(tmp_path).iterdir())) == 2
