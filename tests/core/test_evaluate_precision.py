"""Both precisions on one folder, with an extractor whose other precision is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.embed import embed_folder
from core.evaluate_folder import evaluate_folder
from core.evaluate_precision import Models, compare_precisions
from core.face import Pixels, Vectors
from core.job import Look
from tests.core.fakes import FakeDetector, FakeExtractor, drawn_gallery


class Shifted(FakeExtractor):
    """Every face is moved the same way, as no face of a gallery differs from another."""

    def embed_faces(self, faces: Pixels) -> Vectors:
        """As the others, and a half further along the first axis."""
        vectors = super().embed_faces(faces)
        vectors[:, 0] += 0.5
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    return drawn_gallery(tmp_path / "gallery", each=4)


def test_vectors_are_compared_as_the_extractors_give_them(gallery: Path) -> None:
    found = compare_precisions(gallery, Models(None, FakeExtractor()), Models(None, Shifted()))

    exact, coarse = (
        embed_folder(gallery, None, extractor, None).character
        for extractor in (FakeExtractor(), Shifted())
    )
    cosines = (exact * coarse).sum(1)
    assert found.faces is not None
    assert found.faces.mean == pytest.approx(float(cosines.mean()), abs=1e-5)
    assert found.faces.least == pytest.approx(float(cosines.min()), abs=1e-5)
    assert found.pictures.least == pytest.approx(1.0)


def test_figures_are_those_of_a_search(gallery: Path) -> None:
    detector = FakeDetector()
    found = compare_precisions(
        gallery, Models(detector, FakeExtractor()), Models(detector, Shifted())
    )

    assert len(found.precisions) == 3
    for figures, extractor in zip(
        found.precisions, (FakeExtractor(), Shifted(), Shifted()), strict=True
    ):
        expected = evaluate_folder(gallery, detector, extractor).looks
        assert {look: figures.looks[look][0] for look in Look} == expected
