"""Faces and pictures as rows of vectors, and which of them are nearest to a query.

A row is a face together with its picture, ``[face, picture, 0]``, or a picture in which no face
was found. The latter is ``[0, picture, 1]``: the constant gives every row the same length, the
square root of two, and it is zero in every query, so that such a picture counts with a face
cosine of 0. The angle to a query ``[a * face, b * picture, 0]`` then ranks rows exactly as
``a * cos_face + b * cos_picture`` does, and the look is chosen when asking, not when building.

Faces are compared in the gallery's own space (`core.face_space`), and each answers together with
those most like it (`core.neighbourhood`). Of files with the same content the first by path has a
part in both, and the faces of the others are compared, and answer, as its own do: otherwise copies
would be the nearest of each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import numpy as np
from annoy import AnnoyIndex
from numpy.typing import NDArray

from core.face import Face, Vectors
from core.face_space import FaceSpace
from core.look import Look
from core.neighbourhood import Between, Neighbourhoods, remembered

METRIC: Final = "angular"


@dataclass(frozen=True, slots=True)
class IndexedPicture:
    """A picture of the gallery.

    Attributes:
        path: Within the gallery, ``/``-separated.
        character: The gallery's name for who it shows; None where it lies in no folder.
        sha256: Of the file's bytes.
        width: In pixels, orientation applied.
        height: In pixels, orientation applied.
    """

    path: str
    character: str | None
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class IndexedFace:
    """A face, and the number of the picture that it was found in."""

    picture: int
    face: Face


@dataclass(frozen=True, slots=True)
class Contents:
    """What a version is made of.

    Attributes:
        pictures: Sorted by path.
        faces: Sorted by picture; files of one content have the same ones.
        picture_vectors: ``(len(pictures), e)``, unit length.
        face_vectors: ``(len(faces), d)``, unit length.
    """

    pictures: tuple[IndexedPicture, ...]
    faces: tuple[IndexedFace, ...]
    picture_vectors: Vectors
    face_vectors: Vectors


def _standing_for(contents: Contents) -> NDArray[np.int64]:
    """For each face the number of the same face in the first file of its content, ``(faces,)``."""
    first: dict[tuple[str, int], int] = {}
    found = np.empty(len(contents.faces), np.int64)
    picture = place = -1
    for number, face in enumerate(contents.faces):
        place = place + 1 if face.picture == picture else 0
        picture = face.picture
        found[number] = first.setdefault((contents.pictures[picture].sha256, place), number)
    return found


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched for.

    Attributes:
        face: ``(d,)`` of unit length; None: whole pictures alone are compared.
        picture: ``(e,)`` of unit length; None: faces alone are compared, and pictures without
            one are left out.
        weights: ``(a, b)`` of face and picture, where both are given.
    """

    face: NDArray[np.float32] | None
    picture: NDArray[np.float32] | None
    weights: tuple[float, float] = (0.5, 0.5)

    def __post_init__(self) -> None:
        if self.face is None and self.picture is None:
            raise ValueError("A query needs a face, a picture or both.")

    @property
    def look(self) -> Look:
        """The look that these vectors stand for."""
        if self.face is None:
            return Look.FEEL
        return Look.CHARACTER if self.picture is None else Look.BOTH


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A found picture.

    Attributes:
        picture: Which.
        face: The one that matched; None where the whole picture did.
        similarity: Under the query's look, -1..1.
        face_similarity: Cosine of the faces alone, whatever else is in the gallery: what an
            extractor's threshold is for. None where `face` is.
    """

    picture: IndexedPicture
    face: Face | None
    similarity: float
    face_similarity: float | None = None


class Rows:
    """The searchable form of `Contents`. Safe to use from several threads.

    Attributes:
        contents: What the rows are made of.
    """

    def __init__(
        self,
        contents: Contents,
        trees: AnnoyIndex | None = None,
        search_k: dict[Look, int] | None = None,
        nearest: NDArray[np.int32] | None = None,
        between: Between = lambda: None,
    ) -> None:
        """
        Args:
            contents: What the rows are made of.
            trees: Annoy's, of `joined`.
            search_k: Nodes that Annoy inspects, for each look that it may search.
            nearest: `nearest_faces`, where it is known already.
            between: Called between steps where it is not.

        Raises:
            ValueError: `nearest` is of other contents.
        """
        self.contents = contents
        self._face_count = len(contents.faces)
        self._trees = trees
        self._search_k = search_k or {}
        # One of each: what faces are compared by is known for these alone.
        each, self._each_of_face = np.unique(_standing_for(contents), return_inverse=True)
        if nearest is not None and nearest.shape != (len(each), remembered(len(each))):
            raise ValueError(f"{nearest.shape} nearest of {len(each)} faces.")
        vectors = contents.face_vectors[each]
        self._space = FaceSpace(vectors)
        self._neighbourhoods = Neighbourhoods(self._space.of(vectors), nearest, between)
        self._each = self._neighbourhoods.joined
        self._pictures = contents.picture_vectors
        with_face = np.array([face.picture for face in contents.faces], dtype=np.int64)
        self._picture_of_row = np.concatenate(
            [with_face, np.setdiff1d(np.arange(len(contents.pictures)), with_face)]
        )
        self._each_of_content: dict[str, list[int]] = {}
        for place, number in enumerate(each):
            content = contents.pictures[contents.faces[number].picture].sha256
            self._each_of_content.setdefault(content, []).append(place)
        first: dict[str, int] = {}
        self._first_of_content = np.array(
            [first.setdefault(it.sha256, number) for number, it in enumerate(contents.pictures)],
            dtype=np.int64,
        )
        self._row_of_picture = np.unique(self._picture_of_row, return_index=True)[1]

    def __len__(self) -> int:
        """Faces, and pictures without one."""
        return len(self._picture_of_row)

    @property
    def nearest_faces(self) -> NDArray[np.int32]:
        """See `core.neighbourhood.nearest_of_each`; of the faces in the first file of each
        content, which stand for those of its copies."""
        return self._neighbourhoods.nearest

    def joined(self) -> Vectors:
        """Every row as Annoy takes it, ``(len(self), d + e + 1)``."""
        faces, pictures = self._each[self._each_of_face], self._pictures
        joined = np.zeros((len(self), faces.shape[1] + pictures.shape[1] + 1), np.float32)
        joined[: len(faces), : faces.shape[1]] = faces
        joined[:, faces.shape[1] : -1] = pictures[self._picture_of_row]
        joined[len(faces) :, -1] = 1
        return joined

    def nearest(self, query: Query, count: int, without: str = "") -> tuple[Neighbour, ...]:
        """The pictures most like the query, nearest first, each once.

        Of several files with the same content the first by path stands for all.

        Args:
            query: What is searched for.
            count: How many, at least 1; fewer come back where there are no more.
            without: SHA-256 of a picture that must not be among them.
        """
        search_k = self._search_k.get(query.look, 0)
        if self._trees is not None and search_k:
            found = self.nearest_by_trees(query, count, without, search_k)
            if len(found) == count:
                return found
        return self.nearest_exactly(query, count, without)

    def nearest_exactly(self, query: Query, count: int, without: str) -> tuple[Neighbour, ...]:
        """`nearest`, by the cosine with every row."""
        similarities, rows = self._all_similarities(query, without)
        wanted = 4 * count + 16
        while True:
            if wanted < len(rows):
                nearest = np.argpartition(-similarities, wanted)[:wanted]
                nearest.sort()
            else:
                nearest = np.arange(len(rows))
            found = self._distinct(query, rows[nearest], similarities[nearest], count, without)
            if len(found) == count or wanted >= len(rows):
                return found
            wanted *= 4

    def nearest_by_trees(
        self, query: Query, count: int, without: str, search_k: int
    ) -> tuple[Neighbour, ...]:
        """`nearest` among the candidates of Annoy, possibly too few."""
        if self._trees is None:
            raise ValueError("These rows have no trees.")
        joined = self._joined(query)
        candidates = set(self._trees.get_nns_by_vector(joined, 4 * count + 16, search_k))
        if query.look is Look.FEEL and len(self) > self._face_count:
            # The constant keeps pictures without a face in branches of their own, which a query
            # of feel has to be sent to: there they compete with the others on equal terms.
            joined[-1] = 1
            candidates.update(self._trees.get_nns_by_vector(joined, 4 * count + 16, search_k))
        rows = np.array(sorted(candidates), dtype=np.int64)
        if query.look is Look.CHARACTER:
            rows = rows[rows < self._face_count]
        return self._distinct(query, rows, self._similarities(query, rows, without), count, without)

    def _joined(self, query: Query) -> NDArray[np.float32]:
        a, b = query.weights if query.look is Look.BOTH else (1.0, 1.0)
        dimensions = self._each.shape[1]
        joined = np.zeros(dimensions + self._pictures.shape[1] + 1, np.float32)
        if query.face is not None:
            joined[:dimensions] = a * self._space.of(query.face)
        if query.picture is not None:
            joined[dimensions:-1] = b * query.picture
        return joined

    def _similarities(
        self, query: Query, rows: NDArray[np.int64], without: str
    ) -> NDArray[np.float32]:
        """Of some rows, in ascending order."""
        a, b = query.weights if query.look is Look.BOTH else (1.0, 1.0)
        similarities = np.zeros(len(rows), np.float32)
        if query.face is not None:
            faces = rows[rows < self._face_count]
            similarities[: len(faces)] = a * self._face_similarities(query.face, without, faces)
        if query.picture is not None:
            pictures = self._pictures[self._picture_of_row[rows]]
            similarities += np.float32(b) * (pictures @ query.picture)
        return similarities

    def _all_similarities(
        self, query: Query, without: str
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Of every row that can answer; under `feel` one row stands for its picture."""
        everything = np.arange(len(self))
        if query.picture is None:
            face = cast(NDArray[np.float32], query.face)
            return self._face_similarities(face, without), everything[: self._face_count]
        pictures = self._pictures @ query.picture
        if query.face is None:
            return pictures, self._row_of_picture
        a, b = query.weights
        similarities = np.float32(b) * pictures[self._picture_of_row]
        faces = self._face_similarities(query.face, without)
        similarities[: self._face_count] += np.float32(a) * faces
        return similarities, everything

    def _face_similarities(
        self, face: NDArray[np.float32], without: str, numbers: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Of some faces, in ascending order, or of all, as if one picture were not there."""
        asked = self._space.of(face)
        if numbers is None:
            of_face = self._each_of_face
            similarities = (self._each @ asked)[of_face]
        else:
            of_face = self._each_of_face[numbers]
            similarities = self._each[of_face] @ asked
        if left_out := self._each_of_content.get(without):
            changed, joined = self._neighbourhoods.without(np.array(left_out))
            there = np.isin(of_face, changed)
            similarities[there] = (joined @ asked)[np.searchsorted(changed, of_face[there])]
        return similarities

    def _distinct(
        self,
        query: Query,
        rows: NDArray[np.int64],
        similarities: NDArray[np.float32],
        count: int,
        without: str,
    ) -> tuple[Neighbour, ...]:
        """The best row of each picture content, nearest first; of equals the first by path."""
        pictures = self._first_of_content[self._picture_of_row[rows]]
        order = np.lexsort((pictures, -similarities))
        found: list[Neighbour] = []
        passed = {without}
        for place in order:
            picture = self.contents.pictures[pictures[place]]
            if picture.sha256 in passed:
                continue
            passed.add(picture.sha256)
            row = rows[place]
            similarity = float(np.clip(similarities[place], -1.0, 1.0))
            if query.face is not None and row < self._face_count:
                own = self.contents.face_vectors[row]
                alike = float(np.clip(own @ query.face, -1.0, 1.0))
                face = self.contents.faces[row].face
                found.append(Neighbour(picture, face, similarity, alike))
            else:
                found.append(Neighbour(picture, None, similarity))
            if len(found) == count:
                break
        return tuple(found)

    def sample_queries(
        self, look: Look, weights: tuple[float, float], count: int, seed: int
    ) -> list[tuple[Query, str]]:
        """Some rows as queries, each with the SHA-256 of its own picture to be left out.

        Fewer than `count` where there are not as many rows that can ask.
        """
        asking = self._face_count if look is not Look.FEEL else len(self)
        chosen = np.random.default_rng(seed).permutation(asking)[:count]
        queries = []
        for row in chosen:
            number = self._picture_of_row[row]
            face = None if look is Look.FEEL else self.contents.face_vectors[row]
            picture = None if look is Look.CHARACTER else self._pictures[number]
            queries.append((Query(face, picture, weights), self.contents.pictures[number].sha256))
        return queries
