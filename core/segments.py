"""What a JPEG or PNG file is put together of, told by its bytes with none of it unpacked.

A few bytes may stand for much work: each scan of a JPEG file goes through every pixel once more,
and a kilobyte of compressed text in a PNG file becomes a megabyte. Nothing that a decoder comes to
is passed over here; where a file is damaged, something may be told that it does not come to.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

SCAN: Final = 0xDA
"""The marker that begins a JPEG file's scan."""

_JPEG: Final = b"\xff\xd8"
_JPEG_END: Final = 0xD9

# Passed over is coded data with its stuffed zeros and restarts, and whatever else has no length. Of
# a reserved marker, those below 0xC0, decoders pass over no more than its own two bytes.
_MARKER: Final = re.compile(rb"\xff[\xc0-\xcf\xd9-\xfe]")

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_PNG_END: Final = b"IEND"
_DEFLATED: Final = 1032
"""Bytes that a deflated byte becomes at most, by https://zlib.net/zlib_tech.html."""


def jpeg_markers(data: bytes) -> Iterator[int]:
    """The second byte of each marker that has a length, up to the end of the first picture.

    None where the file is no JPEG file. What looks like a marker within a segment is none.
    """
    at = len(_JPEG) if data.startswith(_JPEG) else len(data)
    while found := _MARKER.search(data, at):
        at = found.end()
        marker = data[at - 1]
        if marker == _JPEG_END:
            return
        yield marker
        # A length holds its own two bytes, also where it says less.
        at += max(2, int.from_bytes(data[at : at + 2], "big"))


def png_chunks(data: bytes) -> Iterator[int]:
    """For each chunk, how many bytes of text or of colour profile it may unpack to; mostly 0.

    None where the file is no PNG file.
    """
    at = len(_PNG) if data.startswith(_PNG) else len(data)
    while at + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        yield _DEFLATED * length if _is_compressed(name, data, at + 8, at + 8 + length) else 0
        if name == _PNG_END:
            return
        at += 12 + length


def _is_compressed(name: bytes, data: bytes, start: int, end: int) -> bool:
    if name == b"iTXt":
        keyword = data.find(b"\0", start, end)
        return keyword >= 0 and data[keyword + 1 : keyword + 2] != b"\0"
    return name in {b"zTXt", b"iCCP"}
