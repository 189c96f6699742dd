"""The pictures that are measured with."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from cli.demo.gallery import draw_gallery
from core.face import Pixels
from core.folder import PictureFile, scan
from core.models import Detector
from core.picture import OWN_LIMITS, UnreadablePicture, read
from tests.shared_data import ROOT, present

SIDE: Final = 720
_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Measured:
    """What is indexed and asked.

    Attributes:
        name: What to call the gallery in the table.
        folder: The gallery.
    """

    name: str
    folder: Path


def choose_gallery(folder: Path) -> Measured:
    """The gallery of ``FAMILIAR_TEST_DATA``, or the one that the demo draws, into `folder`."""
    if present("gallery"):
        return Measured("gallery of full pictures", ROOT / "gallery")
    return Measured("gallery drawn by the demo", draw_gallery(folder).gallery)


def asked_pictures(gallery: Path, detector: Detector, count: int) -> list[bytes]:
    """Pictures of the gallery with exactly one face, 720 px on their longest side, as JPEG.

    They are from all over the gallery, whose characters come one after the other, and the same
    ones each time.
    """
    asked: list[bytes] = []
    files = scan(gallery).pictures
    shuffled = np.random.default_rng(_SEED).permutation(len(files))
    for pixels in readable(files[place] for place in shuffled):
        (faces,) = detector.detect([pixels])
        if sum(face.score >= detector.threshold for face in faces) != 1:
            continue
        image = Image.fromarray(pixels)
        scale = SIDE / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        content = io.BytesIO()
        image.resize(size, Image.Resampling.LANCZOS).save(content, "JPEG", quality=90)
        asked.append(content.getvalue())
        if len(asked) == count:
            break
    if not asked:
        raise SystemExit("The detector finds no picture with exactly one face in the gallery.")
    return asked


def readable(files: Iterable[PictureFile]) -> Iterator[Pixels]:
    """Each picture, ``(height, width, 3)``; without those that an index leaves out, too."""
    for file in files:
        try:
            yield read(file.location, OWN_LIMITS).pixels
        except UnreadablePicture:
            continue
