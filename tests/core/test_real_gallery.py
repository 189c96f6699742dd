"""Given real pictures and the shipped models, the whole path from a folder to a collage."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.collage import draw, layout
from core.embed import embed_folder
from core.evaluate_folder import LabelledVectors, evaluate_folder, measure
from core.face_space import FaceSpace
from core.gallery import build_index
from core.index import Index
from core.look import Look
from core.models import load_detector, load_extractor
from core.picture import read
from core.retrieval import retrieval
from core.search import Searcher
from tests import shared_data

CHARACTERS = 5
EACH = 5


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some characters of the gallery, with some pictures each."""
    root = tmp_path_factory.mktemp("gallery")
    for character in sorted((shared_data.ROOT / "gallery").iterdir())[:CHARACTERS]:
        (root / character.name).mkdir()
        for picture in sorted(character.iterdir())[:EACH]:
            (root / character.name / picture.name).write_bytes(picture.read_bytes())
    return root


if shared_data.present("gallery"):

    def test_a_gallery_of_drawings_is_indexed_searched_and_drawn(
        gallery: Path, tmp_path: Path
    ) -> None:
        detector, extractor = load_detector(), load_extractor()
        report = build_index(gallery, tmp_path, detector, extractor)
        assert report.pictures == CHARACTERS * EACH
        assert report.unreadable == ()
        assert report.without_face < report.pictures / 2
        index = Index.open_current(tmp_path, detector, extractor)
        searcher = Searcher(detector, extractor, index)
        right = 0
        for path in sorted(gallery.rglob("*.jpg")):
            answer = searcher.search(read(path), Look.BOTH, 4)
            nearest = answer.rows[0].matches
            assert len(nearest) == 4
            assert path.relative_to(gallery).as_posix() not in {match.path for match in nearest}
            right += nearest[0].character == path.parent.name
        assert right / report.pictures > 0.5  # 0.2 by chance
        figures = evaluate_folder(gallery, detector, extractor)
        assert figures.without_face == report.without_face / report.pictures
        assert figures.looks[Look.BOTH].precision_at_1 > 0.5

        asked = read(next(gallery.rglob("*.jpg")))
        answer = searcher.search(asked, Look.BOTH, 4)
        image = np.asarray(Image.open(io.BytesIO(draw(answer, gallery))).convert("RGB"), np.int16)
        x0, y0, x1, y1 = layout(answer).rows[0].seed
        expected = Image.fromarray(asked.pixels).resize((x1 - x0, y1 - y0))
        difference = np.abs(image[y0:y1, x0:x1] - np.asarray(expected, np.int16))
        assert np.median(difference) < 8

    def test_characters_of_full_pictures_are_found_again() -> None:
        detector, extractor = load_detector(precision="int8"), load_extractor(precision="int8")
        figures = evaluate_folder(shared_data.ROOT / "gallery", detector, extractor)
        both, face, whole = (figures.looks[look] for look in (Look.BOTH, Look.CHARACTER, Look.FEEL))
        print(f"both {both}, character {face}, feel {whole}, no face {figures.without_face:.3f}")
        assert figures.without_face <= 0.05
        assert both.precision_at_1 >= 0.88
        assert both.mean_average_precision >= 0.60
        for alone in (face, whole):
            assert both.precision_at_1 > alone.precision_at_1
            assert both.mean_average_precision > alone.mean_average_precision


if shared_data.present("characters/val"):

    def test_characters_that_no_training_saw_are_told_apart() -> None:
        extractor = load_extractor(precision="int8")
        seen = embed_folder(shared_data.ROOT / "characters" / "val", None, extractor)
        characters = [path.split("/")[0] for path in seen.paths]
        labels = np.unique(characters, return_inverse=True)[1]
        plain = retrieval(seen.character, labels)
        in_space = retrieval(FaceSpace(seen.character).of(seen.character), labels)
        print(f"as they are {plain}; in their space {in_space}")
        for found in (plain, in_space):
            assert found.precision_at_1 >= 0.87
            assert found.mean_average_precision >= 0.58
            assert found.equal_error_rate <= 0.15

    def test_neighbours_bring_characters_together_that_no_training_saw() -> None:
        extractor = load_extractor(precision="int8")
        folder = shared_data.ROOT / "characters" / "val"
        seen = embed_folder(folder, None, extractor)
        characters = tuple(path.split("/")[0] for path in seen.paths)
        one_face = np.ones(len(characters), np.int64)
        together = LabelledVectors(characters, seen.feel, seen.character, one_face).as_searched()
        alone = replace(together, neighbourhoods=None)
        weights = extractor.weights_of_both
        joined, apart = (measure(it, Look.CHARACTER, weights) for it in (together, alone))
        print(f"together {joined}; alone {apart}")
        assert joined.precision_at_1 >= 0.87
        assert joined.precision_at_5 > apart.precision_at_5
        assert joined.mean_average_precision > apart.mean_average_precision + 0.02
