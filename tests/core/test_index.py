"""Given published versions, which one is opened, which are refused, and what a failure changes."""

from __future__ import annotations

import csv
import dataclasses
import errno
import gc
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from core import index
from core.face import Face
from core.index import FORMAT, Index, build_lock, current_manifest, current_version, publish
from core.look import Look
from core.models import ModelError
from core.problem import Problem
from core.rows import Contents, IndexedFace, IndexedPicture, Query
from core.trees import RECALL_TARGET
from tests.core.closed import close_to_this_user
from tests.core.directions import unit
from tests.core.fakes import FakeDetector, FakeExtractor

DETECTOR, EXTRACTOR = FakeDetector(), FakeExtractor()


def some_contents(pictures: int = 6, seed: int = 0) -> Contents:
    """Every picture but the first has a face; pictures come in small groups that are alike."""
    generator = np.random.default_rng(seed)
    groups = np.arange(pictures) // 20
    faces = unit(generator, groups[-1] + 1, EXTRACTOR.face_dimensions)[groups]
    faces = faces + 0.3 * unit(generator, pictures, EXTRACTOR.face_dimensions)
    feels = unit(generator, groups[-1] + 1, EXTRACTOR.picture_dimensions)[groups]
    feels = feels + 0.3 * unit(generator, pictures, EXTRACTOR.picture_dimensions)
    return Contents(
        tuple(
            IndexedPicture(f"é, {n % 3}/{n:04}.png", f"é, {n % 3}", f"{n:064x}", 64, 48)
            for n in range(pictures)
        ),
        tuple(
            IndexedFace(n, Face((1.5, 2.25, 30.0 + n % 7, 40.0), 0.75)) for n in range(1, pictures)
        ),
        feels / np.linalg.norm(feels, axis=1, keepdims=True),
        (faces / np.linalg.norm(faces, axis=1, keepdims=True))[1:],
    )


def published(data: Path, contents: Contents | None = None, exact_below: int = 1000) -> str:
    return publish(
        data,
        data / "gallery",
        contents or some_contents(),
        DETECTOR,
        EXTRACTOR,
        exact_below=exact_below,
    )


def opened(data: Path) -> Index:
    return Index.open_current(data, DETECTOR, EXTRACTOR)


def refused(data: Path) -> Problem:
    with pytest.raises(Problem) as caught:
        opened(data)
    return caught.value


def test_what_was_published_is_what_opens(tmp_path: Path) -> None:
    contents = some_contents()
    version = published(tmp_path, contents)
    assert current_version(tmp_path) == version
    read = opened(tmp_path)
    assert read.version == version
    assert read.pictures == contents.pictures
    assert read._rows.contents.faces == contents.faces
    assert np.array_equal(read._rows.contents.face_vectors, contents.face_vectors)
    assert np.array_equal(read._rows.contents.picture_vectors, contents.picture_vectors)


@pytest.mark.parametrize("pictures", [8, 50])
@pytest.mark.parametrize("exact_below", [1, 1000])
def test_a_version_with_copies_answers_as_the_one_without_them(
    tmp_path: Path, pictures: int, exact_below: int
) -> None:
    """Copies neither make a space of a few faces, nor neighbourhoods."""
    alone = some_contents(pictures)
    copies = tuple(
        dataclasses.replace(picture, path=f"é, 3/{picture.path}") for picture in alone.pictures
    )
    copied = Contents(
        alone.pictures + copies,
        alone.faces
        + tuple(dataclasses.replace(it, picture=it.picture + pictures) for it in alone.faces),
        np.concatenate([alone.picture_vectors] * 2),
        np.concatenate([alone.face_vectors] * 2),
    )
    for name, contents in (("alone", alone), ("copied", copied)):
        published(tmp_path / name, contents, exact_below)
    one, other = opened(tmp_path / "alone"), opened(tmp_path / "copied")
    for number in range(1, pictures):
        query = Query(alone.face_vectors[number - 1], alone.picture_vectors[number])
        without = alone.pictures[number].sha256
        found, expected = (each.nearest(query, 5, without) for each in (other, one))
        assert [it.picture for it in found] == [it.picture for it in expected]
        alike = [it.similarity for it in expected]
        assert [it.similarity for it in found] == pytest.approx(alike, abs=1e-6)


def test_the_manifest_says_what_the_version_is(tmp_path: Path) -> None:
    published(tmp_path)
    manifest = current_manifest(tmp_path)
    assert (manifest.pictures, manifest.faces, manifest.without_face, manifest.rows) == (6, 5, 1, 6)
    assert (manifest.detector.name, manifest.detector.sha256) == ("fake-face", DETECTOR.sha256)
    assert manifest.extractor.sha256 == EXTRACTOR.sha256
    assert (manifest.face_dimensions, manifest.picture_dimensions) == (12, 27)
    assert (manifest.metric, manifest.trees, manifest.search_k) == ("angular", 0, {})
    assert set(manifest.files) == {
        "faces.csv",
        "faces.npy",
        "nearest.npy",
        "pictures.csv",
        "pictures.npy",
    }


def test_the_face_table_can_be_read_by_people(tmp_path: Path) -> None:
    version = published(tmp_path)
    with (tmp_path / "versions" / version / "faces.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 5
    assert lines[0]["path"] == "é, 1/0001.png"
    assert lines[0]["character"] == "é, 1"
    assert [float(lines[0][side]) for side in ("x0", "y0", "x1", "y1")] == [1.5, 2.25, 31.0, 40.0]


def test_names_with_line_breaks_and_quotes_survive(tmp_path: Path) -> None:
    contents = some_contents()
    odd = IndexedPicture('a\r\n"b"\n,/\r.png', 'a\r\n"b"\n,', "f" * 64, 1, 1)
    flat = IndexedPicture("flat.png", None, "e" * 64, 1, 1)
    pictures = (odd, flat, *contents.pictures[2:])
    changed = Contents(pictures, contents.faces, contents.picture_vectors, contents.face_vectors)
    published(tmp_path, changed)
    assert opened(tmp_path).pictures == pictures


def test_the_pictures_lie_where_they_were_indexed_or_else_where_the_settings_say(
    tmp_path: Path,
) -> None:
    published(tmp_path)
    elsewhere = tmp_path / "mounted elsewhere"
    assert opened(tmp_path).gallery(elsewhere) == elsewhere
    (tmp_path / "gallery").mkdir()
    assert opened(tmp_path).gallery(elsewhere) == tmp_path / "gallery"


def test_pictures_that_this_user_may_not_see_lie_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as of an index that root built, below a home that only root may enter."""
    published(tmp_path)
    read, elsewhere = opened(tmp_path), tmp_path / "mounted elsewhere"
    (tmp_path / "gallery").mkdir()
    with monkeypatch.context() as patched:
        close_to_this_user(tmp_path / "gallery", patched)
        assert read.gallery(elsewhere) == elsewhere
    monkeypatch.setattr(os, "access", lambda path, rights: rights != os.R_OK | os.X_OK)
    assert read.gallery(elsewhere) == elsewhere


def test_thumbnails_lie_in_the_data_folder_and_say_how_wide_their_pictures_are(
    tmp_path: Path,
) -> None:
    published(tmp_path)
    read = opened(tmp_path)
    thumbnail = read.thumbnail(read.pictures[2])
    assert thumbnail.path == tmp_path / "thumbnails" / f"{2:064x}.jpg"
    assert thumbnail.width == 64


def test_nothing_published_says_what_to_run(tmp_path: Path) -> None:
    assert current_version(tmp_path) is None
    assert current_version(tmp_path / "no folder") is None
    problem = refused(tmp_path)
    assert problem.key == "nothing_indexed"
    assert "familiar index build" in problem.sentence()


@pytest.mark.parametrize(
    ("detector", "extractor", "named"),
    [
        (FakeDetector(revision=2), EXTRACTOR, "fake-face"),
        (DETECTOR, FakeExtractor(revision=2), "fake-character"),
    ],
)
def test_a_version_of_other_models_is_refused_until_a_build_with_them(
    tmp_path: Path, detector: FakeDetector, extractor: FakeExtractor, named: str
) -> None:
    """Also where they see in every picture what the former ones saw."""
    published(tmp_path)
    with pytest.raises(Problem) as caught:
        Index.open_current(tmp_path, detector, extractor)
    assert caught.value.key == "index_other_models"
    assert named in caught.value.sentence()
    assert "familiar index build" in caught.value.sentence()
    version = publish(tmp_path, tmp_path / "gallery", some_contents(), detector, extractor)
    assert Index.open_current(tmp_path, detector, extractor).version == version


def rewrite_manifest(data: Path, **changes: object) -> None:
    path = data / "versions" / str(current_version(data)) / "manifest.json"
    form = json.loads(path.read_text())
    form.update(changes)
    path.write_text(json.dumps(form))


def test_a_version_with_another_metric_than_it_is_searched_by_is_refused(tmp_path: Path) -> None:
    """Annoy's file does not say which metric it was built for, and answers wrongly with another."""
    published(tmp_path)
    rewrite_manifest(tmp_path, metric="euclidean")
    assert refused(tmp_path).key == "index_other_format"


@pytest.mark.parametrize("other", [FORMAT - 1, FORMAT + 1])
def test_a_version_of_another_format_is_refused_whatever_else_it_says(
    tmp_path: Path, other: int
) -> None:
    published(tmp_path)
    rewrite_manifest(tmp_path, format=other, something_new=1)
    assert refused(tmp_path).key == "index_other_format"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [cut, flip, Path.unlink])
@pytest.mark.parametrize(
    "name",
    ["faces.npy", "nearest.npy", "pictures.npy", "faces.csv", "pictures.csv", "rows.annoy"],
)
def test_a_damaged_file_is_refused_by_name(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    version = published(tmp_path, exact_below=1)
    damage(tmp_path / "versions" / version / name)
    problem = refused(tmp_path)
    assert problem.key == "index_damaged"
    assert name in problem.sentence()


def not_a_table(path: Path) -> None:
    path.write_text("no table\nof ours\n")


def one_row_less(path: Path) -> None:
    np.save(path, np.load(path)[:-1])


def one_row_alone(path: Path) -> None:
    np.save(path, np.load(path)[0])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("faces.csv", not_a_table),
        ("pictures.csv", not_a_table),
        ("faces.npy", one_row_less),
        ("nearest.npy", one_row_less),
        ("nearest.npy", one_row_alone),
    ],
)
def test_a_file_that_was_published_wrong_is_refused_by_name(
    tmp_path: Path, name: str, change: Callable[[Path], None]
) -> None:
    version = tmp_path / "versions" / published(tmp_path, some_contents(50))
    change(version / name)
    files = json.loads((version / "manifest.json").read_text())["files"]
    data = (version / name).read_bytes()
    files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite_manifest(tmp_path, files=files)
    problem = refused(tmp_path)
    assert problem.key == "index_damaged"
    assert name in problem.sentence()


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_a_damaged_manifest_is_refused(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    version = published(tmp_path)
    damage(tmp_path / "versions" / version / "manifest.json")
    assert refused(tmp_path).key == "index_damaged"


@pytest.mark.parametrize("text", ["", "../../etc", "no-such-version", "\0"])
def test_a_damaged_pointer_is_refused(tmp_path: Path, text: str) -> None:
    published(tmp_path)
    (tmp_path / "current").write_text(text)
    assert refused(tmp_path).key == "index_damaged"


def test_publishing_again_heals_a_damaged_version(tmp_path: Path) -> None:
    version = published(tmp_path)
    cut(tmp_path / "versions" / version / "faces.npy")
    assert published(tmp_path) != version
    assert len(opened(tmp_path).pictures) == 6


def test_equal_contents_are_not_published_twice(tmp_path: Path) -> None:
    version = published(tmp_path)
    assert published(tmp_path) == version
    assert published(tmp_path, some_contents(seed=1)) != version


def test_equal_pictures_under_another_name_are_published(tmp_path: Path) -> None:
    """A picture in another folder shows another character."""
    contents = some_contents()
    version = published(tmp_path, contents)
    moved = dataclasses.replace(contents.pictures[-1], path="z/0005.png", character="z")
    pictures = (*contents.pictures[:-1], moved)
    assert published(tmp_path, dataclasses.replace(contents, pictures=pictures)) != version
    assert opened(tmp_path).pictures == pictures


def test_equal_contents_of_another_folder_are(tmp_path: Path) -> None:
    """Else collages would be drawn from a folder that may be gone tomorrow."""
    version = published(tmp_path)
    moved = tmp_path / "moved"
    assert publish(tmp_path, moved, some_contents(), DETECTOR, EXTRACTOR) != version
    assert current_manifest(tmp_path).gallery == str(moved)


def test_another_threshold_is_another_version(tmp_path: Path) -> None:
    version = published(tmp_path)
    stricter = FakeDetector(threshold=0.6)
    assert publish(tmp_path, tmp_path / "gallery", some_contents(), stricter, EXTRACTOR) != version
    assert current_manifest(tmp_path).threshold == 0.6


def test_the_last_three_versions_are_kept(tmp_path: Path) -> None:
    versions = [published(tmp_path, some_contents(seed=seed)) for seed in range(5)]
    kept = sorted(path.name for path in (tmp_path / "versions").iterdir())
    assert kept == versions[2:]
    assert opened(tmp_path).version == versions[-1]


def test_the_version_in_use_is_kept_though_its_name_is_older(tmp_path: Path) -> None:
    """A clock that was set back must not make the pointer lead nowhere."""
    for name in (f"29990101T000000000000-00000{last}" for last in "abc"):
        (tmp_path / "versions" / name).mkdir(parents=True)
    version = published(tmp_path)
    assert (tmp_path / "versions" / version).is_dir()
    assert len(list((tmp_path / "versions").iterdir())) == 3


def test_what_somebody_else_keeps_beside_the_versions_stays(tmp_path: Path) -> None:
    foreign = {"1.0", "1.1", "2.0", "2.1.partial"}
    for name in foreign:
        (tmp_path / "versions" / name).mkdir(parents=True)
        (tmp_path / "versions" / name / "release.zip").write_bytes(b"mine")
    (tmp_path / "build.lock").write_text("mine")
    versions = {published(tmp_path, some_contents(seed=seed)) for seed in range(3)}
    assert {path.name for path in (tmp_path / "versions").iterdir()} == foreign | versions
    assert len(list((tmp_path / "versions").glob("*/release.zip"))) == 4
    with build_lock(tmp_path):
        assert (tmp_path / "build.lock").read_text() == "mine"


def test_a_file_of_somebody_elses_with_the_pointers_name_stands_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "current").write_text("1.0, since May\n")
    with pytest.raises(Problem, match="FAMILIAR_DATA") as caught, build_lock(tmp_path):
        pass
    assert caught.value.key == "data_foreign"
    assert (tmp_path / "current").read_text() == "1.0, since May\n"


def test_a_damaged_pointer_is_made_anew(tmp_path: Path) -> None:
    published(tmp_path)
    (tmp_path / "current").write_text("../x")
    with build_lock(tmp_path):
        version = published(tmp_path, some_contents(seed=1))
    assert current_version(tmp_path) == version


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "versions" / "20200101T000000000000-dead00.partial"
    left.mkdir(parents=True)
    (left / "faces.npy").write_bytes(b"half")
    version = published(tmp_path)
    assert [path.name for path in (tmp_path / "versions").iterdir()] == [version]


@pytest.mark.parametrize("step", ["_write_tables", "_sync", "_open", "_point_at"])
def test_a_build_that_fails_anywhere_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    version = published(tmp_path)

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        if step == "_open":
            original = index._open
            patched.setattr(
                index,
                step,
                lambda folder, it: fail() if "part" in folder.name else original(folder, it),
            )
        else:
            patched.setattr(index, step, fail)
        with pytest.raises(Problem, match="No space left on device"):
            published(tmp_path, some_contents(seed=1))
    assert current_version(tmp_path) == version
    assert opened(tmp_path).version == version
    # Where the disk is full, it would take the room that the next build needs.
    assert not list((tmp_path / "versions").glob("*.partial"))


def test_running_queries_finish_on_a_version_that_is_gone(tmp_path: Path) -> None:
    contents = some_contents(200)
    published(tmp_path, contents, exact_below=1)
    old = opened(tmp_path)
    query = Query(contents.face_vectors[0], contents.picture_vectors[1], (0.5, 0.5))
    before = old.nearest(query, 5)
    for seed in range(1, 5):
        published(tmp_path, some_contents(200, seed=seed))
    assert not (tmp_path / "versions" / old.version).exists()
    gc.collect()
    assert old.nearest(query, 5) == before
    assert current_version(tmp_path) != old.version


def test_many_threads_ask_while_versions_come_and_go(tmp_path: Path) -> None:
    published(tmp_path, some_contents(300), exact_below=1)
    read = opened(tmp_path)
    asked = read._rows.sample_queries(Look.BOTH, (0.5, 0.5), 40, seed=0)
    alone = [read.nearest(query, 5, without) for query, without in asked]
    with ThreadPoolExecutor(8) as pool:
        rounds = [
            pool.submit(lambda: [read.nearest(query, 5, without) for query, without in asked])
            for _ in range(16)
        ]
        for seed in range(1, 4):
            published(tmp_path, some_contents(seed=seed))
        assert all(it.result() == alone for it in rounds)


def test_a_reader_between_two_versions_opens_the_newer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published(tmp_path)
    answers = iter(["20200101T000000000000-gone00"])
    real = current_version
    monkeypatch.setattr(index, "current_version", lambda data: next(answers, None) or real(data))
    assert opened(tmp_path).version == real(tmp_path)


def test_vectors_that_are_not_what_the_extractor_promises_are_not_published(
    tmp_path: Path,
) -> None:
    version = published(tmp_path)
    good = some_contents(seed=1)
    endless = good.face_vectors.copy()
    endless[2, 0] = np.nan
    incomparable = "vectors that are not of unit length, so that they cannot be compared"
    for faces, pictures, sentence in (
        (endless, good.picture_vectors, f"gave face {incomparable}"),
        (good.face_vectors * 2, good.picture_vectors, f"gave face {incomparable}"),
        (good.face_vectors, good.picture_vectors * 0, f"gave picture {incomparable}"),
        (good.face_vectors, good.picture_vectors[:, :5], "promises picture"),
        (good.face_vectors[1:], good.picture_vectors, "promises face"),
        (good.face_vectors.astype(np.float64), good.picture_vectors, "promises face"),
    ):
        with pytest.raises(ModelError, match=f"'fake-character' {sentence}"):
            published(tmp_path, Contents(good.pictures, good.faces, pictures, faces))
    assert current_version(tmp_path) == version


def test_trees_are_built_above_the_limit_and_reach_the_recall(tmp_path: Path) -> None:
    contents = some_contents(4000)
    published(tmp_path, contents, exact_below=4000)
    manifest = current_manifest(tmp_path)
    assert manifest.trees == index.TREES
    assert "rows.annoy" in manifest.files
    read = opened(tmp_path)
    for look in Look:
        assert manifest.recall[look] >= RECALL_TARGET
        assert manifest.search_k[look] <= manifest.rows // 2
        asked = read._rows.sample_queries(look, EXTRACTOR.weights_of_both, 50, seed=99)
        shares = []
        for query, without in asked:
            exact = read._rows.nearest_exactly(query, 10, without)
            found = read.nearest(query, 10, without)
            shares.append(len(set(exact) & set(found)) / 10)
        assert np.mean(shares) > 0.97


def test_a_look_that_annoy_cannot_serve_is_searched_exactly(tmp_path: Path) -> None:
    """Vectors without any structure: no branch of a tree holds the neighbours together."""
    generator = np.random.default_rng(0)
    good = some_contents(3000)
    noise = Contents(
        good.pictures,
        good.faces,
        unit(generator, 3000, EXTRACTOR.picture_dimensions),
        unit(generator, 2999, EXTRACTOR.face_dimensions),
    )
    published(tmp_path, noise, exact_below=1)
    assert Look.BOTH not in current_manifest(tmp_path).search_k
    read = opened(tmp_path)
    [(query, without)] = read._rows.sample_queries(Look.BOTH, (0.6, 0.4), 1, seed=3)
    assert read.nearest(query, 10, without) == read._rows.nearest_exactly(query, 10, without)


def test_building_is_reproducible(tmp_path: Path) -> None:
    hashes = []
    for name in ("a", "b"):
        published(tmp_path / name, some_contents(500), exact_below=1)
        hashes.append(current_manifest(tmp_path / name).files)
    assert hashes[0] == hashes[1]


def test_one_build_at_a_time(tmp_path: Path) -> None:
    with build_lock(tmp_path):
        with pytest.raises(Problem) as caught, build_lock(tmp_path):
            pass
        assert caught.value.key == "index_building"
    with build_lock(tmp_path):
        pass


def test_a_killed_builder_holds_the_lock_no_longer(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom core.index import build_lock\n"
        "with build_lock(Path(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=root, check=False)
    assert done.returncode == -9
    with build_lock(tmp_path):
        pass


@pytest.mark.parametrize("how", ["a file in the way", "no right to write"])
def test_a_data_folder_that_cannot_be_written_says_so(tmp_path: Path, how: str) -> None:
    data = tmp_path / "data"
    if how == "a file in the way":
        data.write_text("")
    else:
        data.mkdir(mode=0o500)
        if os.access(data, os.W_OK):  # root may write anywhere
            data = Path("/proc/familiar")
    with pytest.raises(Problem) as caught, build_lock(data):
        pass
    assert caught.value.key == "data_unwritable"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (OSError("512 requested and 96 written"), "512 requested and 96 written"),
        (OSError(), "OSError"),
    ],
    ids=["of the system", "of numpy", "without a word"],
)
def test_why_a_version_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, reason: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(index.np, "save", full)
    with pytest.raises(Problem) as caught:
        publish(tmp_path, tmp_path, some_contents(), DETECTOR, EXTRACTOR)
    assert f"cannot be written: {reason}. " in caught.value.sentence()


class Stopped(Exception):
    """Somebody asked for the work to end."""


def test_publishing_can_be_ended_at_every_step_and_the_version_in_use_stays(
    tmp_path: Path,
) -> None:
    before = published(tmp_path)
    contents = some_contents(2400, seed=1)

    def publish_until(steps: int) -> tuple[str, int]:
        done = 0

        def between() -> None:
            nonlocal done
            assert current_version(tmp_path) == before
            done += 1
            if done == steps:
                raise Stopped

        version = publish(
            tmp_path,
            tmp_path / "gallery",
            contents,
            DETECTOR,
            EXTRACTOR,
            exact_below=100,
            between=between,
        )
        return version, done

    for steps in (1, 2, 5, 300, 650):
        with pytest.raises(Stopped):
            publish_until(steps)
        assert opened(tmp_path).version == before
    version, steps = publish_until(0)
    assert opened(tmp_path).version == version
    assert steps > 650, "for each query that recall is measured with"
