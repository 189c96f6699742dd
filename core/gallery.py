"""A gallery's catalogue: its pictures, faces and vectors, each under the hash of its content.

The catalogue is an SQLite file that only a build uses. Whatever is known of a content under a
model is never computed again, so that building again costs what changed: a renamed or copied file
costs nothing, a touched one is read once.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from core.embed import BATCH, Choose, Embedded, Progress, above_threshold, embed_detected
from core.face import Face, Landmarks, Pixels, Vectors
from core.folder import Folder, PictureFile, in_batches, read_ahead, reason, scan
from core.index import build_lock, pictures_in_use, publish
from core.models import Detector, Extractor
from core.picture import BUILDING, OWN_LIMITS, UnreadablePicture, decode, read_bytes
from core.problem import Problem
from core.rows import Contents, IndexedFace, IndexedPicture
from core.texts import FALLBACK
from core.thumbnails import Thumbnails

_PASSING: Final = frozenset(
    {
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)
"""What hinders for a while, such as a full disk or another program's lock."""
_PRIMARY: Final = 0xFF
"""The bits of SQLite's extended result codes that hold the code itself."""
_SCHEMA_VERSION: Final = 2
_SCHEMA: Final = """
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    sha256 TEXT,
    problem TEXT
) WITHOUT ROWID;
CREATE TABLE pictures (
    sha256 TEXT PRIMARY KEY,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE detections (
    sha256 TEXT NOT NULL REFERENCES pictures ON DELETE CASCADE,
    detector TEXT NOT NULL,
    PRIMARY KEY (sha256, detector)
) WITHOUT ROWID;
CREATE TABLE faces (
    sha256 TEXT NOT NULL,
    detector TEXT NOT NULL,
    number INTEGER NOT NULL,
    x0 REAL NOT NULL,
    y0 REAL NOT NULL,
    x1 REAL NOT NULL,
    y1 REAL NOT NULL,
    score REAL NOT NULL,
    points BLOB,
    PRIMARY KEY (sha256, detector, number),
    FOREIGN KEY (sha256, detector) REFERENCES detections ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE face_vectors (
    sha256 TEXT NOT NULL,
    detector TEXT NOT NULL,
    number INTEGER NOT NULL,
    extractor TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (sha256, detector, number, extractor),
    FOREIGN KEY (sha256, detector, number) REFERENCES faces ON DELETE CASCADE
) WITHOUT ROWID;
CREATE TABLE picture_vectors (
    sha256 TEXT NOT NULL REFERENCES pictures ON DELETE CASCADE,
    extractor TEXT NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (sha256, extractor)
) WITHOUT ROWID;
CREATE TABLE gallery (location TEXT NOT NULL);
"""
_MODELS: Final = """
CREATE TABLE IF NOT EXISTS models (
    role TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    last_use INTEGER NOT NULL,
    PRIMARY KEY (role, sha256)
) WITHOUT ROWID;
"""
"""`last_use` is a number that grows. Catalogues of the same form may come without this table."""
_OF_OTHER_MODELS: Final = {
    "detector": ("DELETE FROM detections WHERE detector NOT IN (?, ?)",),
    "extractor": (
        "DELETE FROM face_vectors WHERE extractor NOT IN (?, ?)",
        "DELETE FROM picture_vectors WHERE extractor NOT IN (?, ?)",
    ),
}
"""By role, what removes all that other models gave than two."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did.

    Attributes:
        version: The index version now in use.
        pictures: In it.
        faces: In it.
        added: Paths of pictures that the version before did not have, by content.
        removed: Paths of pictures that only the version before had, by content.
        embedded: Pictures that had to go through the models.
        unreadable: Path and reason of each file left out, in the language asked for.
        without_face: Pictures in which no face was found; they answer by the whole picture.
    """

    version: str
    pictures: int
    faces: int
    added: tuple[str, ...]
    removed: tuple[str, ...]
    embedded: int
    unreadable: tuple[tuple[str, str], ...]
    without_face: int


def build_index(
    gallery: Path,
    data: Path,
    detector: Detector,
    extractor: Extractor,
    progress: Progress | None = None,
    *,
    language: str = FALLBACK,
) -> BuildReport:
    """Bring the index in line with the gallery and publish it; only what changed is embedded.

    A build that fails or is killed leaves the version in use as it is, and the next one goes on
    where it stopped.

    Args:
        gallery: Folder of ``<character>/<picture>``, only ever read.
        data: Folder for the catalogue, the versions and the thumbnails.
        detector: Finds the faces.
        extractor: Makes the vectors.
        progress: Called with the pictures done and the pictures in all; once all are done, again
            and again until the version is published. What it raises ends the build.
        language: Of the reasons in the report.

    Raises:
        Problem: The gallery is missing, empty or wholly unreadable, another build is running, or
            the data folder cannot be written.
        ModelError: A model does not give what it promises.
    """
    try:
        folder = scan(gallery)
    except Problem as problem:
        raise Problem("gallery_missing", path=gallery) from problem
    if not folder.pictures and not folder.unreadable:
        raise Problem("gallery_empty", path=gallery)
    with build_lock(data), Catalogue.open(data / "catalogue.sqlite") as catalogue:
        catalogue.set_gallery(gallery)
        progress = progress or (lambda *_: None)
        thumbnails = Thumbnails(data)
        build = _Build(catalogue, thumbnails, detector, extractor, progress)
        build.run(folder.pictures)
        unreadable = _reasons(folder, build.problems, language)
        contents = catalogue.contents(folder.pictures, detector, extractor)
        if not contents.pictures:
            path, why = unreadable[0]
            raise Problem("gallery_unreadable", count=len(unreadable), path=path, reason=why)
        before = pictures_in_use(data)
        total = len(folder.pictures)
        version = publish(
            data,
            gallery,
            contents,
            detector,
            extractor,
            between=lambda: progress(total, total),
        )
        catalogue.forget_all_but(folder)
        catalogue.forget_former_models(detector, extractor)
        thumbnails.forget_all_but(catalogue.known_contents())
    return BuildReport(
        version=version,
        pictures=len(contents.pictures),
        faces=len(contents.faces),
        added=_only_in(contents.pictures, before),
        removed=_only_in(before, contents.pictures),
        embedded=build.embedded,
        unreadable=unreadable,
        without_face=len(contents.pictures) - len({face.picture for face in contents.faces}),
    )


def _only_in(these: Iterable[IndexedPicture], others: Iterable[IndexedPicture]) -> tuple[str, ...]:
    """Paths of the pictures that `others` lack, by content: a picture that was moved is none."""
    left = Counter(picture.sha256 for picture in others)
    paths = []
    for picture in these:
        if left[picture.sha256]:
            left[picture.sha256] -= 1
        else:
            paths.append(picture.path)
    return tuple(paths)


def _reasons(
    folder: Folder, problems: dict[str, Problem], language: str
) -> tuple[tuple[str, str], ...]:
    everything = [*folder.unreadable, *problems.items()]
    return tuple(
        (path, reason(problem, language))
        for path, problem in sorted(everything, key=lambda item: item[0])
    )


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A picture on its way to the models; `prepared` is for the network of whole pictures."""

    sha256: str
    pixels: Pixels
    prepared: Pixels


@dataclass(frozen=True, slots=True)
class _Reading:
    """A file that was read. At most one of `decoded` and `problem` is given; neither where all
    of its content is known."""

    file: PictureFile
    sha256: str | None
    decoded: _Decoded | None = None
    problem: Problem | None = None

    @property
    def pixel_count(self) -> int:
        return self.decoded.pixels.size // 3 if self.decoded else 0


class _Build:
    """One run over a gallery.

    Attributes:
        embedded: Pictures that went through the models.
        problems: By path, why a file cannot be used.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        thumbnails: Thumbnails,
        detector: Detector,
        extractor: Extractor,
        progress: Progress,
    ) -> None:
        self._catalogue = catalogue
        self._thumbnails = thumbnails
        self._detector = detector
        self._extractor = extractor
        self._progress = progress
        self._claimed = catalogue.complete(detector, extractor)
        self._claiming = threading.Lock()
        self.embedded = 0
        self.problems: dict[str, Problem] = {}

    def run(self, files: Sequence[PictureFile]) -> None:
        """Bring the catalogue up to date with the files."""
        known = self._catalogue.known_files()
        todo = [file for file in files if not self._is_done(file, known.get(file.path))]
        done = len(files) - len(todo)
        self._progress(done, len(files))
        for readings in in_batches(read_ahead(todo, self._read), BATCH):
            self._catalogue_batch(readings)
            done += len(readings)
            self._progress(done, len(files))

    def _is_done(self, file: PictureFile, known: tuple[tuple[int, int, int], str] | None) -> bool:
        return known is not None and known[0] == _state(file) and known[1] in self._claimed

    def _read(self, file: PictureFile) -> _Reading:
        """In a reading thread: everything up to the models."""
        sha256 = None
        try:
            data = read_bytes(file.location, OWN_LIMITS)
            sha256 = hashlib.sha256(data).hexdigest()
            with self._claiming:
                if sha256 in self._claimed:
                    return _Reading(file, sha256)
            pixels = decode(data, OWN_LIMITS, BUILDING).pixels
        except UnreadablePicture as problem:
            return _Reading(file, sha256, problem=problem)
        with self._claiming:
            if sha256 in self._claimed:  # a copy was decoded meanwhile
                return _Reading(file, sha256)
            self._claimed.add(sha256)
        self._thumbnails.keep(sha256, data, pixels)
        prepared = self._extractor.prepare_picture(pixels)
        return _Reading(file, sha256, _Decoded(sha256, pixels, prepared))

    def _catalogue_batch(self, readings: Sequence[_Reading]) -> None:
        for reading in readings:
            if reading.problem is not None:
                self.problems[reading.file.path] = reading.problem
        decoded = [reading.decoded for reading in readings if reading.decoded is not None]
        found = self._faces(decoded)
        embedded: list[Embedded] = []
        if decoded:
            embedded = embed_detected(
                [it.pixels for it in decoded],
                [it.prepared for it in decoded],
                [found[it.sha256] for it in decoded],
                self._extractor,
                above_threshold(self._detector),
            )
        self.embedded += len(embedded)
        with self._catalogue.transaction():
            for it, seen in zip(decoded, embedded, strict=True):
                self._catalogue.put_faces(it.sha256, it.pixels, seen.faces, self._detector)
                self._catalogue.put_vectors(it.sha256, seen, self._detector, self._extractor)
            for reading in readings:
                self._catalogue.put_file(reading.file, reading.sha256, reading.problem)

    def _faces(self, pictures: Sequence[_Decoded]) -> dict[str, tuple[Face, ...]]:
        """By content, what the detector finds; asked only for what is not known."""
        found = {it.sha256: self._catalogue.faces(it.sha256, self._detector) for it in pictures}
        unseen = [it for it in pictures if found[it.sha256] is None]
        if unseen:
            detected = self._detector.detect([it.pixels for it in unseen])
            found.update({it.sha256: faces for it, faces in zip(unseen, detected, strict=True)})
        return {sha256: faces for sha256, faces in found.items() if faces is not None}


def _only(
    choose: Choose, faces: list[tuple[Face, NDArray[np.float32]]]
) -> list[tuple[Face, NDArray[np.float32]]]:
    chosen = {id(face) for face in choose(tuple(face for face, _ in faces))}
    return [(face, vector) for face, vector in faces if id(face) in chosen]


def _state(file: PictureFile) -> tuple[int, int, int]:
    return file.size, file.mtime_ns, file.ctime_ns


class Catalogue:
    """What is known of a gallery's pictures, in SQLite."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    @classmethod
    @contextmanager
    def open(cls, path: Path) -> Iterator[Catalogue]:
        """Open the catalogue, empty where there is none.

        All of it can be computed again, so a file that is damaged, or of another form, is
        replaced.

        Raises:
            Problem: It cannot be written.
        """
        try:
            database = _connect_or_replace(path)
        except (sqlite3.Error, OSError) as error:
            raise Problem("data_unwritable", path=path.parent, reason=error) from error
        with closing(database):
            try:
                yield cls(database)
            except sqlite3.Error as error:
                raise Problem("data_unwritable", path=path.parent, reason=error) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def set_gallery(self, gallery: Path) -> None:
        """Forget which file has which content where another gallery was catalogued before."""
        location = str(gallery.resolve())
        with self.transaction():
            if self._database.execute("SELECT location FROM gallery").fetchall() != [(location,)]:
                self._database.execute("DELETE FROM files")
                self._database.execute("DELETE FROM gallery")
                self._database.execute("INSERT INTO gallery VALUES (?)", (location,))

    def known_files(self) -> dict[str, tuple[tuple[int, int, int], str]]:
        """By path, the state in which a readable file was read and its content's SHA-256."""
        lines = self._database.execute(
            "SELECT path, size, mtime_ns, ctime_ns, sha256 FROM files "
            "WHERE sha256 IS NOT NULL AND problem IS NULL"
        )
        return {path: ((size, mtime, ctime), sha256) for path, size, mtime, ctime, sha256 in lines}

    def known_contents(self) -> set[str]:
        """The contents of which anything is known, as SHA-256."""
        return {sha256 for (sha256,) in self._database.execute("SELECT sha256 FROM pictures")}

    def complete(self, detector: Detector, extractor: Extractor) -> set[str]:
        """The contents for which nothing is left to compute with these models."""
        arguments = (detector.sha256, extractor.sha256)
        embedded = set(
            self._database.execute(
                "SELECT sha256, number FROM face_vectors WHERE detector = ? AND extractor = ?",
                arguments,
            )
        )
        seen = self._database.execute(
            "SELECT sha256 FROM detections JOIN picture_vectors USING (sha256) "
            "WHERE detector = ? AND extractor = ?",
            arguments,
        ).fetchall()
        choose = above_threshold(detector)
        done = set()
        for (sha256,) in seen:
            faces = self.faces(sha256, detector) or ()
            numbers = {id(face): number for number, face in enumerate(faces)}
            if all((sha256, numbers[id(face)]) in embedded for face in choose(faces)):
                done.add(sha256)
        return done

    def faces(self, sha256: str, detector: Detector) -> tuple[Face, ...] | None:
        """What the detector found in a content, most confident first; None: it was not asked."""
        arguments = (sha256, detector.sha256)
        if not self._database.execute(
            "SELECT 1 FROM detections WHERE sha256 = ? AND detector = ?", arguments
        ).fetchone():
            return None
        lines = self._database.execute(
            "SELECT x0, y0, x1, y1, score, points FROM faces WHERE sha256 = ? AND detector = ? "
            "ORDER BY number",
            arguments,
        )
        return tuple(
            Face((x0, y0, x1, y1), score, _landmarks(points))
            for x0, y0, x1, y1, score, points in lines
        )

    def put_faces(
        self, sha256: str, pixels: Pixels, faces: Sequence[Face], detector: Detector
    ) -> None:
        """Keep what the detector found in a content; what is known already stays."""
        execute = self._database.execute
        height, width = pixels.shape[:2]
        execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", (sha256, width, height))
        execute("INSERT OR IGNORE INTO detections VALUES (?, ?)", (sha256, detector.sha256))
        self._database.executemany(
            "INSERT OR IGNORE INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                (
                    sha256,
                    detector.sha256,
                    number,
                    *map(float, face.box),
                    float(face.score),
                    None if face.points is None else np.array(face.points, "<f8").tobytes(),
                )
                for number, face in enumerate(faces)
            ),
        )

    def put_vectors(
        self, sha256: str, seen: Embedded, detector: Detector, extractor: Extractor
    ) -> None:
        """Keep the vectors of a content and of its chosen faces."""
        numbers = {id(face): number for number, face in enumerate(seen.faces)}
        self._database.executemany(
            "INSERT OR REPLACE INTO face_vectors VALUES (?, ?, ?, ?, ?)",
            (
                (sha256, detector.sha256, numbers[id(face)], extractor.sha256, _blob(vector))
                for face, vector in zip(seen.chosen, seen.face_vectors, strict=True)
            ),
        )
        self._database.execute(
            "INSERT OR REPLACE INTO picture_vectors VALUES (?, ?, ?)",
            (sha256, extractor.sha256, _blob(seen.picture_vector)),
        )

    def put_file(self, file: PictureFile, sha256: str | None, problem: Problem | None) -> None:
        """Keep a file's state, its content, and why it cannot be used, if so.

        Where nobody could read its content it stays that of before.
        """
        reason = None if problem is None else json.dumps([problem.key, problem.values], default=str)
        self._database.execute(
            "INSERT OR REPLACE INTO files VALUES "
            "(?, ?, ?, ?, COALESCE(?, (SELECT sha256 FROM files WHERE path = ?)), ?)",
            (file.path, *_state(file), sha256, file.path, reason),
        )

    def contents(
        self, files: Sequence[PictureFile], detector: Detector, extractor: Extractor
    ) -> Contents:
        """What an index of these files holds; files that cannot be used are left out."""
        known = {path: sha256 for path, (_, sha256) in self.known_files().items()}
        sizes = {
            sha256: (width, height)
            for sha256, width, height in self._database.execute("SELECT * FROM pictures")
        }
        picture_vectors = {
            sha256: np.frombuffer(vector, "<f4")
            for sha256, vector in self._database.execute(
                "SELECT sha256, vector FROM picture_vectors WHERE extractor = ?",
                (extractor.sha256,),
            )
        }
        faces_of = self._faces(detector, extractor)
        pictures: list[IndexedPicture] = []
        faces: list[IndexedFace] = []
        vectors_of_pictures: list[NDArray[np.float32]] = []
        vectors_of_faces: list[NDArray[np.float32]] = []
        for file in files:
            sha256 = known.get(file.path)
            if sha256 is None or sha256 not in picture_vectors:
                continue
            for face, vector in faces_of.get(sha256, []):
                faces.append(IndexedFace(len(pictures), face))
                vectors_of_faces.append(vector)
            pictures.append(IndexedPicture(file.path, file.character, sha256, *sizes[sha256]))
            vectors_of_pictures.append(picture_vectors[sha256])
        return Contents(
            tuple(pictures),
            tuple(faces),
            _stack(vectors_of_pictures, extractor.picture_dimensions),
            _stack(vectors_of_faces, extractor.face_dimensions),
        )

    def _faces(
        self, detector: Detector, extractor: Extractor
    ) -> dict[str, list[tuple[Face, NDArray[np.float32]]]]:
        """By content, the faces that the detector itself calls one, with their vectors."""
        found: dict[str, list[tuple[Face, NDArray[np.float32]]]] = {}
        for sha256, x0, y0, x1, y1, score, vector in self._database.execute(
            """
            SELECT sha256, x0, y0, x1, y1, score, vector
            FROM faces JOIN face_vectors USING (sha256, detector, number)
            WHERE detector = ? AND extractor = ?
            ORDER BY sha256, number
            """,
            (detector.sha256, extractor.sha256),
        ):
            face = Face((x0, y0, x1, y1), score)
            found.setdefault(sha256, []).append((face, np.frombuffer(vector, "<f4")))
        choose = above_threshold(detector)
        return {sha256: _only(choose, faces) for sha256, faces in found.items()}

    def forget_all_but(self, folder: Folder) -> None:
        """Remove the files that are gone, and every content that no file has any more.

        A file that only cannot be read, or lies below a folder that cannot, may come back.
        """
        with self.transaction():
            self._database.execute("CREATE TEMP TABLE present (path TEXT PRIMARY KEY)")
            self._database.executemany(
                "INSERT INTO present VALUES (?)", ((file.path,) for file in folder.pictures)
            )
            self._database.executemany(
                # "0" is the character after "/".
                "INSERT OR IGNORE INTO present "
                "SELECT path FROM files WHERE path = ?1 OR path > ?1 || '/' AND path < ?1 || '0'",
                (
                    (path,)
                    for path, problem in folder.unreadable
                    if problem.key == "picture_file_unreadable"
                ),
            )
            self._database.execute("DELETE FROM files WHERE path NOT IN present")
            self._database.execute(
                "DELETE FROM pictures WHERE sha256 NOT IN "
                "(SELECT sha256 FROM files WHERE sha256 IS NOT NULL)"
            )
            self._database.execute("DROP TABLE present")

    def forget_former_models(self, detector: Detector, extractor: Extractor) -> None:
        """Note that these models are in use, and remove what others gave than the last two.

        Of two, so that going back costs nothing.
        """
        execute = self._database.execute
        with self.transaction():
            for role, model in (("detector", detector), ("extractor", extractor)):
                execute(
                    "INSERT OR REPLACE INTO models "
                    "SELECT ?, ?, COALESCE(MAX(last_use), 0) + 1 FROM models",
                    (role, model.sha256),
                )
                last_used = [
                    sha256
                    for (sha256,) in execute(
                        "SELECT sha256 FROM models WHERE role = ? ORDER BY last_use DESC LIMIT 2",
                        (role,),
                    )
                ]
                if len(last_used) == 2:
                    execute(
                        "DELETE FROM models WHERE role = ? AND sha256 NOT IN (?, ?)",
                        (role, *last_used),
                    )
                    for statement in _OF_OTHER_MODELS[role]:
                        execute(statement, last_used)


def _connect_or_replace(path: Path) -> sqlite3.Connection:
    try:
        return _connect(path)
    except sqlite3.DatabaseError as error:
        # What `_connect` raises itself has no code.
        if getattr(error, "sqlite_errorcode", 0) & _PRIMARY in _PASSING:
            raise
        for name in (path.name, path.name + "-wal", path.name + "-shm"):
            path.with_name(name).unlink(missing_ok=True)
        return _connect(path)


def _connect(path: Path) -> sqlite3.Connection:
    """Open the file; raises `sqlite3.DatabaseError` where it is none of ours."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("PRAGMA foreign_keys = ON")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version == 0:
            database.executescript(
                f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT"
            )
        elif version != _SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"The catalogue has the form {version}.")
        database.execute(_MODELS)
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("The catalogue is damaged.")
    except BaseException:
        database.close()
        raise
    return database


def _blob(vector: NDArray[np.float32]) -> bytes:
    return np.asarray(vector, "<f4").tobytes()


def _landmarks(points: bytes | None) -> Landmarks | None:
    if points is None:
        return None
    return cast(
        Landmarks, tuple((x, y) for x, y in np.frombuffer(points, "<f8").reshape(-1, 2).tolist())
    )


def _stack(vectors: Sequence[NDArray[np.float32]], dimensions: int) -> Vectors:
    if not vectors:
        return np.zeros((0, dimensions), np.float32)
    return np.stack(vectors).astype(np.float32, copy=False)
