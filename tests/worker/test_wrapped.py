"""What is around a model says of itself what the model does."""

from __future__ import annotations

from core.models import Detector, Extractor
from tests.core.fakes import FakeDetector, FakeExtractor
from worker.courtesy import CourteousDetector, Courtesy
from worker.wrapped import WrappedExtractor


def test_an_extractor_around_another_is_described_as_it_is() -> None:
    inner = FakeExtractor()
    inner.precision, inner.in_onnxruntime, inner.same_threshold = "int8", True, 0.5
    outer = WrappedExtractor(inner)
    for name in (*Extractor.__annotations__, "precision"):
        assert getattr(outer, name) == getattr(inner, name), name


def test_a_detector_around_another_is_described_as_it_is() -> None:
    inner = FakeDetector()
    inner.precision = "int8"
    outer = CourteousDetector(inner, Courtesy())
    for name in (*Detector.__annotations__, "precision"):
        assert getattr(outer, name) == getattr(inner, name), name
