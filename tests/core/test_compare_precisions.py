"""Both precisions on one folder, with an extractor whose other precision is known."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.compare_precisions import Variant, compare_precisions
from core.embed import embed_folder
from core.evaluate_folder import evaluate_folder
from core.face import Face, Pixels, Vectors
from core.look import Look
from core.problem import Problem
from tests.core.fakes import HAIR, FakeDetector, FakeExtractor, drawn_gallery


class Shifted(FakeExtractor):
    """Every face is moved the same way, as no face of a gallery differs from another.

    So is every picture, another way.
    """

    def embed_faces(self, faces: Pixels) -> Vectors:
        """As the others, and a half further along the first axis."""
        return self._further(super().embed_faces(faces), 0, 0.5)

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        """As the others, and a quarter further along the second axis."""
        return self._further(super().embed_pictures(pictures), 1, 0.25)

    @staticmethod
    def _further(vectors: Vectors, axis: int, by: float) -> Vectors:
        vectors[:, axis] += by
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


class Counting(FakeDetector):
    """Counts the pictures that it looks at."""

    looked = 0

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """As the others."""
        self.looked += len(images)
        return super().detect(images)


class Blind(FakeDetector):
    """Sees no face."""

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        """Nothing."""
        return [()] * len(images)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return drawn_gallery(tmp_path / "gallery", each=4)


def test_vectors_are_compared_as_the_extractors_give_them(gallery: Path) -> None:
    found = compare_precisions(
        gallery, [Variant("a", None, FakeExtractor()), Variant("b", None, Shifted())]
    )

    exact, coarse = (
        embed_folder(gallery, None, extractor, None) for extractor in (FakeExtractor(), Shifted())
    )
    (turning,) = found.turnings
    assert turning.name == "b"
    for turned, one, other in (
        (turning.faces, exact.character, coarse.character),
        (turning.pictures, exact.feel, coarse.feel),
    ):
        cosines = (one * other).sum(1)
        assert turned is not None
        assert turned.mean == pytest.approx(float(cosines.mean()), abs=1e-5)
        assert turned.least == pytest.approx(float(cosines.min()), abs=1e-5)


def test_figures_are_those_of_a_search(gallery: Path) -> None:
    variants = [
        Variant("exact", Counting(), FakeExtractor()),
        Variant("other faces", Blind(), FakeExtractor()),
        Variant("other vectors", Counting(), Shifted()),
    ]
    found = compare_precisions(gallery, variants)

    for figures, variant in zip(found.precisions, variants, strict=True):
        assert figures.name == variant.name
        expected = evaluate_folder(gallery, variant.detector, variant.extractor).looks
        assert {look: figures.looks[look][0] for look in Look} == expected
    assert found.turnings == ()  # the last variant has a detector of its own


def test_a_detector_that_variants_share_looks_once(gallery: Path) -> None:
    detector = Counting()
    found = compare_precisions(
        gallery, [Variant("a", detector, FakeExtractor()), Variant("b", detector, Shifted())]
    )
    assert detector.looked == found.count == 20
    (turning,) = found.turnings
    assert turning.faces is not None


def test_copies_and_what_cannot_be_read_are_left_out(gallery: Path) -> None:
    expected = compare_precisions(gallery, [Variant("a", None, FakeExtractor())])
    shutil.copy(gallery / "blue" / "0.png", gallery / "blue" / "again.png")
    (gallery / "blue" / "broken.png").write_bytes(b"no")
    found = compare_precisions(gallery, [Variant("a", None, FakeExtractor())])
    assert (found.copies, expected.copies) == (("blue/again.png",), ())
    assert [path for path, _ in found.unreadable] == ["blue/broken.png"]
    assert replace(found, copies=(), unreadable=()) == expected


def test_one_character_can_be_mistaken_for_nobody_and_is_refused(gallery: Path) -> None:
    for name in list(HAIR)[1:]:
        shutil.rmtree(gallery / name)
    with pytest.raises(Problem, match="two characters or more"):
        compare_precisions(gallery, [Variant("a", None, FakeExtractor())])
