"""Gallery pictures as small as collages show them, each under the hash of its content.

A JPEG file can be decoded at a fraction of its size in a fraction of the time. Others are decoded
whole, which takes a large one a good part of a second. A build has to do so anyway, and then keeps
a small JPEG file of each that it reads anew in ``thumbnails/`` of the data folder; what was indexed
before is not read again for one. Whoever finds none there, or a damaged one, takes the picture
itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from PIL import Image

from core.face import Pixels
from core.picture import OWN_LIMITS, Reduced, read_reduced
from core.problem import Problem

FOLDER: Final = "thumbnails"
"""In the data folder."""

SIDE: Final = 640
"""The shorter side of a thumbnail, in pixels."""

_WORTH_IT = 1.5
"""Times `SIDE` that a picture's shorter side has at least: smaller ones are decoded soon enough."""
_QUALITY = 90
_JPEG = b"\xff\xd8\xff"
_OWN_NAME = re.compile(r"([0-9a-f]{64})\.(jpg|partial)")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """Where a picture's thumbnail lies, if there is one.

    Attributes:
        path: The file.
        width: Of the picture itself, in pixels.
    """

    path: Path
    width: int

    def read(self, side: int) -> Reduced:
        """The picture, its scale that of `core.picture.read_reduced`.

        Raises:
            UnreadablePicture: There is no thumbnail, or it is damaged.
        """
        image = read_reduced(self.path, side, OWN_LIMITS).image
        return Reduced(image, image.width / self.width)


def is_thumbnail(name: str) -> bool:
    """Whether a file of `FOLDER` is one of the program's, by the form of its name."""
    return _OWN_NAME.fullmatch(name) is not None


class Thumbnails:
    """The thumbnails of a data folder. Several threads may keep different ones at once."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._folder = data / FOLDER

    def of(self, sha256: str, width: int) -> Thumbnail:
        """That of a content which is `width` pixels wide."""
        return Thumbnail(self._folder / f"{sha256}.jpg", width)

    def keep(self, sha256: str, data: bytes, pixels: Pixels) -> None:
        """Write one where it saves time.

        Args:
            sha256: Of the file's bytes.
            data: The file's bytes.
            pixels: What they are decoded to.

        Raises:
            Problem: The data folder cannot be written.
        """
        height, width = pixels.shape[:2]
        if data.startswith(_JPEG) or min(width, height) < _WORTH_IT * SIDE:
            return
        scale = SIDE / min(width, height)
        size = round(width * scale), round(height * scale)
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
        file = io.BytesIO()
        Image.fromarray(small).save(file, "JPEG", quality=_QUALITY)
        path = self.of(sha256, width).path
        partial = path.with_suffix(".partial")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(file.getvalue())
            partial.replace(path)
        except OSError as error:
            raise Problem(
                "data_unwritable", path=self._data, reason=error.strerror or error
            ) from error

    def forget_all_but(self, contents: Collection[str]) -> None:
        """Remove those of other contents, and what a killed build left; whatever else somebody
        keeps there stays."""
        for path in self._folder.glob("*"):
            own = _OWN_NAME.fullmatch(path.name)
            if own and (own[2] != "jpg" or own[1] not in contents):
                with suppress(OSError):  # the next build tries again
                    path.unlink(missing_ok=True)
