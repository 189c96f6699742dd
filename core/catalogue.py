"""A gallery's catalogue: what is known of its pictures, each under the hash of its content.

The catalogue is an SQLite file that only a build of the index uses (`core.gallery`). Whatever is
known of a content under a model is never computed again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, cast

import numpy as np
from numpy.typing import NDArray

from core.embed import Choose, Embedded, above_threshold
from core.face import Face, Landmarks, Pixels, Vectors
from core.folder import Folder, PictureFile
from core.models import Detector, Extractor
from core.problem import Problem
from core.rows import Contents, IndexedFace, IndexedPicture

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
_SCHEMA_VERSION: Final = 3
_SCHEMA: Final = """
CREATE TABLE files (
    path TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    ctime_ns INTEGER NOT NULL,
    sha256 TEXT,
    usable INTEGER NOT NULL
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
CREATE TABLE models (
    role TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    last_use INTEGER NOT NULL,
    PRIMARY KEY (role, sha256)
) WITHOUT ROWID;
"""
"""`last_use` is a number that grows."""
_OWN_TABLES: Final = frozenset({"detections", "face_vectors", "picture_vectors"})
"""By which a catalogue is known, of whatever form."""
_OF_OTHER_MODELS: Final = {
    "detector": ("DELETE FROM detections WHERE detector NOT IN (?, ?)",),
    "extractor": (
        "DELETE FROM face_vectors WHERE extractor NOT IN (?, ?)",
        "DELETE FROM picture_vectors WHERE extractor NOT IN (?, ?)",
    ),
}
"""By role, what removes all that other models gave than two."""


def state_of(file: PictureFile) -> tuple[int, int, int]:
    """Size and times of a file as they were found, by which a change is noticed."""
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
        replaced; a database of something else is not.

        Raises:
            Problem: It cannot be written, or is no catalogue.
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
            "WHERE sha256 IS NOT NULL AND usable"
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
        seen = [
            sha256
            for (sha256,) in self._database.execute(
                "SELECT sha256 FROM detections JOIN picture_vectors USING (sha256) "
                "WHERE detector = ? AND extractor = ?",
                arguments,
            )
        ]
        choose = above_threshold(detector)
        done = set()
        for sha256 in seen:
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

    def put_file(self, file: PictureFile, sha256: str | None, *, usable: bool) -> None:
        """Keep a file's state, its content, and whether it can be used.

        Where nobody could read its content it stays that of before.
        """
        self._database.execute(
            "INSERT OR REPLACE INTO files VALUES "
            "(?, ?, ?, ?, COALESCE(?, (SELECT sha256 FROM files WHERE path = ?)), ?)",
            (file.path, *state_of(file), sha256, file.path, usable),
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
            sha256: _vector(vector)
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
            found.setdefault(sha256, []).append((face, _vector(vector)))
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


def _only(
    choose: Choose, faces: list[tuple[Face, NDArray[np.float32]]]
) -> list[tuple[Face, NDArray[np.float32]]]:
    chosen = {id(face) for face in choose(tuple(face for face, _ in faces))}
    return [(face, vector) for face, vector in faces if id(face) in chosen]


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
    """Open the file; raises `sqlite3.DatabaseError` where it is to be replaced."""
    database = sqlite3.connect(path, isolation_level=None)
    try:
        tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
        if tables and not tables >= _OWN_TABLES:
            raise Problem("data_foreign", path=path.parent, name=path.name)
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
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("The catalogue is damaged.")
    except BaseException:
        database.close()
        raise
    return database


def _blob(vector: NDArray[np.float32]) -> bytes:
    return np.asarray(vector, "<f4").tobytes()


def _vector(blob: bytes) -> NDArray[np.float32]:
    return np.frombuffer(blob, "<f4")


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
