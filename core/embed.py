"""Pictures in, faces and vectors out: a batch of them, or a whole folder into one file."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import IO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from core.face import Face, Pixels, Vectors, distinct
from core.files import replacing
from core.folder import PictureFile, in_batches, read_ahead, reason, scan
from core.models import Detector, Extractor
from core.picture import OWN_LIMITS, Picture, UnreadablePicture, read
from core.problem import Problem
from core.progress import Progress

BATCH = 16
"""Pictures that go through the models together while a folder is worked through."""

FACES_AT_ONCE = 32
"""Faces that go through an extractor together, however many the pictures show: networks need up to
ten megabytes for each."""

Choose: TypeAlias = Callable[[tuple[Face, ...]], tuple[Face, ...]]
"""Picks the faces worth a vector out of all that the detector gave."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What the models see in one picture.

    Attributes:
        faces: Everything the detector gave, most confident first.
        chosen: Those of `faces` that have a vector.
        face_vectors: ``(len(chosen), face_dimensions)``, unit length.
        picture_vector: ``(picture_dimensions,)``, unit length.
    """

    faces: tuple[Face, ...]
    chosen: tuple[Face, ...]
    face_vectors: Vectors
    picture_vector: NDArray[np.float32]


def above_threshold(detector: Detector | None) -> Choose:
    """Chooses every face that the detector itself calls one, each once; None: every face."""
    if detector is None:
        return lambda faces: faces
    return lambda faces: distinct([face for face in faces if face.score >= detector.threshold])


def most_confident(detector: Detector | None) -> Choose:
    """Chooses the first face, with the highest score, of `above_threshold`."""
    return lambda faces: above_threshold(detector)(faces)[:1]


def embed_faces(
    extractor: Extractor, pixels: Sequence[Pixels], faces: Sequence[tuple[Face, ...]]
) -> list[Vectors]:
    """Vectors of the faces of each picture, ``(len(faces[i]), face_dimensions)``, in batches."""
    crops = (
        extractor.prepare_face(picture, face.box, face.points)
        for picture, its_faces in zip(pixels, faces, strict=True)
        for face in its_faces
    )
    vectors = [np.zeros((0, extractor.face_dimensions), np.float32)]
    while batch := list(islice(crops, FACES_AT_ONCE)):
        vectors.append(extractor.embed_faces(np.stack(batch)))
    found = np.concatenate(vectors)
    ends = accumulate((len(its_faces) for its_faces in faces), initial=0)
    return [found[start:end] for start, end in pairwise(ends)]


def embed_batch(
    pixels: Sequence[Pixels],
    detector: Detector | None,
    extractor: Extractor,
    choose: Choose,
) -> list[Embedded]:
    """Detect and embed some pictures together.

    Args:
        pixels: The pictures; at least one.
        detector: Finds the faces; None: every picture is a face crop already, and is its face.
        extractor: Makes the vectors.
        choose: Which faces get vectors.
    """
    found = None if detector is None else detector.detect(pixels)
    return embed_found(pixels, found, extractor, choose)


def embed_found(
    pixels: Sequence[Pixels],
    found: Sequence[tuple[Face, ...]] | None,
    extractor: Extractor,
    choose: Choose,
) -> list[Embedded]:
    """`embed_batch`, where what the detector finds is known, for several extractors.

    Args:
        pixels: The pictures; at least one.
        found: The faces of each; None: every picture is a face crop already, and is its face.
        extractor: Makes the vectors.
        choose: Which faces get vectors; of crops all do.
    """
    if found is None:
        return embed_crops(pixels, extractor)
    prepared = [extractor.prepare_picture(picture) for picture in pixels]
    return embed_detected(pixels, prepared, found, extractor, choose)


def embed_detected(
    pixels: Sequence[Pixels],
    prepared: Sequence[Pixels],
    found: Sequence[tuple[Face, ...]],
    extractor: Extractor,
    choose: Choose,
) -> list[Embedded]:
    """`embed_found`, where the pictures are prepared already.

    Args:
        pixels: The pictures; at least one.
        prepared: ``extractor.prepare_picture`` of each.
        found: The faces of each.
        extractor: Makes the vectors.
        choose: Which faces get vectors.
    """
    chosen = [choose(faces) for faces in found]
    face_vectors = embed_faces(extractor, pixels, chosen)
    picture_vectors = extractor.embed_pictures(np.stack(list(prepared)))
    return [
        Embedded(*item) for item in zip(found, chosen, face_vectors, picture_vectors, strict=True)
    ]


def embed_crops(crops: Sequence[Pixels], extractor: Extractor) -> list[Embedded]:
    """Embed pictures that are face crops already: each is one face, and no detector is asked."""
    faces = extractor.embed_faces(np.stack([extractor.prepare_face(crop, None) for crop in crops]))
    pictures = extractor.embed_pictures(
        np.stack([extractor.prepare_picture(crop) for crop in crops])
    )
    return [
        Embedded((whole,), (whole,), face[None], picture)
        for whole, face, picture in zip(map(_whole, crops), faces, pictures, strict=True)
    ]


def _whole(crop: Pixels) -> Face:
    height, width = crop.shape[:2]
    return Face((0.0, 0.0, float(width), float(height)), 1.0)


@dataclass(frozen=True, slots=True)
class FolderVectors:
    """What the models see in every picture of a folder.

    Attributes:
        paths: Within the folder, ``/``-separated, sorted.
        face_count: ``(n,)``, faces at or above the detector's threshold.
        character: ``(n, face_dimensions)``, the vector of the most confident face; zeros where
            there is none.
        feel: ``(n, picture_dimensions)``.
        unreadable: Path and reason of each file left out.
    """

    paths: tuple[str, ...]
    face_count: NDArray[np.int64]
    character: Vectors
    feel: Vectors
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FolderDetections:
    """Every box of every picture of a folder.

    Attributes:
        faces: By path within the folder, sorted; most confident first, boxes in pixels of the
            picture as it is shown, with its orientation applied.
        unreadable: Path and reason of each file left out.
    """

    faces: dict[str, tuple[Face, ...]]
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DecodedFile:
    """A picture of a folder, or why it cannot be used."""

    path: str
    picture: Picture | None
    problem: Problem | None = None

    @property
    def pixel_count(self) -> int:
        """Pixels held; 0 where the file cannot be used."""
        return self.picture.pixels.size // 3 if self.picture else 0


class FolderReader:
    """Goes through the pictures of a folder in batches and notes what cannot be read.

    Attributes:
        unreadable: Path and reason of each file left out; complete once all batches are taken.
        copies: Paths of the files that `batches_of_characters` left out because an earlier one
            has the same bytes.
    """

    def __init__(self, folder: Path, progress: Progress | None = None) -> None:
        self._root = folder
        self._folder = scan(folder)
        self._progress = progress or (lambda *_: None)
        self.unreadable = [(path, reason(problem)) for path, problem in self._folder.unreadable]
        self.copies: list[str] = []

    def batches(self) -> Iterator[tuple[list[str], list[Pixels]]]:
        """Paths and decoded pictures, sorted by path.

        Raises:
            Problem: There is no picture in the folder that can be read.
        """
        for batch in self._batches():
            yield [path for path, _ in batch], [picture.pixels for _, picture in batch]

    def _batches(self) -> Iterator[list[tuple[str, Picture]]]:
        files = self._folder.pictures
        self._progress(0, len(files))
        readings = read_ahead(files, self._read)
        done = 0
        empty = True
        for batch in in_batches(readings, BATCH):
            good = [(it.path, it.picture) for it in batch if it.picture is not None]
            self.unreadable += [(it.path, reason(it.problem)) for it in batch if it.problem]
            if good:
                empty = False
                yield good
            done += len(batch)
            self._progress(done, len(files))
        self.unreadable.sort(key=lambda item: item[0])
        if empty:
            raise Problem("folder_without_pictures", path=self._root)

    def batches_of_characters(self) -> Iterator[tuple[list[str], list[str], list[Pixels]]]:
        """Characters, paths and decoded pictures of ``<character>/<picture>``, sorted by path.

        Pictures that lie outside of a character's folder are left out, and of files with the same
        bytes all but the first by path, whichever character's folder they lie in.

        Raises:
            Problem: There is no picture that can be read, no character has two, or all are of one.
        """
        counts: Counter[str] = Counter()
        known: set[str] = set()
        for batch in self._batches():
            kept: list[tuple[str, Picture]] = []
            for path, picture in batch:
                if "/" not in path:
                    continue
                if picture.sha256 in known:
                    self.copies.append(path)
                    continue
                known.add(picture.sha256)
                kept.append((path, picture))
            characters = [path.partition("/")[0] for path, _ in kept]
            counts.update(characters)
            if kept:
                yield characters, [path for path, _ in kept], [it.pixels for _, it in kept]
        if not _tell_apart(counts):
            raise Problem("folder_without_characters", path=self._root)

    def _read(self, file: PictureFile) -> DecodedFile:
        try:
            return DecodedFile(file.path, read(file.location, OWN_LIMITS))
        except UnreadablePicture as problem:
            return DecodedFile(file.path, None, problem)


def check_characters(folder: Path) -> None:
    """Read of ``<character>/<picture>`` until something can be measured.

    Args:
        folder: One folder for each character.

    Raises:
        Problem: The folder is missing, nothing in it can be read, no character has two pictures,
            or all are of one.
    """
    counts: Counter[str] = Counter()
    for characters, _, _ in FolderReader(folder).batches_of_characters():
        counts.update(characters)
        if _tell_apart(counts):
            return


def _tell_apart(pictures: Counter[str]) -> bool:
    """Whether so many pictures of each character can show that one is told from another."""
    return len(pictures) > 1 and max(pictures.values()) > 1


def embed_folder(
    folder: Path,
    detector: Detector | None,
    extractor: Extractor,
    progress: Progress | None = None,
) -> FolderVectors:
    """Embed every picture below a folder.

    Args:
        folder: Searched at any depth.
        detector: Finds the faces; None: every picture is a face crop already, and is its face.
        extractor: Makes the vectors.
        progress: Called with the pictures done and the pictures in all.

    Raises:
        Problem: The folder is missing, or no picture in it can be read.
    """
    reader = FolderReader(folder, progress)
    paths: list[str] = []
    counts: list[int] = []
    character: list[Vectors] = []
    feel: list[Vectors] = []
    for its_paths, pixels in reader.batches():
        paths += its_paths
        embedded = embed_batch(pixels, detector, extractor, most_confident(detector))
        counts += [len(above_threshold(detector)(seen.faces)) for seen in embedded]
        for seen in embedded:
            vector = np.zeros((1, extractor.face_dimensions), np.float32)
            vector[: len(seen.face_vectors)] = seen.face_vectors
            character.append(vector)
            feel.append(seen.picture_vector[None])
    return FolderVectors(
        tuple(paths),
        np.array(counts, np.int64),
        np.concatenate(character).astype(np.float32, copy=False),
        np.concatenate(feel).astype(np.float32, copy=False),
        tuple(reader.unreadable),
    )


def detect_folder(
    folder: Path,
    detector: Detector,
    progress: Progress | None = None,
) -> FolderDetections:
    """Every box, with a score of 0.01 or more, in every picture below a folder.

    Raises:
        Problem: The folder is missing, or no picture in it can be read.
    """
    reader = FolderReader(folder, progress)
    faces: dict[str, tuple[Face, ...]] = {}
    for paths, pixels in reader.batches():
        faces.update(zip(paths, detector.detect(pixels), strict=True))
    return FolderDetections(faces, tuple(reader.unreadable))


def save_vectors(vectors: FolderVectors, out: Path) -> None:
    """Write ``.npz`` with the arrays ``path``, ``face_count``, ``character`` and ``feel``."""
    with _replacing(out) as file:
        np.savez(
            file,
            path=np.array(vectors.paths, dtype=np.str_),
            face_count=vectors.face_count,
            character=vectors.character,
            feel=vectors.feel,
        )


def save_detections(detections: FolderDetections, out: Path) -> None:
    """Write JSON, ``{path: [{"box": [x0, y0, x1, y1], "score": s}, ...]}``."""
    form = {
        path: [
            {"box": [float(value) for value in face.box], "score": float(face.score)}
            for face in faces
        ]
        for path, faces in detections.faces.items()
    }
    with _replacing(out) as file:
        file.write(json.dumps(form, ensure_ascii=False, indent=1).encode() + b"\n")


@contextmanager
def _replacing(out: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `out` once it is whole, and never where it is not."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as partial, partial.open("wb") as file:
            yield file
    except OSError as error:
        raise Problem("file_unwritable", path=out) from error
