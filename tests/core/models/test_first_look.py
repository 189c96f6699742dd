"""What is wrong with a model that loads comes out at its first look, as one sentence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from core.face import Face, Pixels, Vectors
from core.models import ModelError
from core.models.first_look import look_first
from tests.core.fakes import FakeDetector, FakeExtractor


class FailingDetector(FakeDetector):
    """Fails at any picture."""

    def __init__(self, said: str) -> None:
        super().__init__()
        self.said = said

    def detect(self, images: Sequence[Pixels]) -> list[tuple[Face, ...]]:
        raise ValueError(self.said)


class OddExtractor(FakeExtractor):
    """Gives other vectors than it should."""

    def __init__(self, faces: Vectors | None = None, pictures: Vectors | None = None) -> None:
        super().__init__()
        self.given = faces, pictures

    def embed_faces(self, faces: Pixels) -> Vectors:
        return super().embed_faces(faces) if self.given[0] is None else self.given[0]

    def embed_pictures(self, pictures: Pixels) -> Vectors:
        return super().embed_pictures(pictures) if self.given[1] is None else self.given[1]


def test_models_that_are_well_see_two_at_once() -> None:
    detector, extractor = FakeDetector(), FakeExtractor()
    look_first(detector)
    look_first(extractor)
    assert (detector.seen, extractor.embedded_faces, extractor.embedded_pictures) == (2, 2, 2)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("no such size.\nDetails", "no such size; export"),
        (
            "Graph execution error:\n\nDetected at node Reshape\n<stack traces>\n"
            "Input has 9 values\n\t [[{{node Reshape}}]]",
            "Input has 9 values; export",
        ),
        ("", "ValueError; export"),
    ],
)
def test_a_model_that_fails_is_named_with_what_it_says(error: str, told: str) -> None:
    with pytest.raises(ModelError) as refused:
        look_first(FailingDetector(error))
    assert str(refused.value) == (
        f"The detector fake-face loads but cannot look at a picture: {told} it anew, or choose"
        " another."
    )


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (torch.OutOfMemoryError("Tried to allocate 2 GiB."), "Tried to allocate 2 GiB"),
        (RuntimeError("CUDA error: no kernel image.\nCompile it"), "CUDA error: no kernel image"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_X"), "cuDNN error: CUDNN_STATUS_X"),
        (Exception("[ONNXRuntimeError] : CUDA failure 2: no"), "[ONNXRuntimeError] : CUDA failure"),
    ],
)
def test_a_device_that_fails_is_not_blamed_on_the_file(error: Exception, told: str) -> None:
    class Failing(FakeExtractor):
        def embed_faces(self, faces: Pixels) -> Vectors:
            raise error

    with pytest.raises(ModelError) as refused:
        look_first(Failing())
    said = str(refused.value)
    assert f"fake-character cannot look at a picture on its device: {told}" in said
    assert said.endswith("; free the device's memory, or set FAMILIAR_MODEL_DEVICE=cpu.")


@pytest.mark.parametrize(
    ("extractor", "told"),
    [
        (OddExtractor(faces=np.full((2, 12), np.nan)), "vectors of faces are not of finite"),
        (OddExtractor(pictures=np.full((2, 27), np.inf)), "vectors of pictures are not of finite"),
        (OddExtractor(faces=np.zeros((1, 12))), r"gives \(1, 12\) for two faces"),
        (OddExtractor(pictures=np.zeros((2, 9))), r"gives \(2, 9\) for two pictures"),
    ],
)
def test_vectors_that_are_none_are_refused(extractor: OddExtractor, told: str) -> None:
    with pytest.raises(ModelError, match=told):
        look_first(extractor)
