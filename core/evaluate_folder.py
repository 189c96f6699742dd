"""How well the whole path finds the right character in a folder of pictures by character.

Every picture asks once, and all others answer, treated as a search of the product treats them: a
picture in which no face is found asks by its feel; one that answers counts with the best of its
faces; a file's copies, byte for byte, never answer for it, and of such files the first by path
stands for all. What differs:

- A picture asks with its most confident face alone; the product answers each of its three largest.
- A file whose bytes an earlier one has does not ask either. Where the two lie in the folders of two
  characters, it shows the first of these.
- Pictures in no character's folder neither ask nor answer.
- Who asks is one of the gallery: its faces have a part in the space that faces are compared in,
  which a picture from elsewhere has not. They are nobody's neighbours, as in the product.
- The whole gallery is ranked, so that under `character` the pictures without a face follow after
  all others, in the order of their feel, which also decides between equals.
- Everything is compared, however large the gallery is; from `core.index.EXACT_BELOW` rows on the
  product looks at what Annoy proposes.
- `--crops`: every picture is a face, and nobody looks for others in it.

Copies that were scaled or encoded anew answer here as they do in the product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.embed import Embedded, FolderReader, above_threshold, embed_batch
from core.face import Vectors
from core.face_space import FaceSpace
from core.likeness import COSINE, Likeness
from core.look import Look
from core.models import Detector, Extractor
from core.neighbourhood import Neighbourhoods
from core.progress import Progress
from core.retrieval import Block, equal_error_of_blocks, precisions

_ASKING_TOGETHER = 256


@dataclass(frozen=True, slots=True)
class LookFigures:
    """Leave-one-out figures of one look.

    Attributes:
        precision_at_1: Share of pictures whose nearest other shows the same character, 0..1.
        precision_at_5: Mean share of the nearest five that show the same character.
        mean_average_precision: Over the whole ranking.
    """

    precision_at_1: float
    precision_at_5: float
    mean_average_precision: float


@dataclass(frozen=True, slots=True)
class FolderFigures:
    """What was measured.

    Attributes:
        looks: The figures of each look.
        equal_error_rates: Of each look, over all pairs, 0..1; see `measure_pairs`.
        pictures: That answered.
        asked: Pictures that are not alone with their character, each of which asked once.
        characters: Folders with a picture.
        without_face: Share of `pictures` in which no face was found, 0..1.
        copies: Path of each file left out because an earlier one has the same bytes.
        unreadable: Path and reason of each file left out that cannot be read.
    """

    looks: dict[Look, LookFigures]
    equal_error_rates: dict[Look, float]
    pictures: int
    asked: int
    characters: int
    without_face: float
    copies: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class LabelledVectors:
    """Pictures with their characters, faces and vectors.

    Attributes:
        characters: One a picture.
        picture_vectors: ``(n, e)``; ``e`` is 0 where faces alone are compared.
        face_vectors: ``(m, d)``; those of one picture stand together, most confident first.
        faces: ``(n,)``, how many of `face_vectors` each picture has, in order.
        neighbourhoods: What faces answer with; None: with `face_vectors`.
    """

    characters: tuple[str, ...]
    picture_vectors: Vectors
    face_vectors: Vectors
    faces: NDArray[np.int64]
    neighbourhoods: Neighbourhoods | None = None

    def as_searched(self) -> LabelledVectors:
        """The same, faces as a search of this gallery compares them.

        See `core.face_space` and `core.neighbourhood`; a picture that asks is nobody's neighbour.
        """
        faces = FaceSpace(self.face_vectors).of(self.face_vectors)
        return replace(self, face_vectors=faces, neighbourhoods=Neighbourhoods(faces))


def evaluate_folder(
    folder: Path,
    detector: Detector | None,
    extractor: Extractor,
    *,
    looks: Sequence[Look] = tuple(Look),
    progress: Progress | None = None,
) -> FolderFigures:
    """Measure ``<character>/<picture>``; see `core.embed.FolderReader.batches_of_characters`.

    Args:
        folder: One folder for each character.
        detector: Finds the faces; None: every picture is a face crop already, and is its face.
        extractor: Makes the vectors, and says how the look `both` weighs them.
        looks: Which looks to measure.
        progress: Called with the pictures done and the pictures in all.

    Raises:
        Problem: The folder is missing, nothing in it can be read, no character has two pictures,
            or all are of one.
    """
    reader = FolderReader(folder, progress)
    characters: list[str] = []
    embedded: list[Embedded] = []
    for its_characters, _, pixels in reader.batches_of_characters():
        characters += its_characters
        embedded += embed_batch(pixels, detector, extractor, above_threshold(detector))
    vectors = labelled(characters, embedded).as_searched()
    return FolderFigures(
        looks={look: measure(vectors, look, extractor.weights_of_both) for look in looks},
        equal_error_rates={
            look: measure_pairs(vectors, look, extractor.weights_of_both)[0] for look in looks
        },
        pictures=len(characters),
        asked=len(_asking(vectors)),
        characters=len(set(characters)),
        without_face=float(np.mean(vectors.faces == 0)),
        copies=tuple(reader.copies),
        unreadable=tuple(reader.unreadable),
    )


def labelled(characters: Sequence[str], pictures: Sequence[Embedded]) -> LabelledVectors:
    """The vectors of pictures with the character of each; at least one."""
    return LabelledVectors(
        tuple(characters),
        np.stack([picture.picture_vector for picture in pictures]),
        np.concatenate([picture.face_vectors for picture in pictures]),
        np.array([len(picture.face_vectors) for picture in pictures], np.int64),
    )


def measure(
    vectors: LabelledVectors,
    look: Look,
    weights: tuple[float, float],
    likeness: Likeness = COSINE,
) -> LookFigures:
    """Rank everything for every picture that is not alone with its character.

    Equal pictures keep their order. Where faces alone are compared, a picture without one finds
    nothing, and is found by nobody.
    """
    labels = _labels(vectors)
    asking = _asking(vectors)
    figures = []
    for start in range(0, len(asking), _ASKING_TOGETHER):
        rows = asking[start : start + _ASKING_TOGETHER]
        order = _ranking(vectors, rows, look, weights, likeness)
        hits = labels[order] == labels[rows][:, None]
        right = hits.sum(1)
        if not vectors.picture_vectors.shape[1]:
            hits &= (vectors.faces[order] > 0) & (vectors.faces[rows] > 0)[:, None]
        figures.append(precisions(hits, right))
    return LookFigures(*np.concatenate(figures).mean(0).tolist())


def measure_pairs(
    vectors: LabelledVectors,
    look: Look,
    weights: tuple[float, float],
    likeness: Likeness = COSINE,
) -> tuple[float, float]:
    """The equal error rate over all ordered pairs of pictures, and the likeness where it lies.

    One of each pair asks with its most confident face and the other answers with its best, as in
    `measure`. Under `character` a picture without a face is like nothing, -inf, also where it
    asks: the likeness of whole pictures, by which `measure` ranks its answers, has no place among
    that of faces.

    Raises:
        ValueError: There is no pair of one character, or none of two.
    """
    labels = _labels(vectors)
    count = len(labels)

    def blocks() -> Iterator[Block]:
        for start in range(0, count, _ASKING_TOGETHER):
            rows = np.arange(start, min(start + _ASKING_TOGETHER, count))
            alike, _ = similarities(vectors, rows, look, weights, likeness)
            if look is Look.CHARACTER:
                alike[vectors.faces[rows] == 0] = -np.inf
            other = np.arange(count)[None, :] != rows[:, None]
            yield alike, other, labels[rows][:, None] == labels[None, :]

    return equal_error_of_blocks(blocks, count * (count - 1))


def similarities(
    vectors: LabelledVectors,
    rows: NDArray[np.int64],
    look: Look,
    weights: tuple[float, float],
    likeness: Likeness = COSINE,
) -> tuple[Vectors, Vectors]:
    """How like every picture is to each asking one, as a search sees it.

    Args:
        vectors: Of all pictures.
        rows: Which of them ask.
        look: With what.
        weights: Of face and picture under the look `both`.
        likeness: How vectors are compared.

    Returns:
        ``(len(rows), n)`` for the look, -inf for pictures that cannot answer, and the same for
        whole pictures, which decides between equals.
    """
    feel = likeness.between(vectors.picture_vectors[rows], vectors.picture_vectors)
    primary = feel.copy()
    asks_with_face = vectors.faces[rows] > 0
    if look is Look.FEEL or not asks_with_face.any():
        return primary, feel
    face = _face_similarities(vectors, rows[asks_with_face], likeness)
    if look is Look.BOTH:
        a, b = weights
        has_face = vectors.faces > 0
        face[:, ~has_face] = likeness.without_face(face[:, has_face])[:, None]
        primary[asks_with_face] = a * face + b * feel[asks_with_face]
    else:
        primary[asks_with_face] = face
    return primary, feel


def _labels(vectors: LabelledVectors) -> NDArray[np.int64]:
    return np.unique(np.array(vectors.characters), return_inverse=True)[1]


def _asking(vectors: LabelledVectors) -> NDArray[np.int64]:
    labels = _labels(vectors)
    return np.flatnonzero(np.bincount(labels)[labels] > 1)


def _ranking(
    vectors: LabelledVectors,
    rows: NDArray[np.int64],
    look: Look,
    weights: tuple[float, float],
    likeness: Likeness,
) -> NDArray[np.int64]:
    """The other pictures for each asking one, nearest first, ``(len(rows), n - 1)``."""
    primary, feel = similarities(vectors, rows, look, weights, likeness)
    primary[np.arange(len(rows)), rows] = -np.inf
    feel[np.arange(len(rows)), rows] = -np.inf  # the asking picture itself is last of all
    order: NDArray[np.int64] = np.lexsort((-feel, -primary), axis=1)[:, :-1]
    return order


def _face_similarities(
    vectors: LabelledVectors, rows: NDArray[np.int64], likeness: Likeness
) -> Vectors:
    """Of each asking picture's first face and the best face of every picture; -inf: no face."""
    starts = np.cumsum(vectors.faces) - vectors.faces
    has_face = vectors.faces > 0
    best = np.full((len(rows), len(vectors.faces)), -np.inf, np.float32)
    asked = vectors.face_vectors[starts[rows]]
    answering = vectors.neighbourhoods
    alike = likeness.between(asked, vectors.face_vectors if answering is None else answering.joined)
    if answering is not None:
        for row, of_row, face in zip(alike, rows, asked, strict=True):
            its_own = np.arange(starts[of_row], starts[of_row] + vectors.faces[of_row])
            changed, joined = answering.without(its_own)
            row[changed] = likeness.between(face[None], joined)[0]
    best[:, has_face] = np.maximum.reduceat(alike, starts[has_face], axis=1)
    return best
