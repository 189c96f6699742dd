"""Untrusted bytes in, a decoded picture out. Every limit on a single picture is here."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, PngImagePlugin

from core.face import Pixels
from core.problem import Problem
from core.segments import SCAN, jpeg_markers, png_chunks

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
"""Recognised by content; a file's name is never believed."""

_SIGNATURES: Final = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF8", b"BM")
"""How files of `FORMATS` begin, in their order."""

SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".jfif", ".png", ".webp", ".gif", ".bmp"})
"""Names that a gallery is searched for."""

OTHER_SUFFIXES: Final = frozenset(
    {".avif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg", ".tga", ".tif", ".tiff"}
)
"""Names of pictures of other kinds, which a gallery's keeper takes for pictures, too."""


# Pillow holds a picture in blocks of 16 MB. Those glibc keeps for the thread that frees them, some
# hundred megabytes for each; what is larger than 32 MB goes back to the system at once.
Image.core.set_block_size(64 * 2**20)  # type: ignore[attr-defined]

# What Pillow would warn of on standard error is over our own limits, which have a sentence.
warnings.simplefilter("error", Image.DecompressionBombWarning)

# Notes and colour profiles of sound files are longer than the one MiB that Pillow unpacks of each.
# Of all notes together it keeps 64 MiB at most.
PngImagePlugin.MAX_TEXT_CHUNK = 8 * 2**20

_MOST_UNPACKED: Final = 256 * 2**20
"""Bytes that all texts and profiles of a PNG file together may unpack to: half a second's work."""

_MOST_SCANS: Final = 100
"""Of a JPEG file. Encoders write ten for a picture in colour, and 18 where it has four colours."""

_MOST_SCANS_OF_THE_LARGEST: Final = 20
"""As many where a picture has all the pixels that are allowed, because each scan goes through every
pixel: of 50 megapixels, one takes a thirtieth of a second."""

_MOST_SEGMENTS: Final = 2**18
"""Of a JPEG file, or chunks of a PNG file. Each is a step in Python: half a second for so many."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a picture may be at most.

    Attributes:
        file_bytes: Size of the file, in bytes.
        pixels: Width times height. It stays below Pillow's own bomb warning (89 million), so
            that whatever would make Pillow warn is refused here first.
        side: Width or height, in pixels.
    """

    file_bytes: int = 20 * 2**20
    pixels: int = 50_000_000
    side: int = 16_384


DEFAULT_LIMITS: Final = Limits()

OWN_LIMITS: Final = Limits(file_bytes=2**30, pixels=80_000_000, side=2**16)
"""Wider than for strangers' pictures: a gallery, and what is trained or measured on, are one's own.

No setting changes them, so that what was indexed can be shown for as long as it lies there.
"""


class PixelBudget:
    """Pixels that may be in memory at the same time, by however many threads.

    A picture of two kilobytes may take a gibibyte while it is decoded, and three bytes a pixel
    afterwards, so that a handful of them at once could take all the memory there is.
    """

    def __init__(self, pixels: int) -> None:
        self._most = pixels
        self._held = 0
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taking(self, pixels: int) -> Iterator[None]:
        """Wait for room for so many, and hold it while the context lasts.

        A picture larger than the whole budget is let in alone.
        """
        # Who waits for room lets nobody past: small pictures would keep a large one out for ever.
        with self._turn, self._changed:
            self._changed.wait_for(lambda: not self._held or self._held + pixels <= self._most)
            self._held += pixels
        try:
            yield
        finally:
            with self._changed:
                self._held -= pixels
                self._changed.notify()


DECODING: Final = PixelBudget(60_000_000)
"""Of the pictures that people wait for. A little more than the largest a stranger may send."""

BUILDING: Final = PixelBudget(60_000_000)
"""Of the gallery pictures that a build decodes, so that nobody waits for these."""


class UnreadablePicture(Problem):
    """These bytes cannot be used as a picture."""


def too_many_bytes(size: int, limit: int) -> UnreadablePicture:
    """What is said of a file of `size` bytes where it may have `limit`."""
    return UnreadablePicture(
        "picture_too_many_bytes", size=f"{size / 2**20:.1f}", limit=f"{limit / 2**20:.0f}"
    )


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture.

    Attributes:
        pixels: ``(height, width, 3)``, RGB, orientation applied, transparency on white.
        sha256: Of the original bytes, 64 hexadecimal digits.
    """

    pixels: Pixels
    sha256: str

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.pixels.shape[0])


# Decoders of damaged files raise whatever their first unexpected byte leads to.
_DECODING_ERRORS = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    NotImplementedError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    MemoryError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


def _open(data: bytes, limits: Limits) -> Image.Image:
    """Read the header and hold it against the limits; no pixel is decoded yet."""
    if not data:
        raise UnreadablePicture("picture_empty")
    if len(data) > limits.file_bytes:
        raise too_many_bytes(len(data), limits.file_bytes)
    scans = _scans(data)
    too_many_pixels = UnreadablePicture(
        "picture_too_many_pixels", limit=limits.pixels // 1_000_000, side=limits.side
    )
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_many_pixels from error
    except _DECODING_ERRORS as error:
        if data.startswith(_SIGNATURES):
            raise UnreadablePicture("picture_damaged") from error
        raise UnreadablePicture("picture_wrong_type", formats=", ".join(FORMATS)) from error
    width, height = image.size
    if width * height > limits.pixels or max(width, height) > limits.side:
        raise too_many_pixels
    if scans * width * height > _MOST_SCANS_OF_THE_LARGEST * limits.pixels:
        raise UnreadablePicture("picture_too_much_work")
    return image


def _scans(data: bytes) -> int:
    """How many scans a JPEG file has; 0 for other formats.

    Raises:
        UnreadablePicture: More than any encoder writes, or other parts that would take long.
    """
    scans = unpacked = 0
    for number, marker in enumerate(jpeg_markers(data), start=1):
        scans += marker == SCAN
        if scans > _MOST_SCANS or number > _MOST_SEGMENTS:
            raise UnreadablePicture("picture_too_much_work")
    for number, size in enumerate(png_chunks(data), start=1):
        unpacked += min(size, PngImagePlugin.MAX_TEXT_CHUNK)
        if unpacked > _MOST_UNPACKED or number > _MOST_SEGMENTS:
            raise UnreadablePicture("picture_too_much_work")
    return scans


def check(data: bytes, limits: Limits = DEFAULT_LIMITS) -> None:
    """Hold a file's header against the limits without decoding its pixels.

    Raises:
        UnreadablePicture: Empty, too large, too much work to decode, or none of the allowed
            formats.
    """
    _open(data, limits).close()


def pixels_in(data: bytes, limits: Limits = DEFAULT_LIMITS) -> int:
    """How many pixels a file holds, by its header.

    Raises:
        UnreadablePicture: As `check`.
    """
    with _open(data, limits) as image:
        return image.width * image.height


def _rgb(image: Image.Image) -> Image.Image:
    """Any mode that the allowed formats decode to, as RGB on white."""
    if image.mode.startswith("I"):
        # 16-bit greyscale; Pillow's own conversion clips at 255 instead of scaling.
        grey = np.clip(np.asarray(image, dtype=np.float32) / 257.0, 0, 255).astype(np.uint8)
        if "transparency" in image.info:
            grey[np.asarray(image) == image.info["transparency"]] = 255
        return Image.fromarray(grey).convert("RGB")
    if image.has_transparency_data:
        layer = image if image.mode == "RGBA" else image.convert("RGBA")
        canvas = Image.new("RGB", layer.size, "white")
        canvas.paste(layer, mask=layer)
        return canvas
    return image if image.mode == "RGB" else image.convert("RGB")


_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture upright, by its orientation in EXIF; 1 is upright."""


def _upright(image: Image.Image) -> Image.Image:
    """A loaded picture turned as its EXIF says; as it is where that cannot be read.

    Pillow's own `ImageOps.exif_transpose` also writes the EXIF anew, and fails where any other
    entry has a type that Pillow would not write.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODING_ERRORS:
        return image
    return image if turn is None else image.transpose(turn)


def decode(
    data: bytes, limits: Limits = DEFAULT_LIMITS, budget: PixelBudget | None = None
) -> Picture:
    """Decode a file's bytes; of an animation, the first frame.

    Args:
        data: The file's bytes.
        limits: What the picture may be at most.
        budget: What its pixels are taken from while it is decoded; None: `DECODING`.

    Raises:
        UnreadablePicture: Empty, too large, too much work to decode, none of the allowed formats,
            or damaged.
    """
    image = _open(data, limits)
    try:
        with (budget or DECODING).taking(image.width * image.height):
            image.load()
            pixels = np.array(_rgb(_upright(image)), dtype=np.uint8)
    except _DECODING_ERRORS as error:
        raise UnreadablePicture("picture_damaged") from error
    return Picture(pixels, hashlib.sha256(data).hexdigest())


def read(path: Path, limits: Limits = DEFAULT_LIMITS) -> Picture:
    """Decode a picture file of one's own, such as one of the gallery.

    Raises:
        UnreadablePicture: As `decode`, or the file cannot be read.
    """
    return decode(read_bytes(path, limits), limits)


def read_bytes(path: Path, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The bytes of a picture file, never more than the limit allows.

    Raises:
        UnreadablePicture: The file cannot be read or is too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limits.file_bytes + 1)
    except OSError as error:
        raise UnreadablePicture("picture_file_unreadable", name=path) from error
    if len(data) > limits.file_bytes:
        raise too_many_bytes(path.stat().st_size, limits.file_bytes)
    return data


@dataclass(frozen=True, slots=True)
class Reduced:
    """A picture decoded smaller than it is, for showing.

    Attributes:
        image: RGB, orientation applied, transparency on white, no metadata.
        scale: Pixels of `image` for each pixel of the picture, 0..1.
    """

    image: Image.Image
    scale: float


def read_reduced(path: Path, side: int, limits: Limits = DEFAULT_LIMITS) -> Reduced:
    """Decode a picture file of one's own only as large as it will be shown.

    JPEG decodes at an eighth, a quarter or half of its size in a fraction of the time.

    Args:
        path: The file.
        side: The shorter side keeps at least so many pixels, where the picture has them.
        limits: As for `read`.

    Raises:
        UnreadablePicture: As `read`.
    """
    image = _open(read_bytes(path, limits), limits)
    try:
        full = image.width
        image.draft("RGB", (side, side))
        scale = image.width / full
        with DECODING.taking(image.width * image.height):
            image.load()
            return Reduced(_rgb(_upright(image)), scale)
    except _DECODING_ERRORS as error:
        raise UnreadablePicture("picture_damaged") from error
