"""The index in memory follows the pointer, and never to something worse."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

import worker.main
import worker.resident
from core.face import Pixels, Vectors
from core.gallery import build_index
from core.index import FORMAT, Index, current_version
from core.look import Look
from core.models import ModelError
from core.picture import Picture, read
from core.problem import Problem
from core.search import Searcher
from core.settings import ModelSettings, load_settings
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery
from tests.core.models.test_chosen import CountingModels
from worker.resident import SECONDS_BETWEEN_TRIES, Resident


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return drawn_gallery(tmp_path / "gallery")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def resident(data: Path) -> Iterator[Resident]:
    resident = Resident(FakeDetector(), FakeExtractor(), data)
    yield resident
    resident.close()


def build(gallery: Path, data: Path, revision: int = 1) -> None:
    build_index(gallery, data, FakeDetector(), FakeExtractor(revision))


def names(searcher: Searcher, picture: Picture) -> list[str]:
    (row,) = searcher.search(picture, Look.FEEL, 9).rows
    return [match.path for match in row.matches]


def test_nothing_is_indexed_until_it_is(resident: Resident, gallery: Path, data: Path) -> None:
    with pytest.raises(Problem) as problem:
        resident.searcher()
    assert problem.value.key == "nothing_indexed"
    build(gallery, data)
    assert names(resident.searcher(), read(gallery / "blue" / "0.png"))


def test_one_version_is_opened_once(resident: Resident, gallery: Path, data: Path) -> None:
    build(gallery, data)
    assert resident.searcher() is resident.searcher()
    build(gallery, data)
    assert resident.searcher() is resident.searcher()


def test_a_new_version_answers_at_once_and_the_old_one_to_its_end(
    resident: Resident, gallery: Path, data: Path
) -> None:
    build(gallery, data)
    running = resident.searcher()
    picture = read(gallery / "blue" / "0.png")
    Image.fromarray(picture.pixels).save(gallery / "blue" / "twin.jpg", quality=95)
    for _ in range(4):  # more versions than are kept
        build(gallery, data)
        Image.fromarray(picture.pixels[:-1]).save(gallery / "amber" / f"{_}.png")
    assert names(resident.searcher(), picture)[0] == "blue/twin.jpg"
    assert "blue/twin.jpg" not in names(running, picture)


def problem_of_a_fresh_worker(data: Path) -> Problem:
    fresh = Resident(FakeDetector(), FakeExtractor(), data)
    with pytest.raises(Problem) as problem:
        fresh.searcher()
    fresh.close()
    return problem.value


@pytest.fixture
def newer(resident: Resident, gallery: Path, data: Path) -> tuple[Searcher, Path]:
    """What a worker searches with, and the folder of a version that is published after it."""
    build(gallery, data)
    intact = resident.searcher()
    (gallery / "blue" / "0.png").unlink()
    build(gallery, data)
    version = current_version(data)
    assert version is not None
    return intact, data / "versions" / version


def test_a_damaged_version_does_not_replace_an_intact_one(
    resident: Resident, data: Path, newer: tuple[Searcher, Path]
) -> None:
    intact, version = newer
    for path in version.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:64])
    assert resident.searcher() is intact
    assert problem_of_a_fresh_worker(data).key == "index_damaged"


def test_a_version_that_could_not_be_opened_for_a_while_is_tried_again(
    resident: Resident,
    data: Path,
    newer: tuple[Searcher, Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    intact, version = newer
    began = time.monotonic()
    tables, elsewhere = version / "faces.csv", data / "faces.csv"

    def seconds_later(seconds: float) -> Searcher:
        with monkeypatch.context() as later:
            later.setattr(worker.resident.time, "monotonic", lambda: began + seconds)
            return resident.searcher()

    tables.rename(elsewhere)
    for seconds in (0, SECONDS_BETWEEN_TRIES + 1):
        assert seconds_later(seconds) is intact
    assert len([it for it in caplog.records if it.levelname == "ERROR"]) == 1, "it is said once"
    elsewhere.rename(tables)
    assert seconds_later(SECONDS_BETWEEN_TRIES + 2) is intact, "not tried for every question"
    opened = seconds_later(2 * SECONDS_BETWEEN_TRIES + 2)
    assert opened is not intact
    assert opened.index.version == version.name
    assert seconds_later(9 * SECONDS_BETWEEN_TRIES) is opened


def test_nobody_waits_while_a_version_is_tried_again(
    resident: Resident, newer: tuple[Searcher, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    intact, version = newer
    (version / "faces.csv").unlink()
    assert resident.searcher() is intact
    meanwhile = []

    def open_slowly(*_: object) -> Index:
        with ThreadPoolExecutor(1) as other:
            meanwhile.append(other.submit(resident.searcher).result(timeout=30))
        raise Problem("index_damaged", file="faces.csv")

    monkeypatch.setattr(worker.resident.Index, "open_current", open_slowly)
    now = time.monotonic() + SECONDS_BETWEEN_TRIES
    monkeypatch.setattr(worker.resident.time, "monotonic", lambda: now)
    assert resident.searcher() is intact
    assert meanwhile == [intact]


def test_a_damaged_pointer_does_not_silence_an_intact_index(
    resident: Resident, gallery: Path, data: Path
) -> None:
    build(gallery, data)
    intact = resident.searcher()
    pointer = (data / "current").read_text()
    (data / "current").write_text("../x")
    assert resident.searcher() is intact
    assert problem_of_a_fresh_worker(data).key == "index_damaged"
    (data / "current").write_text(pointer)
    assert resident.searcher() is intact


def test_a_worker_answers_as_before_until_it_is_restarted_with_the_models_of_the_new_index(
    resident: Resident, gallery: Path, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    build(gallery, data)
    intact = resident.searcher()
    build(gallery, data, revision=2)
    for _ in range(2):
        assert resident.searcher() is intact
    [record] = [it for it in caplog.records if it.levelname == "ERROR"]
    assert "restart the worker" in record.getMessage()
    assert "restart the worker" in problem_of_a_fresh_worker(data).sentence()
    (gallery / "blue" / "0.png").unlink()
    build(gallery, data)
    assert resident.searcher() is not intact


def test_an_index_of_another_program_version_does_not_silence_an_intact_one(
    resident: Resident, data: Path, newer: tuple[Searcher, Path]
) -> None:
    intact, version = newer
    manifest = version / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"format": FORMAT + 1}))
    assert resident.searcher() is intact
    assert "restart the worker" in problem_of_a_fresh_worker(data).sentence()


def test_models_that_cannot_look_are_told_before_anybody_asks(data: Path) -> None:
    class Failing(FakeExtractor):
        def embed_pictures(self, pictures: Pixels) -> Vectors:
            raise ValueError("not these")

    resident = Resident(FakeDetector(), Failing(), data)
    with pytest.raises(ModelError, match="fake-character loads but cannot look at a picture: not"):
        resident.warm_up()
    resident.close()


@pytest.mark.parametrize("own", [False, True])
def test_a_worker_lets_models_look_once(
    data: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    models = CountingModels(monkeypatch)
    named = {"detector": "cascade:own.xml", "extractor": "onnx:own.onnx"} if own else {}
    monkeypatch.setenv("FAMILIAR_DATA", str(data))
    model = ModelSettings(device="cpu", **named)
    settings = load_settings().model_copy(update={"model": model})
    resident = worker.main._resident(settings)
    assert resident is not None
    resident.close()
    assert models.seen == (2, 2, 2)
