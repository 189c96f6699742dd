"""A reindex: what it tells, and how it gets along with everything else."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Reject
from PIL import Image

from core import gallery
from core.gallery import BuildReport
from core.index import current_version, publish
from core.job import DiscordDestination, FileDestination, ReindexJob
from core.texts import say
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery
from tests.platforms.processes import wait_for
from tests.platforms.workplace import Workplace
from worker import reindex
from worker.delivery import DeliveryFailed
from worker.delivery.discord import plain
from worker.delivery.file import FileState, read_answer
from worker.delivery.routes import room_at
from worker.reindex import PROGRESS_EVERY, Reindexer, _Progress, _telling, summary
from worker.resident import Resident


def report(**changes: object) -> BuildReport:
    values: dict[str, object] = {
        "version": "v",
        "pictures": 641,
        "faces": 700,
        "added": (),
        "removed": (),
        "embedded": 0,
        "unreadable": (),
        "without_face": 0,
    }
    return BuildReport(**{**values, **changes})  # type: ignore[arg-type]


def test_the_summary_names_everything_where_there_is_room() -> None:
    said = summary(
        report(
            added=("aoi/1.jpg", "aoi/2.jpg"),
            removed=("ren/9.png",),
            unreadable=(("ren/broken.png", "That picture is damaged."),),
        ),
        "en",
        2000,
    )
    assert said.splitlines() == [
        "The index is up to date: 641 pictures, 700 faces.",
        "Added: aoi/1.jpg, aoi/2.jpg.",
        "Removed: ren/9.png.",
        "Could not be read: ren/broken.png (That picture is damaged.).",
    ]


def test_the_summary_of_nothing_says_so() -> None:
    assert summary(report(), "en", 2000).splitlines()[1:] == [say("reindex_nothing")]


@pytest.mark.parametrize("room", [300, 1024, 2000, 4096])
def test_a_long_summary_is_cut_to_the_room_and_counts_the_rest(room: int) -> None:
    added = tuple(f"aoi/{number}.jpg" for number in range(500))
    removed = tuple(f"ren/{number}.jpg" for number in range(300))
    unreadable = tuple((f"kai/{number}.jpg", "damaged") for number in range(200))
    said = summary(report(added=added, removed=removed, unreadable=unreadable), "en", room)
    assert room - 150 < len(said) <= room, "cut, and not further than need be"
    for line, names in zip(said.splitlines()[1:], (added, removed, unreadable), strict=True):
        shown = line.count(".jpg")
        assert shown > 0
        assert line.endswith(f"and {len(names) - shown} more.")


def test_a_gallery_of_a_hundred_thousand_is_summed_up_at_once() -> None:
    added = tuple(f"葵/{number}.jpg" for number in range(100_000))
    started = time.monotonic()
    said = summary(report(added=added), "en", 4096)
    assert time.monotonic() - started < 1
    assert 4000 < len(said) <= 4096
    assert said.endswith(" more.")


def test_what_discord_escapes_takes_room() -> None:
    unreadable = tuple((f"rem_(re_zero)/__{number}__.jpg", "damaged") for number in range(60))
    room = room_at(
        DiscordDestination(application_id=1, interaction_token="t", channel_id=2, file_bytes=5000)
    )
    said = summary(report(unreadable=unreadable), "en", room.sentence, room.length)
    sent = plain(said)
    shown = sent.count("damaged")
    assert 0 < shown < 60
    assert sent.endswith(f"and {60 - shown} more."), "and Discord's delivery cuts nothing further"


def test_characters_beyond_the_first_plane_count_twice() -> None:
    added = tuple(f"🦊/{number}.jpg" for number in range(500))
    said = summary(report(added=added), "en", 1024)
    assert 950 < len(said.encode("utf-16-le")) / 2 <= 1024


def test_one_long_list_takes_the_room_of_the_others() -> None:
    added = tuple(f"aoi/{number}.jpg" for number in range(500))
    said = summary(report(added=added, removed=("ren/1.jpg",)), "en", 1024)
    assert "Removed: ren/1.jpg." in said
    assert 900 < len(said) <= 1024


def test_a_reindex_names_what_it_added_removed_and_could_not_read(workplace: Workplace) -> None:
    workplace.start_worker(fakes=True)
    assert "15 pictures" in workplace.said(workplace.ask_reindex())
    (workplace.gallery / "blue" / "0.png").unlink()
    (workplace.gallery / "blue" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    Image.new("RGB", (50, 50), "orange").save(workplace.gallery / "amber" / "new.png")
    said = workplace.said(workplace.ask_reindex()).splitlines()
    assert said[0] == say("reindex_done", pictures=15, faces=14)
    assert said[1] == "Added: amber/new.png."
    assert said[2] == "Removed: blue/0.png."
    assert said[3].startswith("Could not be read: blue/broken.png (")
    assert len(said) == 4


def test_limits_on_what_people_send_do_not_hold_for_the_gallery(workplace: Workplace) -> None:
    Image.new("RGB", (1200, 900), "orange").save(workplace.gallery / "amber" / "large.png")
    workplace.start_worker(fakes=True, FAMILIAR_LIMIT_MEGAPIXELS="1")
    assert "16 pictures" in workplace.said(workplace.ask_reindex())


def test_a_gallery_that_is_missing_or_empty_is_told(workplace: Workplace) -> None:
    missing = workplace.folder / "nowhere"
    worker = workplace.start_worker(fakes=True, FAMILIAR_GALLERY=str(missing))
    assert workplace.said(workplace.ask_reindex()) == say("gallery_missing", path="nowhere")
    missing.mkdir()
    assert workplace.said(workplace.ask_reindex()) == say("gallery_empty", path="nowhere")
    assert f"in the gallery {missing}." in worker.output(), "its keeper reads where that is"
    worker.stop()


def test_a_second_reindex_says_that_one_is_running(workplace: Workplace) -> None:
    workplace.start_worker(fakes=True, FAKE_DETECT_SECONDS="0.2")
    first = workplace.ask_reindex()
    wait_for(
        lambda: (answer := read_answer(workplace.data, first)) and answer.sentence, "it has begun"
    )
    wait_for((workplace.data / "build.lock").exists, "it builds")
    assert workplace.said(workplace.ask_reindex()) == say("index_building")
    assert not workplace.is_done(first), "and goes on"
    assert "15 pictures" in workplace.said(first)


def test_progress_is_told_in_the_message_that_the_summary_replaces(workplace: Workplace) -> None:
    drawn_gallery(workplace.gallery, each=6)
    workplace.start_worker(fakes=True, FAKE_DETECT_SECONDS="0.4")
    started = time.monotonic()
    job = workplace.ask_reindex()
    told: list[str] = []

    def over() -> bool:
        answer = read_answer(workplace.data, job)
        if answer and answer.sentence and answer.sentence not in told:
            assert answer.state is FileState.SAID
            told.append(answer.sentence)
        return workplace.is_done(job)

    wait_for(over, "the reindex is done", timeout=60, every=0.02)
    seconds = time.monotonic() - started
    *progress, last = told
    assert last.startswith("The index is up to date")
    told_as = [re.fullmatch(r"Bringing .*: (\d+) of 30 pictures\.\.\.", text) for text in progress]
    assert any(match and 0 < int(match[1]) < 30 for match in told_as), told
    assert len(progress) <= 1 + seconds / PROGRESS_EVERY, "no oftener than the platforms allow"


def test_a_chat_that_wants_to_hear_nothing_is_told_no_progress_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.reindex.PROGRESS_EVERY", 0.01)
    monkeypatch.setattr("worker.reindex.SLOWEST_PROGRESS", 0.02)
    times: list[float] = []
    enough = threading.Event()

    class Limited:
        """Takes nothing for a while from the second time on."""

        def say(self, sentence: str, *, deadline: float) -> None:
            times.append(time.monotonic())
            progress.done += 1
            if len(times) == 2:
                raise DeliveryFailed("429", final=False, retry_after=0.5)
            if len(times) == 4:
                enough.set()

    progress = _Progress()
    progress.done, progress.total = 1, 1000
    limited: Any = Limited()
    with _telling(progress, "en", limited):
        assert enough.wait(30)
    assert times[2] - times[1] >= 0.5
    assert times[3] - times[2] < 0.5


class Silent:
    """A delivery that keeps what was said last."""

    said = ""

    def say(self, sentence: str, *, deadline: float) -> None:
        self.said = sentence


class TestPublishing:
    """What comes after the last picture, which takes long where there are many."""

    @pytest.fixture
    def resident(self, tmp_path: Path) -> Iterator[Resident]:
        drawn_gallery(tmp_path / "gallery")
        resident = Resident(FakeDetector(), FakeExtractor(), tmp_path / "data")
        yield resident
        resident.close()

    @staticmethod
    def reindex(resident: Resident, folder: Path, stopping: threading.Event, delivery: Any) -> str:
        asked = ReindexJob(id="r-1", destination=FileDestination(), deadline=time.time() + 60)
        reindexer = Reindexer(resident, folder / "gallery", folder / "data", stopping)
        return reindexer.run(asked, delivery, room_at(asked.destination))

    def test_it_ends_with_its_worker(
        self, resident: Resident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopping = threading.Event()

        def publish_as_the_worker_ends(*arguments: Any, **options: Any) -> str:
            stopping.set()
            return publish(*arguments, **options)

        monkeypatch.setattr(gallery, "publish", publish_as_the_worker_ends)
        with pytest.raises(Reject) as rejected:
            self.reindex(resident, tmp_path, stopping, Silent())
        assert rejected.value.requeue
        assert current_version(tmp_path / "data") is None

    def test_it_steps_aside_for_people_and_says_how_far_it_is(
        self, resident: Resident, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        delivery, asides = Silent(), 0

        def step_aside() -> None:
            nonlocal asides
            asides += 1

        def slow_publish(*arguments: Any, between: Any, **options: Any) -> str:
            nonlocal asides
            asides = 0
            between()
            text = say("reindex_publishing", total=15)
            wait_for(lambda: delivery.said == text, "it is told")
            between()
            return publish(*arguments, between=between, **options)

        monkeypatch.setattr(gallery, "publish", slow_publish)
        monkeypatch.setattr(reindex, "PROGRESS_EVERY", 0.01)
        monkeypatch.setattr(reindex, "SLOWEST_PROGRESS", 0.01)
        monkeypatch.setattr(reindex, "WORK_SECONDS", 0.0)
        monkeypatch.setattr(resident.courtesy, "step_aside", step_aside)
        assert "15 pictures" in self.reindex(resident, tmp_path, threading.Event(), delivery)
        assert asides >= 3


def test_a_reindex_whose_worker_ends_is_gone_on_with_by_the_next(workplace: Workplace) -> None:
    drawn_gallery(workplace.gallery, each=6)
    worker = workplace.start_worker(fakes=True, FAKE_DETECT_SECONDS="0.1")
    job = workplace.ask_reindex()
    wait_for(lambda: workplace.embedded() >= 16, "the first pictures are embedded")
    assert worker.stop() == 0
    assert 16 <= workplace.embedded() <= 30
    assert current_version(workplace.data) is None, "nothing was published"
    assert not workplace.is_done(job)
    workplace.start_worker(fakes=True)
    assert "30 pictures" in workplace.said(job, timeout=10), "it was put back at once"
    wait_for(lambda: workplace.in_hand() == 0, "nothing waits to come back")
