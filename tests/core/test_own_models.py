"""The whole way with models of one's own: index, answer, and a change of models that is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from core.align import REFERENCE
from core.face import Face, Pixels
from core.gallery import build_index
from core.index import Index
from core.look import Look
from core.models import Extractor, load_extractor
from core.picture import read
from core.problem import Problem
from core.rows import Query
from core.search import Searcher
from tests.core.fakes import FakeDetector, drawn_gallery, drawn_scene, save


def write_cell_means(path: Path, cells: int) -> Path:
    """An ONNX network that says the mean colour of each of ``cells * cells`` cells of a face."""
    step = 112 // cells
    nodes = [
        helper.make_node(
            "AveragePool", ["data"], ["means"], kernel_shape=[step, step], strides=[step, step]
        ),
        helper.make_node("Flatten", ["means"], ["vectors"]),
    ]
    graph = helper.make_graph(
        nodes,
        "cells",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["n", 3, 112, 112])],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["n", 3 * cells * cells])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


class PointingDetector(FakeDetector):
    """Says where the five points would be, were the box the reference's square."""

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        return [tuple(map(self._pointed, faces)) for faces in super().detect(images)]

    @staticmethod
    def _pointed(face: Face) -> Face:
        x0, y0, x1, y1 = face.box
        points = [(x0 + x * (x1 - x0) / 112, y0 + y * (y1 - y0) / 112) for x, y in REFERENCE]
        return replace(face, points=tuple(points))


@pytest.fixture
def extractor(tmp_path: Path) -> Extractor:
    return load_extractor(f"onnx:{write_cell_means(tmp_path / 'four.onnx', 4)}")


@pytest.mark.parametrize("detector", [FakeDetector(), PointingDetector()], ids=["boxes", "points"])
def test_a_gallery_is_indexed_and_asked(
    tmp_path: Path, extractor: Extractor, detector: FakeDetector
) -> None:
    gallery, data = drawn_gallery(tmp_path / "gallery"), tmp_path / "data"
    build_index(gallery, data, detector, extractor)
    index = Index.open_current(data, detector, extractor)
    assert index.manifest.face_dimensions == 48
    asked = read(gallery / "blue" / "0.png")
    for look in Look:
        [row] = Searcher(detector, extractor, index).search(asked, look, 14).rows
        assert len(row.matches) == 14
        assert all(match.same is None for match in row.matches)
    # The very face in another file is found again with a cosine of 1.
    scene = drawn_scene([("blue", 110, 110, 34)], background=100)
    again = read(save(scene, tmp_path / "again.bmp"))
    seen = Searcher(detector, extractor, index).see(again, Look.CHARACTER)
    [found] = index.nearest(Query(seen.face_vectors[0], None), 1)
    assert found.picture.path == "blue/0.png"
    assert found.face_similarity == pytest.approx(1, abs=1e-5)


def test_another_network_asks_for_a_new_index_in_one_sentence(
    tmp_path: Path, extractor: Extractor
) -> None:
    data, detector = tmp_path / "data", FakeDetector()
    build_index(drawn_gallery(tmp_path / "gallery", 1), data, detector, extractor)
    other = load_extractor(f"onnx:{write_cell_means(tmp_path / 'two.onnx', 2)}")
    with pytest.raises(Problem) as refused:
        Index.open_current(data, detector, other)
    sentence = refused.value.sentence()
    assert sentence.startswith(f"The index was made with onnx ({extractor.sha256[:8]}), and onnx")
    assert "familiar index build" in sentence
    # The same network with another description beside it sees faces differently.
    (tmp_path / "four.json").write_text('{"channels": "bgr"}')
    with pytest.raises(Problem, match="familiar index build"):
        Index.open_current(data, detector, load_extractor(str(tmp_path / "four.onnx")))
    build_index(tmp_path / "gallery", data, detector, other)
    assert Index.open_current(data, detector, other).manifest.face_dimensions == 12
