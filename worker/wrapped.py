"""An extractor around another one: the same vectors, computed at another time or together."""

from __future__ import annotations

from core.models import Extractor


class WrappedExtractor:
    """All of a `core.models.Extractor` but its two ways to embed, which a subclass adds."""

    def __init__(self, extractor: Extractor) -> None:
        self._extractor = extractor
        self.name = extractor.name
        self.sha256 = extractor.sha256
        self.face_dimensions = extractor.face_dimensions
        self.picture_dimensions = extractor.picture_dimensions
        self.weights_of_both = extractor.weights_of_both
        self.same_threshold = extractor.same_threshold
        self.precision = extractor.precision
        self.in_onnxruntime = extractor.in_onnxruntime
        self.false_accepts = extractor.false_accepts
        self.prepare_face = extractor.prepare_face
        self.prepare_picture = extractor.prepare_picture
