"""From a picture to its matches: the one path that worker, terminal and benchmarks share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.embed import above_threshold, embed_faces
from core.face import Face, Vectors, largest
from core.index import Index
from core.look import DEFAULT_COUNT, Look
from core.models import Detector, Extractor
from core.picture import Picture
from core.rows import Neighbour, Query
from core.steps import Steps
from core.thumbnails import Thumbnail

MAX_ROWS: Final = 3
"""Faces of one picture that are answered."""


@dataclass(frozen=True, slots=True)
class Match:
    """A picture of the gallery that is like the one asked about.

    Attributes:
        path: Within the gallery, ``/``-separated.
        character: The gallery's name for who it shows; None in a flat gallery.
        similarity: Weighted cosine under the look that was asked for, -1..1; of faces in the
            gallery's own space, the gallery's together with those most like it.
        box: The gallery picture's face that matched, in pixels of that picture; None where the
            whole picture matched.
        same: Whether the two faces are alike enough to be one character, by the extractor's
            threshold; None where no face is asked about, or the extractor has no threshold.
        thumbnail: Where the picture may lie as small as it is shown.
    """

    path: str
    character: str | None
    similarity: float
    box: tuple[float, float, float, float] | None
    same: bool | None = None
    thumbnail: Thumbnail | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One asked-about face and its matches, nearest first. `face` None: the whole picture."""

    face: Face | None
    matches: tuple[Match, ...]

    @property
    def unknown(self) -> bool:
        """Every match was held against a threshold, and none reached it: a stranger, perhaps."""
        return bool(self.matches) and all(match.same is False for match in self.matches)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one picture is like.

    Attributes:
        picture: The picture asked about.
        look: The look asked for.
        face_count: Faces found in the picture, of which the three largest have rows. Under
            `feel` nobody looks for faces, and it is 0.
        rows: A row a face; one row without a face where none was found or the look is `feel`.
    """

    picture: Picture
    look: Look
    face_count: int
    rows: tuple[Row, ...]

    @property
    def fell_back(self) -> bool:
        """Faces were asked for, none was found, and the whole picture answers instead."""
        return self.look is not Look.FEEL and self.face_count == 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture as the models see it, ready to be searched for.

    Attributes:
        picture: The picture itself.
        look: The look that it was embedded for.
        face_count: Faces at or above the detector's threshold.
        faces: The largest of them.
        face_vectors: ``(len(faces), face_dimensions)``.
        picture_vector: ``(picture_dimensions,)``; None where neither the look nor a missing face
            asks for it.
    """

    picture: Picture
    look: Look
    face_count: int
    faces: tuple[Face, ...]
    face_vectors: Vectors
    picture_vector: NDArray[np.float32] | None


class Searcher:
    """Answers pictures out of one index. Safe to use from several threads.

    The models may be any objects with their protocols, such as ones that gather the requests of
    several threads into one batch.

    Attributes:
        index: The index that answers.
    """

    def __init__(self, detector: Detector, extractor: Extractor, index: Index) -> None:
        self._detector = detector
        self._extractor = extractor
        self.index = index

    def search(
        self,
        picture: Picture,
        look: Look = Look.BOTH,
        count: int = DEFAULT_COUNT,
        steps: Steps | None = None,
    ) -> Answer:
        """The `count` nearest pictures of the gallery for each of the largest faces.

        Args:
            picture: The picture asked about; the gallery's own copy of it never answers.
            look: What *similar* means.
            count: Matches a row, at least 1; fewer come back from a smaller gallery.
            steps: Gains the times of ``detect``, ``embed`` and ``search``.
        """
        steps = steps or Steps()
        return self.find(self.see(picture, look, steps), count, steps)

    def see(self, picture: Picture, look: Look, steps: Steps | None = None) -> Seen:
        """Detect and embed: the part that needs the models."""
        steps = steps or Steps()
        faces: tuple[Face, ...] = ()
        if look is not Look.FEEL:
            with steps.measure("detect"):
                faces = above_threshold(self._detector)(self._detector.detect([picture.pixels])[0])
        asked = largest(faces, MAX_ROWS)
        with steps.measure("embed"):
            face_vectors = embed_faces(self._extractor, [picture.pixels], [asked])[0]
            picture_vector = None
            if look is not Look.CHARACTER or not asked:
                prepared = self._extractor.prepare_picture(picture.pixels)
                picture_vector = self._extractor.embed_pictures(prepared[None])[0]
        return Seen(picture, look, len(faces), asked, face_vectors, picture_vector)

    def find(self, seen: Seen, count: int, steps: Steps | None = None) -> Answer:
        """Search the index: the part that needs no model."""
        steps = steps or Steps()
        faces: tuple[Face | None, ...] = seen.faces or (None,)
        with steps.measure("search"):
            rows = tuple(
                Row(face, self._matches(self._query(seen, number), seen.picture.sha256, count))
                for number, face in enumerate(faces)
            )
        return Answer(seen.picture, seen.look, seen.face_count, rows)

    def _query(self, seen: Seen, number: int) -> Query:
        if not seen.faces:
            return Query(None, seen.picture_vector)
        return Query(
            seen.face_vectors[number], seen.picture_vector, self._extractor.weights_of_both
        )

    def _matches(self, query: Query, sha256: str, count: int) -> tuple[Match, ...]:
        found = self.index.nearest(query, count, without=sha256)
        return tuple(
            Match(
                neighbour.picture.path,
                neighbour.picture.character,
                neighbour.similarity,
                neighbour.face.box if neighbour.face else None,
                None if query.face is None else self._is_same(neighbour),
                self.index.thumbnail(neighbour.picture),
            )
            for neighbour in found
        )

    def _is_same(self, neighbour: Neighbour) -> bool | None:
        threshold = self._extractor.same_threshold
        if threshold is None:
            return None
        return neighbour.face_similarity is not None and neighbour.face_similarity >= threshold
