"""A gallery's index, built: what is new in the folder goes through the models, once.

The models look again only at what changed: not at a renamed or copied file; a touched one is read
once (`core.catalogue`). Where anything changed, what follows from all faces together is computed
anew for the new version: the space they are compared in, the nearest of each, and Annoy's trees.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from core.catalogue import Catalogue, state_of
from core.embed import BATCH, Embedded, above_threshold, embed_detected
from core.face import Face, Pixels, of_unit_length
from core.folder import Folder, PictureFile, in_batches, printable, read_ahead, reason, scan
from core.index import build_lock, pictures_in_use, publish
from core.models import Detector, Extractor, ModelError
from core.picture import BUILDING, OWN_LIMITS, UnreadablePicture, decode, read_bytes
from core.problem import Problem
from core.progress import Progress
from core.rows import IndexedPicture
from core.texts import FALLBACK
from core.thumbnails import FOLDER, Thumbnails, is_thumbnail

_ANSWERS: Final = "answers"
"""Of the data folder's folders the one that holds pictures beside `FOLDER`. The rest of it holds
none, and may be the folder of a character, too."""


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
        data: Folder for the catalogue, the versions and the thumbnails. Where it lies in the
            gallery, the pictures that the program keeps there are left out.
        detector: Finds the faces.
        extractor: Makes the vectors.
        progress: Called with the pictures done and the pictures in all; once all are done, again
            and again until the version is published. What it raises ends the build.
        language: Of the reasons in the report.

    Raises:
        Problem: The gallery is missing, empty, wholly unreadable, or in a folder whose name is not
            UTF-8; another build is running; or the data folder cannot be written, or has something
            of another program where the index would lie.
        ModelError: A model does not give what it promises, of any picture.
    """
    try:
        folder = scan(gallery)
    except Problem as problem:
        raise Problem("gallery_missing", path=gallery) from problem
    location = str(gallery.resolve())
    if printable(location) != location:
        raise Problem("gallery_name_not_utf8", path=Path(printable(location)))
    folder = _without_own_pictures(folder, gallery, data)
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
            if build.incomparable:
                raise ModelError(
                    f"The extractor {extractor.name!r} gives vectors that are not of unit length,"
                    " so that they cannot be compared; export it anew, or choose another."
                )
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


def _without_own_pictures(folder: Folder, gallery: Path, data: Path) -> Folder:
    """The folder without what the program itself keeps below it."""
    answers, thumbnails = (_within(gallery, data / name) for name in (_ANSWERS, FOLDER))

    def is_own(path: str) -> bool:
        if answers is not None and f"{path}/".startswith(f"{answers}/"):
            return True
        # A character's folder may have that name, too.
        above, _, name = path.rpartition("/")
        return path == thumbnails or (above == thumbnails and is_thumbnail(name))

    return Folder(
        tuple(file for file in folder.pictures if not is_own(file.path)),
        tuple(item for item in folder.unreadable if not is_own(item[0])),
    )


def _within(gallery: Path, folder: Path) -> str | None:
    """A folder's path within the gallery, ``/``-separated; None where it lies elsewhere."""
    root, place = gallery.resolve(), Path(os.path.realpath(folder))
    return place.relative_to(root).as_posix() if root in place.parents else None


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
        incomparable: The contents, as SHA-256, with a vector that is not of unit length.
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
        self.incomparable: set[str] = set()

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
        if self.incomparable:
            self._leave_out_incomparable(files)

    def _is_done(self, file: PictureFile, known: tuple[tuple[int, int, int], str] | None) -> bool:
        return known is not None and known[0] == state_of(file) and known[1] in self._claimed

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
                if not _is_comparable(seen):
                    self.incomparable.add(it.sha256)
                    continue
                self._catalogue.put_faces(it.sha256, it.pixels, seen.faces, self._detector)
                self._catalogue.put_vectors(it.sha256, seen, self._detector, self._extractor)
            for reading in readings:
                usable = reading.problem is None
                self._catalogue.put_file(reading.file, reading.sha256, usable=usable)

    def _leave_out_incomparable(self, files: Sequence[PictureFile]) -> None:
        """Name them, with every copy, of which some were read before their content was seen."""
        known = self._catalogue.known_files()
        with self._catalogue.transaction():
            for file in files:
                _, sha256 = known.get(file.path, (None, None))
                if sha256 in self.incomparable:
                    self.problems[file.path] = UnreadablePicture("picture_not_comparable")
                    self._catalogue.put_file(file, sha256, usable=False)

    def _faces(self, pictures: Sequence[_Decoded]) -> dict[str, tuple[Face, ...]]:
        """By content, what the detector finds; asked only for what is not known."""
        found = {it.sha256: self._catalogue.faces(it.sha256, self._detector) for it in pictures}
        unseen = [it for it in pictures if found[it.sha256] is None]
        if unseen:
            detected = self._detector.detect([it.pixels for it in unseen])
            found.update({it.sha256: faces for it, faces in zip(unseen, detected, strict=True)})
        return {sha256: faces for sha256, faces in found.items() if faces is not None}


def _is_comparable(seen: Embedded) -> bool:
    return bool(of_unit_length(seen.picture_vector) and of_unit_length(seen.face_vectors).all())
