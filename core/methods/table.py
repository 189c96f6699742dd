"""Every method on the same pictures, by the same figures."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from core.embed import Embedded, FolderReader, above_threshold, embed_found
from core.evaluate_folder import (
    LabelledVectors,
    LookFigures,
    labelled,
    measure,
    measure_pairs,
)
from core.face import Face
from core.likeness import COSINE, EUCLIDEAN, MANHATTAN, SQUARED_EUCLIDEAN, Likeness
from core.look import Look
from core.methods.cell_histogram import CellHistogram
from core.methods.trained_extractor import TrainedExtractor
from core.methods.training import SOURCES, Name, Source
from core.models import Detector, Extractor, ModelError
from core.models.extractor import FamiliarExtractor
from core.models.resnet101 import WEIGHTS_VARIABLE, ResNet101
from core.progress import Progress
from core.retrieval import precisions
from core.rows import Contents, IndexedFace, IndexedPicture, Query, Rows
from core.train.copies import copied, prints_in
from core.train.trained import TrainedNetwork
from core.trees import RECALL_AT, RECALL_TARGET, build_trees, choose_search_k

OURS: Final[frozenset[Source]] = frozenset({"familiar", "shipped"})
"""Compared as a search does, in the gallery's own space; the others as their authors do."""

TREES: Final = 10
"""Of Annoy, for galleries that are small for it; a published index has a hundred."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table.

    Attributes:
        name: For people.
        source: Of the vectors.
        look: What of a picture is compared.
        likeness: How.
        weights: Of face and picture under the look `both`; None: the extractor's own.
        by_trees: Whether Annoy searches, instead of everything being compared.
    """

    name: str
    source: Source
    look: Look
    likeness: Likeness = COSINE
    weights: tuple[float, float] | None = None
    by_trees: bool = False


METHODS: Final = (
    Method("Colour histogram, 2x2 cells, 8^3 bins", "histogram", Look.FEEL),
    Method("V1: ResNet101, whole picture", "resnet101", Look.FEEL),
    Method("V2: ResNet101, face", "resnet101", Look.CHARACTER),
    Method("V3: ResNet101, both joined", "resnet101", Look.BOTH, COSINE, (0.5, 0.5)),
    Method("V5: attributes, head ++ picture", "attributes", Look.BOTH, MANHATTAN, (1.0, 1.0)),
    Method("Batch-hard triplets, soft margin", "triplet-soft", Look.CHARACTER, EUCLIDEAN),
    Method("Batch-hard triplets, margin 0.2", "triplet-margin", Look.CHARACTER, EUCLIDEAN),
    Method("FaceNet: semi-hard triplets, 128-d", "facenet", Look.CHARACTER, SQUARED_EUCLIDEAN),
    Method("ArcFace on IR-SE50, 112 px", "arcface-ir-se50", Look.CHARACTER),
    Method("Ours at that budget: character", "familiar", Look.CHARACTER),
    Method("Ours at that budget: feel", "familiar", Look.FEEL),
    Method("Ours at that budget: both", "familiar", Look.BOTH),
    Method("Ours as shipped: character", "shipped", Look.CHARACTER),
    Method("Ours as shipped: feel", "shipped", Look.FEEL),
    Method("Ours as shipped: both", "shipped", Look.BOTH),
    Method("Ours as shipped: both, by Annoy", "shipped", Look.BOTH, by_trees=True),
)


@dataclass(frozen=True, slots=True)
class MeasuredMethod:
    """A method and what it reached.

    Attributes:
        method: Which.
        figures: None where it could not be measured.
        equal_error_rate: Over all pairs, 0..1; None where it could not be measured, and for Annoy,
            which finds and does not compare.
        note: Why it could not be measured, or what has to be known of it.
    """

    method: Method
    figures: LookFigures | None
    equal_error_rate: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class MethodComparison:
    """All methods on one folder.

    Attributes:
        methods: In the order of `METHODS`.
        pictures: That answered.
        characters: Folders with a picture.
        without_face: Share of `pictures` in which no face was found, 0..1.
        copies: Path of each file left out because an earlier one has the same bytes.
        unreadable: Path and reason of each file left out that cannot be read.
    """

    methods: tuple[MeasuredMethod, ...]
    pictures: int
    characters: int
    without_face: float
    copies: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]


Missing = dict[Source, str]


def shared_pictures(
    folder: Path, trained_on: Path, without: Collection[str] = ()
) -> tuple[str, ...]:
    """Paths in `folder` of pictures of which a copy is trained on, as they are or scaled.

    A picture that was trained on says nothing about characters that were not.

    Args:
        folder: To measure on.
        trained_on: ``<label>/<picture>``.
        without: Labels of it that are not trained on.
    """
    paths, asking = prints_in(folder)
    _, known = prints_in(trained_on, without)
    return tuple(path for path, found in zip(paths, copied(asking, known), strict=True) if found)


_FACES_WANTED: Final = "faces by character to train on (--faces)"
_SERIES_WANTED: Final = "pictures by series to train on (--series)"


def load_resnet101(device: str) -> ResNet101 | str:
    """ResNet101, or why its rows cannot be measured where no file of it is named.

    Raises:
        ModelError: ``FAMILIAR_RESNET101_WEIGHTS`` names a file with which it cannot be had.
    """
    try:
        return ResNet101.load(device=device)
    except ModelError as error:
        if os.environ.get(WEIGHTS_VARIABLE):
            raise
        return str(error)


def load_sources(
    shipped: FamiliarExtractor,
    resnet101: ResNet101 | str,
    results: Mapping[Name, Path],
    device: str,
) -> tuple[dict[Source, Extractor], Missing]:
    """Every extractor that can be had, and the reason for each that cannot.

    Args:
        shipped: As it stands in the repository.
        resnet101: See `load_resnet101`.
        results: What was trained.
        device: Torch device.
    """
    sources: dict[Source, Extractor] = {"histogram": CellHistogram(), "shipped": shipped}
    missing: Missing = {}
    if isinstance(resnet101, str):
        missing["resnet101"] = resnet101
    else:
        sources["resnet101"] = resnet101
    for source, (face, picture) in SOURCES.items():
        if face not in results or (picture is not None and picture not in results):
            wanted = [_FACES_WANTED] if face not in results else []
            if picture is not None and picture not in results:
                wanted.append(_SERIES_WANTED)
            missing[source] = f"Not trained: give {' and '.join(wanted)}."
            continue
        # Ours looks at a face and its mirror image; the others do as their authors describe.
        own = source == "familiar"
        network = TrainedNetwork(results[face], mirrored=own, device=device)
        whole = None if picture is None else TrainedNetwork(results[picture], device=device)
        sources[source] = TrainedExtractor(
            source, network, whole, shipped.framing, shipped.weights_of_both
        )
    return sources, missing


def compare_methods(
    folder: Path,
    detector: Detector | None,
    sources: Mapping[Source, Extractor],
    missing: Mapping[Source, str],
    *,
    progress: Progress | None = None,
) -> MethodComparison:
    """Measure every method on ``<character>/<picture>``.

    Every picture asks once and all others answer, as `core.evaluate_folder` describes it, with
    the faces that one detector finds for all methods.

    Args:
        folder: One folder for each character.
        detector: Finds the faces; None: every picture is a face crop already.
        sources: Make the vectors.
        missing: Why the others are not there.
        progress: Called with the pictures done and the pictures in all.

    Raises:
        Problem: The folder is missing, nothing in it can be read, or no character has two
            pictures.
    """
    reader = FolderReader(folder, progress)
    paths: list[str] = []
    faces: list[tuple[Face, ...]] = []
    seen: dict[Source, list[Embedded]] = {source: [] for source in sources}
    characters: list[str] = []
    for its_characters, its_paths, pixels in reader.batches_of_characters():
        characters += its_characters
        paths += its_paths
        found = None if detector is None else detector.detect(pixels)
        embedded: list[Embedded] = []
        for source, extractor in sources.items():
            embedded = embed_found(pixels, found, extractor, above_threshold(detector))
            seen[source] += embedded
        faces += [picture.chosen for picture in embedded]
    vectors = {source: labelled(characters, pictures) for source, pictures in seen.items()}
    measured = []
    for method in METHODS:
        if method.source not in vectors:
            measured.append(MeasuredMethod(method, None, None, missing[method.source]))
            continue
        of_source = vectors[method.source]
        weights = method.weights or sources[method.source].weights_of_both
        if method.by_trees:
            measured.append(_measured_by_trees(method, of_source, paths, faces, weights))
            continue
        if method.source in OURS:
            of_source = of_source.as_searched()
        measured.append(
            MeasuredMethod(
                method,
                measure(of_source, method.look, weights, method.likeness),
                measure_pairs(of_source, method.look, weights, method.likeness)[0],
            )
        )
    return MethodComparison(
        tuple(measured),
        len(paths),
        len(set(characters)),
        float(np.mean([not found for found in faces])),
        tuple(reader.copies),
        tuple(reader.unreadable),
    )


def _measured_by_trees(
    method: Method,
    vectors: LabelledVectors,
    paths: list[str],
    faces: list[tuple[Face, ...]],
    weights: tuple[float, float],
) -> MeasuredMethod:
    """What a search by Annoy finds; a picture that it does not propose is not found at all."""
    contents = Contents(
        tuple(
            IndexedPicture(path, character, path, 1, 1)
            for path, character in zip(paths, vectors.characters, strict=True)
        ),
        tuple(
            IndexedFace(number, face) for number, its_own in enumerate(faces) for face in its_own
        ),
        vectors.picture_vectors,
        vectors.face_vectors,
    )
    starts = np.cumsum(vectors.faces) - vectors.faces
    counts = {name: vectors.characters.count(name) for name in set(vectors.characters)}
    hits, right = [], []
    with _trees(contents) as rows:
        search_k, recall = choose_search_k(rows, TREES, weights)
        nodes = search_k.get(method.look, len(rows) // 2)
        for number, character in enumerate(vectors.characters):
            if counts[character] < 2:
                continue
            face = vectors.face_vectors[starts[number]] if vectors.faces[number] else None
            query = Query(face, vectors.picture_vectors[number], weights)
            found = rows.nearest_by_trees(query, len(paths), paths[number], nodes)
            of_all = np.zeros(len(paths) - 1, bool)
            of_all[: len(found)] = [it.picture.character == character for it in found]
            hits.append(of_all)
            right.append(counts[character] - 1)
    reached = recall.get(method.look)
    if reached is None:
        recalled = f"half as many as rows; recall@{RECALL_AT} {RECALL_TARGET} is not reached"
    else:
        recalled = f"recall@{RECALL_AT} {reached:.3f}"
    note = (
        f"{TREES} trees, {nodes:,} nodes, {recalled}; pictures that it does not propose count as"
        " not found"
    )
    figures = LookFigures(*precisions(np.stack(hits), np.array(right)).mean(0).tolist())
    return MeasuredMethod(method, figures, None, note)


@contextmanager
def _trees(contents: Contents) -> Iterator[Rows]:
    with tempfile.TemporaryDirectory() as place:
        trees = build_trees(Rows(contents), TREES, Path(place) / "rows.annoy")
        yield Rows(contents, trees)
