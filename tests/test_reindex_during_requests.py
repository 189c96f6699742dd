"""A reindex while people ask: everybody is answered, and the new version answers afterwards."""

from __future__ import annotations

import io
import time
from pathlib import Path

from PIL import Image

from cli.demo.characters import CHARACTERS
from cli.demo.gallery import picture
from core.index import current_version
from tests.core.fakes import drawn_gallery
from tests.platforms.processes import real_redis
from tests.platforms.workplace import Workplace
from worker.delivery.file import FileState

SOON_SECONDS = 5.0
"""Generous for a busy machine; a reindex that held people up would take longer as a whole."""


*PEOPLE, NEWCOMER = CHARACTERS[:4]


def as_jpeg(path: Path) -> bytes:
    """The same picture in other bytes, so that the gallery's own copy may answer."""
    file = io.BytesIO()
    with Image.open(path) as image:
        image.save(file, "JPEG", quality=95)
    return file.getvalue()


def test_a_reindex_disturbs_no_request(tmp_path: Path) -> None:
    with real_redis() as server:
        place = Workplace(server, tmp_path)
        try:
            check_requests_during_a_reindex(place)
        finally:
            place.close()


def draw_people(gallery: Path, each: int) -> None:
    """The first pictures of three of the demo's characters."""
    for who in PEOPLE:
        for number in range(each):
            path = gallery / who.name / f"{number}.png"
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                picture(who, number).save(path)


def check_requests_during_a_reindex(place: Workplace) -> None:
    draw_people(place.gallery, each=2)
    worker = place.start_worker()
    assert "6 pictures" in place.said(place.ask_reindex())
    before = current_version(place.data)
    known = as_jpeg(place.gallery / PEOPLE[0].name / "1.png")

    draw_people(place.gallery, each=6)
    (place.gallery / "Newcomer").mkdir()
    picture(NEWCOMER, 0).save(place.gallery / "Newcomer" / "0.png")
    newcomer = as_jpeg(place.gallery / "Newcomer" / "0.png")
    reindex = place.ask_reindex()
    waits: list[float] = []
    while not place.is_done(reindex):
        asked = time.monotonic()
        answer = place.answer(place.ask(known, count=1))
        waits.append(time.monotonic() - asked)
        assert answer.state is FileState.ANSWERED, answer
        assert answer.caption is not None
        assert answer.caption.startswith(f"1. {PEOPLE[0].name}"), answer.caption
    print(f"{len(waits)} requests during the reindex, the slowest took {max(waits):.2f} s")
    assert len(waits) >= 3
    assert max(waits) < SOON_SECONDS

    assert "19 pictures" in place.said(reindex)
    assert current_version(place.data) != before
    answer = place.answer(place.ask(newcomer, count=1))
    assert answer.caption is not None
    assert "Newcomer" in answer.caption
    assert worker.output().count("opened index version") == 2
    assert "Traceback" not in worker.output()


def test_many_people_at_once_are_all_answered_during_a_reindex(tmp_path: Path) -> None:
    """Fakes: more requests than hands, and a reindex in one of them."""
    with real_redis() as server:
        place = Workplace(server, tmp_path)
        try:
            drawn_gallery(place.gallery, each=3)
            place.start_worker(fakes=True, FAKE_DETECT_SECONDS="0.05")
            place.said(place.ask_reindex())
            drawn_gallery(place.gallery, each=6)
            reindex = place.ask_reindex()
            jobs = [
                place.ask((place.gallery / name / "1.png").read_bytes(), count=1)
                for name in ("amber", "blue", "coral", "dark") * 8
            ]
            for job, name in zip(jobs, ("amber", "blue", "coral", "dark") * 8, strict=True):
                caption = place.answer(job).caption
                assert caption is not None
                assert caption.startswith(f"1. {name}")
            assert "30 pictures" in place.said(reindex)
            assert place.in_hand() <= 1
        finally:
            place.close()
