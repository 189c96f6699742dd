"""Versions of an index: each one immutable, published as a whole, and checked when opened.

::

    versions/<version>/manifest.json   what made it, what it holds, and the hash of every file
                       pictures.csv    one line a picture
                       faces.csv       one line a face, with the picture that it was found in
                       pictures.npy    (pictures, e) float32
                       faces.npy       (faces, d) float32
                       nearest.npy     (f, k) int32, the faces most like each, of the first file
                                       of each content
                       rows.annoy      Annoy's trees; only where there are many rows
    current                            the name of the version in use

A version is built beside the others under a name that no reader looks at, checked, renamed, and
then one pointer is moved: whatever fails or is killed on the way changes nothing.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from core.face import Face, of_unit_length
from core.face_space import dimensions_in_space
from core.look import Look
from core.models import Detector, Extractor, ModelError
from core.neighbourhood import Between
from core.problem import Problem
from core.rows import (
    METRIC,
    Contents,
    IndexedFace,
    IndexedPicture,
    Neighbour,
    Query,
    Rows,
)
from core.thumbnails import Thumbnail, Thumbnails
from core.trees import build_trees, choose_search_k

FORMAT: Final = 4
"""Raised where the files of a version change their form or what they mean."""
EXACT_BELOW: Final = 30_000
"""Rows up to which exact search alone is faster than Annoy, and right."""
TREES: Final = 100
KEPT_VERSIONS: Final = 3

_PARTIAL = ".partial"
_OWN_NAME = re.compile(r"\d{8}T\d{12}-[0-9a-f]{6}")
"""Of a version. Whatever else lies beside the versions is somebody else's, and stays."""
_MANIFEST = "manifest.json"
_PICTURES = "pictures.csv"
_FACES = "faces.csv"
_PICTURE_VECTORS = "pictures.npy"
_FACE_VECTORS = "faces.npy"
_NEAREST_FACES = "nearest.npy"
_TREES = "rows.annoy"
_PICTURE_COLUMNS = ("picture", "path", "character", "sha256", "width", "height")
_FACE_COLUMNS = ("face", "picture", "path", "character", "x0", "y0", "x1", "y1", "score")


class _FromFile(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelIdentity(_FromFile):
    """Which model made the vectors."""

    name: str
    sha256: str


class FileIdentity(_FromFile):
    """A file of a version as it was published."""

    bytes: int
    sha256: str


class Manifest(_FromFile):
    """What a version says of itself.

    Attributes:
        format: Of the version's folder.
        version: Its name.
        created: When, in UTC.
        gallery: The folder it was made from.
        detector: Found the faces.
        threshold: Score from which a box counted as a face.
        extractor: Made the vectors.
        metric: That the trees were built for.
        face_dimensions: Length of a face vector.
        picture_dimensions: Length of a picture vector.
        pictures: In the version.
        faces: In the version.
        without_face: Pictures in which no face was found.
        rows: ``faces + without_face``.
        trees: Annoy's; 0: every search is exact.
        search_k: Nodes that Annoy inspects, for each look that it reaches the target with; the
            others are searched exactly.
        recall: Share of the exact ten nearest that Annoy finds with that, 0..1.
        contents: SHA-256 over pictures, faces and vectors.
        files: The version's other files.
    """

    format: int
    version: str
    created: datetime
    gallery: str
    detector: ModelIdentity
    threshold: float
    extractor: ModelIdentity
    metric: str
    face_dimensions: int
    picture_dimensions: int
    pictures: int
    faces: int
    without_face: int
    rows: int
    trees: int
    search_k: dict[Look, int]
    recall: dict[Look, float]
    contents: str
    files: dict[str, FileIdentity]


class Index:
    """A version that is open for searching. Safe to use from several threads.

    Its files stay readable for as long as this object lives, also after the version is removed,
    so a reader that reopens simply lets go of the old one.

    Attributes:
        manifest: What the version says of itself.
    """

    def __init__(self, manifest: Manifest, rows: Rows, thumbnails: Thumbnails) -> None:
        self.manifest = manifest
        self._rows = rows
        self._thumbnails = thumbnails

    @property
    def version(self) -> str:
        """The version's name."""
        return self.manifest.version

    @property
    def pictures(self) -> tuple[IndexedPicture, ...]:
        """Every picture, sorted by path."""
        return self._rows.contents.pictures

    def gallery(self, configured: Path) -> Path:
        """Where its pictures lie: the folder that it was made from, where that can be looked into.

        Args:
            configured: Taken otherwise: the same pictures may be mounted elsewhere.
        """
        made_from = Path(self.manifest.gallery)
        # Not `Path.is_dir`, which raises where a folder above may not be entered.
        there = os.path.isdir(made_from) and os.access(made_from, os.R_OK | os.X_OK)
        return made_from if there else configured

    def thumbnail(self, picture: IndexedPicture) -> Thumbnail:
        """Where a build kept one of its pictures as small as a collage shows it, if it did."""
        return self._thumbnails.of(picture.sha256, picture.width)

    def nearest(self, query: Query, count: int, without: str = "") -> tuple[Neighbour, ...]:
        """The pictures most like the query; see `core.rows.Rows.nearest`."""
        return self._rows.nearest(query, count, without)

    @classmethod
    def open_current(cls, data: Path, detector: Detector, extractor: Extractor) -> Index:
        """Open the version that is in use.

        Raises:
            Problem: Nothing is indexed yet, a file is damaged, or other models made the version.
        """
        while True:
            version = current_version(data)
            if version is None:
                raise Problem("nothing_indexed")
            try:
                manifest = _read_manifest(_versions(data) / version)
                _refuse_other_models(manifest, detector, extractor)
                return _open(_versions(data) / version, manifest)
            except Problem:
                if current_version(data) == version:
                    raise
                # A newer version took its place, and it was removed, between the two steps.


def current_version(data: Path) -> str | None:
    """The name of the version in use; None where nothing is published. Cheap: one small read."""
    try:
        name = (data / "current").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("index_damaged", file="current") from error
    if not re.fullmatch(r"[0-9A-Za-z-]+", name):
        raise Problem("index_damaged", file="current")
    return name


def current_manifest(data: Path) -> Manifest:
    """What the version in use says of itself.

    Raises:
        Problem: Nothing is indexed yet, or the manifest is damaged.
    """
    version = current_version(data)
    if version is None:
        raise Problem("nothing_indexed")
    return _read_manifest(_versions(data) / version)


def pictures_in_use(data: Path) -> tuple[IndexedPicture, ...]:
    """The pictures of the version in use; none where that cannot be read."""
    try:
        version = current_version(data)
        if version is None:
            return ()
        pictures, _ = _read_tables(_versions(data) / version)
    except Problem:
        return ()
    return pictures


@contextmanager
def build_lock(data: Path) -> Iterator[None]:
    """Hold the one right to build in a data folder; a killed process loses it by itself.

    Raises:
        Problem: Another process is building, the folder cannot be written, or what has the name of
            the pointer there is somebody else's.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        file = (data / "build.lock").open("a")
    except OSError as error:
        raise _unwritable(data, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Problem("index_building") from error
        _refuse_foreign_pointer(data)
        yield


def _refuse_foreign_pointer(data: Path) -> None:
    """A damaged pointer is made anew; but where no version lies, a build has made none."""
    pointer, versions = data / "current", _versions(data)
    try:
        text = pointer.read_bytes().decode("utf-8", "replace").strip()
        names = os.listdir(versions) if versions.is_dir() else []
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(data, error) from error
    if text and not any(_OWN_NAME.fullmatch(name) for name in [text, *names]):
        raise Problem("data_foreign", path=data, name=pointer.name)


def publish(
    data: Path,
    gallery: Path,
    contents: Contents,
    detector: Detector,
    extractor: Extractor,
    *,
    exact_below: int = EXACT_BELOW,
    between: Between = lambda: None,
) -> str:
    """Write a version, check it, and put it in use. To be called under `build_lock`.

    Nothing is written where the version in use is sound and has equal contents already.

    Args:
        data: Folder of the versions.
        gallery: Where the pictures lie; kept for people to read.
        contents: What the version holds.
        detector: That found the faces.
        extractor: That made the vectors.
        exact_below: Fewer rows than this are searched without Annoy.
        between: Called between steps until the version is put in use. What it raises ends the
            work, and the version in use stays.

    Returns:
        The name of the version in use.

    Raises:
        ModelError: The vectors are not what the extractor promises.
        Problem: The data folder cannot be written.
    """
    _check_vectors(contents, extractor)
    without_face = len(contents.pictures) - len({face.picture for face in contents.faces})
    rows = len(contents.faces) + without_face
    now = datetime.now(UTC)
    manifest = Manifest(
        format=FORMAT,
        version=f"{now:%Y%m%dT%H%M%S%f}-{secrets.token_hex(3)}",
        created=now,
        gallery=str(gallery.resolve()),
        detector=ModelIdentity(name=detector.name, sha256=detector.sha256),
        threshold=detector.threshold,
        extractor=ModelIdentity(name=extractor.name, sha256=extractor.sha256),
        metric=METRIC,
        face_dimensions=extractor.face_dimensions,
        picture_dimensions=extractor.picture_dimensions,
        pictures=len(contents.pictures),
        faces=len(contents.faces),
        without_face=without_face,
        rows=rows,
        trees=TREES if rows >= exact_below else 0,
        search_k={},
        recall={},
        contents=_fingerprint(contents),
        files={},
    )
    try:
        _remove_partial(data)
        if _is_in_use(data, manifest):
            return current_manifest(data).version
        _write_and_use(data, manifest, contents, extractor.weights_of_both, between)
    except OSError as error:
        raise _unwritable(data, error) from error
    finally:
        _remove_partial(data)
    return manifest.version


def _write_and_use(
    data: Path,
    manifest: Manifest,
    contents: Contents,
    weights: tuple[float, float],
    between: Between,
) -> None:
    folder = _versions(data) / (manifest.version + _PARTIAL)
    folder.mkdir(parents=True)
    _write_tables(folder, contents)
    np.save(folder / _PICTURE_VECTORS, contents.picture_vectors, allow_pickle=False)
    np.save(folder / _FACE_VECTORS, contents.face_vectors, allow_pickle=False)
    rows = Rows(contents, between=between)
    np.save(folder / _NEAREST_FACES, rows.nearest_faces, allow_pickle=False)
    if manifest.trees:
        trees = build_trees(rows, manifest.trees, folder / _TREES, between)
        rows = Rows(contents, trees, nearest=rows.nearest_faces)
        search_k, recall = choose_search_k(rows, manifest.trees, weights, between)
        manifest = manifest.model_copy(update={"search_k": search_k, "recall": recall})
    files = {path.name: _identity(path) for path in sorted(folder.iterdir())}
    manifest = manifest.model_copy(update={"files": files})
    (folder / _MANIFEST).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)
    _open(folder, _read_manifest(folder))
    between()
    folder.rename(_versions(data) / manifest.version)
    _sync(_versions(data))
    _point_at(data, manifest.version)
    _remove_old(data, manifest.version)


def _is_in_use(data: Path, manifest: Manifest) -> bool:
    """Whether the version in use is sound and says the same of itself, but for when it was made."""
    try:
        current = current_manifest(data)
        _open(_versions(data) / current.version, current)
    except Problem:
        return False
    own = {"version", "created", "search_k", "recall", "files"}
    return current.model_dump(exclude=own) == manifest.model_dump(exclude=own)


def _unwritable(data: Path, error: OSError) -> Problem:
    # numpy's, where a disk is full, has its reason in its text alone.
    reason = error.strerror or str(error) or type(error).__name__
    return Problem("data_unwritable", path=data, reason=reason)


def _versions(data: Path) -> Path:
    return data / "versions"


def _check_vectors(contents: Contents, extractor: Extractor) -> None:
    for what, vectors, count, dimensions in (
        ("face", contents.face_vectors, len(contents.faces), extractor.face_dimensions),
        ("picture", contents.picture_vectors, len(contents.pictures), extractor.picture_dimensions),
    ):
        if vectors.shape != (count, dimensions) or vectors.dtype != np.float32:
            raise ModelError(
                f"The extractor {extractor.name!r} promises {what} vectors of {dimensions} "
                f"dimensions and gave an array {vectors.shape} for {count}."
            )
        if not of_unit_length(vectors).all():
            raise ModelError(
                f"The extractor {extractor.name!r} gave {what} vectors that are not of unit "
                "length, so that they cannot be compared."
            )


def _fingerprint(contents: Contents) -> str:
    digest = hashlib.sha256()
    for picture in contents.pictures:
        digest.update(repr(picture).encode())
    for face in contents.faces:
        digest.update(repr(face).encode())
    digest.update(np.ascontiguousarray(contents.picture_vectors).data)
    digest.update(np.ascontiguousarray(contents.face_vectors).data)
    return digest.hexdigest()


def _write_tables(folder: Path, contents: Contents) -> None:
    _write_csv(
        folder / _PICTURES,
        _PICTURE_COLUMNS,
        (
            (number, it.path, it.character or "", it.sha256, it.width, it.height)
            for number, it in enumerate(contents.pictures)
        ),
    )
    _write_csv(
        folder / _FACES,
        _FACE_COLUMNS,
        (
            (
                number,
                it.picture,
                contents.pictures[it.picture].path,
                contents.pictures[it.picture].character or "",
                *it.face.box,
                it.face.score,
            )
            for number, it in enumerate(contents.faces)
        ),
    )


def _write_csv(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)


def _identity(path: Path) -> FileIdentity:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileIdentity(bytes=path.stat().st_size, sha256=digest)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _point_at(data: Path, version: str) -> None:
    moving = data / "current.new"
    moving.write_text(version + "\n", encoding="utf-8")
    _sync(moving)
    moving.replace(data / "current")
    _sync(data)


def _remove_partial(data: Path) -> None:
    for path in _versions(data).glob("*" + _PARTIAL):
        if not _OWN_NAME.fullmatch(path.stem):
            continue
        shutil.rmtree(path, ignore_errors=True)  # the next build tries again


def _remove_old(data: Path, current: str) -> None:
    there = {path.name for path in _versions(data).iterdir()} - {current}
    names = sorted(name for name in there if _OWN_NAME.fullmatch(name))
    for name in names[: max(0, len(names) - (KEPT_VERSIONS - 1))]:
        shutil.rmtree(_versions(data) / name, ignore_errors=True)  # the next build tries again


def _read_manifest(folder: Path) -> Manifest:
    try:
        text = (folder / _MANIFEST).read_text(encoding="utf-8")
        form: Any = json.loads(text)
        if isinstance(form, dict) and (
            form.get("format", FORMAT) != FORMAT or form.get("metric", METRIC) != METRIC
        ):
            raise Problem("index_other_format")
        return Manifest.model_validate_json(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, ValidationError) as error:
        raise Problem("index_damaged", file=_MANIFEST) from error


def _refuse_other_models(manifest: Manifest, detector: Detector, extractor: Extractor) -> None:
    for made_by, loaded in (
        (manifest.detector, detector),
        (manifest.extractor, extractor),
    ):
        if made_by.sha256 != loaded.sha256:
            raise Problem(
                "index_other_models",
                made_by=f"{made_by.name} ({made_by.sha256[:8]})",
                loaded=f"{loaded.name} ({loaded.sha256[:8]})",
            )


def _open(folder: Path, manifest: Manifest) -> Index:
    """Open a version, holding every file against the manifest."""
    needed = {_PICTURES, _FACES, _PICTURE_VECTORS, _FACE_VECTORS, _NEAREST_FACES}
    if manifest.trees:
        needed.add(_TREES)
    for name in sorted(needed):
        try:
            sound = manifest.files.get(name) == _identity(folder / name)
        except OSError:
            sound = False
        if not sound:
            raise Problem("index_damaged", file=name)
    pictures, faces = _read_tables(folder)
    contents = Contents(
        pictures,
        faces,
        _load(folder / _PICTURE_VECTORS, (manifest.pictures, manifest.picture_dimensions)),
        _load(folder / _FACE_VECTORS, (manifest.faces, manifest.face_dimensions)),
    )
    nearest = _load(folder / _NEAREST_FACES, None, np.int32)
    trees = None
    if manifest.trees:
        in_space = dimensions_in_space(len(nearest), manifest.face_dimensions)
        trees = AnnoyIndex(in_space + manifest.picture_dimensions + 1, METRIC)
        trees.load(str(folder / _TREES))
    try:
        rows = Rows(contents, trees, manifest.search_k, nearest)
    except ValueError as error:
        raise Problem("index_damaged", file=_NEAREST_FACES) from error
    if len(rows) != manifest.rows or (trees is not None and trees.get_n_items() != len(rows)):
        raise Problem("index_damaged", file=_FACES)
    return Index(manifest, rows, Thumbnails(folder.parents[1]))


def _load(
    path: Path, shape: tuple[int, int] | None, kind: type[np.generic] = np.float32
) -> NDArray[Any]:
    """An array of a version, in rows; it stays on the disk, unless it is empty or nobody knows its
    shape."""
    try:
        found: NDArray[Any] = np.load(
            path, mmap_mode="r" if shape is not None and all(shape) else None, allow_pickle=False
        )
    except (OSError, ValueError, EOFError) as error:
        raise Problem("index_damaged", file=path.name) from error
    if found.ndim != 2 or found.shape != (shape or found.shape) or found.dtype != kind:
        raise Problem("index_damaged", file=path.name)
    return found


def _read_tables(
    folder: Path,
) -> tuple[tuple[IndexedPicture, ...], tuple[IndexedFace, ...]]:
    with _lines(folder / _PICTURES) as lines:
        pictures = tuple(
            IndexedPicture(path, character or None, sha256, int(width), int(height))
            for _, path, character, sha256, width, height in lines
        )
    with _lines(folder / _FACES) as lines:
        faces = tuple(
            IndexedFace(
                int(picture),
                Face((float(x0), float(y0), float(x1), float(y1)), float(score)),
            )
            for _, picture, _, _, x0, y0, x1, y1, score in lines
        )
    return pictures, faces


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[list[str]]]:
    """Of a table, without its heading; to be read while the context lasts."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            next(lines, None)
            yield lines
    except (OSError, ValueError, csv.Error) as error:
        raise Problem("index_damaged", file=path.name) from error
