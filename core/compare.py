"""Two pictures: is the same character in both?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.embed import embed_crops, embed_faces, most_confident
from core.face import Face, Pixels
from core.models import Detector, Extractor


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two pictures have in common.

    Attributes:
        faces: The most confident face of each; None where none was found.
        similarity: Cosine of the two faces, -1..1; None where there are not two.
        threshold: Cosine from which two faces count as the same character; None: the extractor
            has none.
        false_accepts: Share of pairs of different characters that reached that cosine when it was
            chosen, 0..1; None: the extractor does not say.
    """

    faces: tuple[Face | None, Face | None]
    similarity: float | None
    threshold: float | None
    false_accepts: float | None

    @property
    def same(self) -> bool | None:
        """Whether both show the same character; None where that cannot be said."""
        if self.similarity is None or self.threshold is None:
            return None
        return self.similarity >= self.threshold


def compare(
    pictures: tuple[Pixels, Pixels], detector: Detector | None, extractor: Extractor
) -> Comparison:
    """Hold the most confident face of one picture against that of another.

    Args:
        pictures: Each ``(height, width, 3)``.
        detector: Finds the faces; None: both pictures are face crops already.
        extractor: Makes the vectors, and has the threshold.
    """
    if detector is None:
        embedded = embed_crops(pictures, extractor)
        found: Sequence[tuple[Face, ...]] = [it.chosen for it in embedded]
        vectors = [it.face_vectors for it in embedded]
    else:
        choose = most_confident(detector)
        found = [choose(faces) for faces in detector.detect(pictures)]
        vectors = embed_faces(extractor, pictures, found)
    one, other = (faces[0] if faces else None for faces in found)
    similarity = None
    if one is not None and other is not None:
        similarity = float(np.clip(vectors[0][0] @ vectors[1][0], -1.0, 1.0))
    return Comparison((one, other), similarity, extractor.same_threshold, extractor.false_accepts)
