"""Given a file's bytes, what it is put together of."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from core.segments import SCAN, jpeg_markers, png_chunks

START = 0xC2
"""Of a progressive picture."""


def jpeg(**options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def scans(data: bytes) -> int:
    return list(jpeg_markers(data)).count(SCAN)


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def test_an_ordinary_picture_has_one_scan_and_a_progressive_one_ten():
    assert scans(jpeg()) == 1
    assert scans(jpeg(restart_marker_blocks=1)) == 1
    assert scans(jpeg(progressive=True)) == 10
    assert START in jpeg_markers(jpeg(progressive=True))


@pytest.mark.parametrize("marker", [0xE1, 0xFE, 0xE2], ids=["EXIF", "a comment", "a profile"])
def test_what_looks_like_a_scan_in_metadata_is_none(marker):
    data = jpeg()
    assert scans(data[:2] + segment(marker, b"\xff\xda" * 300) + data[2:]) == 1


def test_a_picture_within_the_metadata_or_after_the_end_is_not_counted():
    data = jpeg(progressive=True)
    assert scans(data[:2] + segment(0xE1, data) + data[2:]) == 10
    assert scans(data + data) == 10


@pytest.mark.parametrize(
    "hidden",
    [
        pytest.param(b"\xff\xff\xff", id="fill bytes"),
        pytest.param(b"\xff\x00\xff", id="a stuffed zero"),
        pytest.param(b"\xff\xd3\xff", id="a restart"),
        pytest.param(b"\xff\x02\x70\x00\xff", id="a reserved marker, which has no length"),
        pytest.param(b"\xff\xfe\x00\x00\xff", id="a segment that is shorter than its length"),
    ],
)
def test_no_scan_is_hidden_behind(hidden):
    assert scans(b"\xff\xd8" + segment(SCAN, b"...") + b"abc" + hidden + b"\xda\0\2abc") == 2


@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda", b"GIF89a"]
)
def test_a_file_may_end_anywhere(data):
    assert len(list(jpeg_markers(data))) <= 1
    assert list(png_chunks(data)) == []


def test_what_a_chunk_may_unpack_to_is_told():
    body = b"a\0\0" + zlib.compress(b"." * 100)
    plain = b"a\0\0\0\0\0" + b"." * 100
    packed = b"a\0\1\0\0\0" + zlib.compress(b"." * 100)
    file = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(name, content)
        for name, content in (
            (b"tEXt", b"a\0b"),
            (b"zTXt", body),
            (b"iCCP", body),
            (b"iTXt", plain),
            (b"iTXt", packed),
            (b"iTXt", b"no end of a keyword"),
            (b"IEND", b""),
            (b"zTXt", body),
        )
    )
    most = [0, len(body), len(body), 0, len(packed), 0, 0]
    assert list(png_chunks(file)) == [1032 * length for length in most]
    assert list(png_chunks(file[:-200]))[:2] == [0, 1032 * len(body)]
