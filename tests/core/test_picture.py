"""Given bytes from a stranger, either a picture comes out or one clear sentence."""

import contextlib
import hashlib
import io
import os
import struct
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageOps

from core import picture as picture_module
from core.picture import (
    DECODING,
    DEFAULT_LIMITS,
    Limits,
    PixelBudget,
    UnreadablePicture,
    check,
    decode,
    pixels_in,
    read,
    read_reduced,
)


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def halves(mode: str, left: object, right: object) -> Image.Image:
    """40x20, the left half of one colour and the right half of another."""
    image = Image.new(mode, (40, 20), right)
    image.paste(left, (0, 0, 20, 20))
    return image


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises much and holds next to nothing."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"\0"))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_every_allowed_format_keeps_its_colours(form):
    picture = decode(encoded(halves("RGB", (200, 30, 30), (20, 40, 210)), form))
    assert picture.pixels.shape == (20, 40, 3)
    assert picture.pixels.dtype == np.uint8
    assert np.abs(picture.pixels[10, 5].astype(int) - (200, 30, 30)).max() < 12
    assert np.abs(picture.pixels[10, 35].astype(int) - (20, 40, 210)).max() < 12


def test_sha256_is_that_of_the_original_bytes():
    data = encoded(halves("RGB", "red", "blue"), "PNG")
    assert decode(data).sha256 == hashlib.sha256(data).hexdigest()
    assert decode(data).sha256 != decode(data + b"\0").sha256


def test_transparency_becomes_white():
    picture = decode(encoded(halves("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), "PNG"))
    assert picture.pixels[10, 5].tolist() == [255, 255, 255]
    assert picture.pixels[10, 35].tolist() == [0, 0, 0]


def test_transparent_palette_becomes_white():
    image = halves("P", 0, 1)
    image.putpalette([9, 9, 9, 0, 255, 0])
    picture = decode(encoded(image, "PNG", transparency=0))
    assert picture.pixels[10, 5].tolist() == [255, 255, 255]
    assert picture.pixels[10, 35].tolist() == [0, 255, 0]


def test_a_colour_that_means_transparency_becomes_white():
    image = halves("RGB", (9, 8, 7), (9, 8, 6))
    picture = decode(encoded(image, "PNG", transparency=(9, 8, 7)))
    assert picture.pixels[10, 5].tolist() == [255, 255, 255]
    assert picture.pixels[10, 35].tolist() == [9, 8, 6]


def test_a_grey_of_sixteen_bits_that_means_transparency_becomes_white():
    # Both greys are the same in eight bits.
    grey = np.full((20, 40), 0x0400, dtype=np.uint16)
    grey[:, 20:] = 0x0401
    picture = decode(encoded(Image.fromarray(grey), "PNG", transparency=0x0400))
    assert picture.pixels[10, 5].tolist() == [255, 255, 255]
    assert picture.pixels[10, 35].tolist() == [3, 3, 3]


def test_what_is_shown_smaller_has_its_transparency_on_white_too(tmp_path):
    path = tmp_path / "key.png"
    path.write_bytes(encoded(halves("RGB", (0, 0, 0), (9, 8, 6)), "PNG", transparency=(0, 0, 0)))
    assert read_reduced(path, 20).image.getpixel((5, 10)) == (255, 255, 255)


def test_cmyk_is_converted():
    picture = decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    red, green, blue = picture.pixels[4, 4]
    assert red > 200
    assert green < 60
    assert blue < 60


def test_sixteen_bits_are_scaled_and_not_clipped():
    grey = np.full((8, 8), 0x8000, dtype=np.uint16)
    picture = decode(encoded(Image.fromarray(grey), "PNG"))
    assert picture.pixels[4, 4].tolist() == [127, 127, 127]


def test_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(encoded(halves("RGB", "red", "blue"), "JPEG", exif=exif, quality=95))
    assert (picture.width, picture.height) == (20, 40)
    assert picture.pixels[5, 10, 0] > 200, "the left half has become the upper half"


def tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF by hand, which holds what Pillow would not write: tag, type, count, four bytes."""
    table = b"".join(
        struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries
    )
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4)


ORIENTATION = (0x0112, 3, 1, b"\x06\0\0\0")
TEXT, FLOAT = 2, 11


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "entry",
    [
        pytest.param((0x0128, TEXT, 2, b"2\0\0\0"), id="ResolutionUnit as text"),
        pytest.param((0x0100, FLOAT, 1, struct.pack("<f", 40.0)), id="ImageWidth as float"),
        pytest.param((0x0111, TEXT, 2, b"8\0\0\0"), id="StripOffsets as text"),
    ],
)
def test_a_camera_that_writes_odd_exif_is_turned_all_the_same(form, entry, tmp_path):
    exif = b"Exif\0\0" + tiff(*sorted([ORIENTATION, entry]))
    data = encoded(halves("RGB", "red", "blue"), form, exif=exif, quality=95)
    (tmp_path / "odd").write_bytes(data)
    for pixels in (
        decode(data).pixels,
        np.asarray(read_reduced(tmp_path / "odd", 100).image),
    ):
        assert pixels.shape == (40, 20, 3)
        assert pixels[5, 10, 0] > 200, "the left half has become the upper half"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_turned_as_pillow_turns_it(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(halves("RGB", "red", "blue"), "PNG", exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(decode(data).pixels, np.asarray(turned))


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(b"II*\0", id="shorter than its header"),
        pytest.param(b"no TIFF at all", id="of another kind"),
        pytest.param(tiff((0x0112, 3, 1, b"\x09\0\0\0")), id="an orientation that there is not"),
        pytest.param(tiff((0x0112, TEXT, 2, b"6\0\0\0")), id="an orientation as text"),
    ],
)
def test_exif_that_cannot_be_read_turns_nothing(exif):
    data = encoded(halves("RGB", "red", "blue"), "PNG", exif=exif)
    assert np.array_equal(decode(data).pixels, np.asarray(halves("RGB", "red", "blue")))


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_stands_for_an_animation(form):
    first, second = Image.new("RGB", (16, 16), "red"), Image.new("RGB", (16, 16), "blue")
    data = encoded(first, form, save_all=True, append_images=[second])
    red, _, blue = decode(data).pixels[8, 8]
    assert red > 200
    assert blue < 60


@pytest.mark.parametrize(
    ("data", "key"),
    [
        pytest.param(b"", "picture_empty", id="empty"),
        pytest.param(b"hello, I am text", "picture_wrong_type", id="a text file named .png"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "picture_wrong_type", id="svg"),
        pytest.param(b"\xff\xd8\xff", "picture_damaged", id="three bytes of a jpeg"),
        pytest.param(png_header(8, 8), "picture_damaged", id="a header and one byte of pixels"),
        pytest.param(png_header(60_000, 60_000), "picture_too_many_pixels", id="a bomb"),
        pytest.param(png_header(20_000, 10), "picture_too_many_pixels", id="one long side"),
        pytest.param(
            png_header(12_000, 9_000), "picture_too_many_pixels", id="over 100 megapixels"
        ),
        pytest.param(
            encoded(Image.new("RGB", (8, 8)), "TIFF"),
            "picture_wrong_type",
            id="a format not allowed",
        ),
    ],
)
def test_what_is_no_picture_gets_its_own_sentence(data, key):
    with pytest.raises(UnreadablePicture) as caught:
        decode(data)
    assert caught.value.key == key
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_a_truncated_file_never_raises_anything_else(form):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), form)
    for length in range(1, len(data) * 95 // 100, max(1, len(data) // 40)):
        with pytest.raises(UnreadablePicture):
            decode(data[:length])


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_damaged_bytes_decode_or_are_refused(form):
    random = np.random.default_rng(1)
    data = np.frombuffer(encoded(halves("RGB", "red", "blue"), form), dtype=np.uint8)
    for _ in range(60):
        broken = data.copy()
        broken[random.integers(0, len(data), 6)] = random.integers(0, 256, 6)
        with contextlib.suppress(UnreadablePicture):
            assert decode(broken.tobytes()).pixels.ndim == 3


def test_too_many_bytes_are_refused_before_anything_is_opened():
    with pytest.raises(UnreadablePicture) as caught:
        check(b"x" * 101, Limits(file_bytes=100))
    assert caught.value.key == "picture_too_many_bytes"


def test_our_limit_comes_before_pillows_bomb_warning():
    assert DEFAULT_LIMITS.pixels < (Image.MAX_IMAGE_PIXELS or 0)


@pytest.mark.parametrize("side", [9500, 14_000])
def test_pillow_says_nothing_of_a_picture_that_is_over_our_limit(side, tmp_path):
    """In a process of its own, because pytest has filters of its own for warnings."""
    (tmp_path / "large.png").write_bytes(png_header(side, side))
    code = (
        "from pathlib import Path\n"
        "from core.picture import OWN_LIMITS, UnreadablePicture, read\n"
        "try:\n"
        "    read(Path('large.png'), OWN_LIMITS)\n"
        "except UnreadablePicture as problem:\n"
        "    print(problem.key)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("picture_too_many_pixels\n", "")


def test_a_file_that_is_not_there_gets_a_sentence_with_its_name(tmp_path):
    with pytest.raises(UnreadablePicture, match=r"nobody\.png"):
        read(tmp_path / "nobody.png")


def test_a_file_that_is_too_large_is_not_read_to_its_end(tmp_path):
    (tmp_path / "large.png").write_bytes(b"x" * 5000)
    with pytest.raises(UnreadablePicture) as caught:
        read(tmp_path / "large.png", Limits(file_bytes=100))
    assert caught.value.key == "picture_too_many_bytes"


class InFlight:
    """How many threads are at the same place at the same time, at most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._now -= 1


@pytest.mark.parametrize("what", ["decode", "read_reduced"])
def test_threads_decode_no_more_pixels_at_once_than_the_budget_has(what, tmp_path, monkeypatch):
    file = tmp_path / "picture.png"
    file.write_bytes(encoded(halves("RGB", "red", "blue"), "PNG"))
    in_flight, rgb = InFlight(), picture_module._rgb

    def slow_rgb(image):
        with in_flight:
            threading.Event().wait(0.02)
            return rgb(image)

    monkeypatch.setattr(picture_module, "_rgb", slow_rgb)
    monkeypatch.setattr(picture_module, "DECODING", PixelBudget(2 * 40 * 20))
    with ThreadPoolExecutor(8) as threads:
        for _ in range(16):
            if what == "decode":
                threads.submit(decode, file.read_bytes())
            else:
                threads.submit(read_reduced, file, 20)
    assert in_flight.most == 2


def test_a_files_header_tells_its_pixels():
    assert pixels_in(encoded(halves("RGB", "red", "blue"), "PNG")) == 40 * 20
    with pytest.raises(UnreadablePicture):
        pixels_in(b"hello, I am text")


def test_a_picture_that_fails_gives_its_pixels_back(monkeypatch):
    monkeypatch.setattr(picture_module, "DECODING", PixelBudget(8 * 8))
    for _ in range(2):
        with pytest.raises(UnreadablePicture):
            decode(png_header(8, 8))
    assert decode(encoded(Image.new("RGB", (8, 8)), "PNG")).width == 8


def test_the_largest_picture_that_may_be_sent_is_let_in_and_a_larger_one_alone():
    with DECODING.taking(DEFAULT_LIMITS.pixels):
        pass
    budget = PixelBudget(10)
    with budget.taking(25):
        waiting = threading.Thread(target=lambda: budget.taking(1).__enter__())
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(10)
    assert not waiting.is_alive()


def test_small_pictures_do_not_keep_a_large_one_out():
    budget = PixelBudget(10)
    came: list[str] = []

    def take(pixels: int, name: str) -> None:
        with budget.taking(pixels):
            came.append(name)

    first = budget.taking(5)
    first.__enter__()
    threads = []
    for pixels, name in ((8, "large"), (5, "small")):  # the small one would fit beside the first
        threads.append(threading.Thread(target=take, args=(pixels, name)))
        threads[-1].start()
        threads[-1].join(0.05)
    first.__exit__(None, None, None)
    for thread in threads:
        thread.join(10)
    assert came == ["large", "small"]


def test_pillow_holds_large_pictures_in_blocks_that_go_back_to_the_system():
    largest_that_glibc_keeps = 32 * 2**20
    assert Image.core.get_block_size() > largest_that_glibc_keeps


def repeating_its_last_scan(image: Image.Image, times: int) -> bytes:
    """A progressive JPEG with so many more scans than it needs."""
    data = encoded(image, "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + scan * times + data[-2:]


@pytest.mark.parametrize(
    ("size", "scans"), [((16, 16), 100), ((600, 500), 33)], ids=["small", "large"]
)
def test_a_jpeg_of_more_scans_than_anybody_writes_is_refused_before_it_is_decoded(
    size, scans, tmp_path
):
    """Each goes through every pixel: of 50 megapixels, one takes a thirtieth of a second."""
    image = Image.new("L", size, 130)
    limits = Limits(pixels=500_000)
    has = len(encoded(image, "JPEG", progressive=True).split(b"\xff\xda")) - 1
    assert decode(repeating_its_last_scan(image, scans - has), limits).width == size[0]
    path = tmp_path / "bomb.jpg"
    path.write_bytes(repeating_its_last_scan(image, scans - has + 1))
    for refuse in (
        lambda: check(path.read_bytes(), limits),
        lambda: read(path, limits),
        lambda: read_reduced(path, 8, limits),
    ):
        with pytest.raises(UnreadablePicture, match="save it again as an ordinary JPEG") as caught:
            refuse()
        assert caught.value.key == "picture_too_much_work"


def test_the_largest_picture_may_be_progressive_in_four_colours(monkeypatch):
    """libjpeg writes 18 scans for one."""
    data = encoded(Image.new("CMYK", (64, 64)), "JPEG", progressive=True)
    assert data.count(b"\xff\xda") == 18
    assert decode(data, Limits(pixels=64 * 64)).width == 64


def with_chunks(chunks: bytes) -> bytes:
    """A PNG with these chunks between its header and its pixels."""
    data = encoded(Image.new("RGB", (8, 8), "red"), "PNG")
    return data[:33] + chunks + data[33:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


LONG = 1_200_000
NOTES = {
    "a text": chunk(b"zTXt", b"Raw profile type 8bim\0\0" + zlib.compress(b"ab" * LONG)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"<x>" + b"a" * LONG)),
    "a profile": chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(LONG))),
}


@pytest.mark.parametrize("what", NOTES)
def test_a_png_with_long_notes_is_sound(what):
    data = with_chunks(NOTES[what])
    check(data)
    assert decode(data).pixels[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "chunks",
    [
        pytest.param(NOTES["a profile"] * 250, id="a profile many times over"),
        pytest.param(chunk(b"tEXt", b"a\0b") * (2**18 + 1), id="very many small chunks"),
    ],
)
def test_a_png_whose_notes_would_take_long_is_refused(chunks):
    with pytest.raises(UnreadablePicture) as caught:
        check(with_chunks(chunks))
    assert caught.value.key == "picture_too_much_work"


def test_a_jpeg_of_very_many_segments_is_refused():
    data = encoded(Image.new("RGB", (8, 8)), "JPEG")
    with pytest.raises(UnreadablePicture) as caught:
        check(data[:2] + b"\xff\xfe\0\2" * 2**18 + data[2:])
    assert caught.value.key == "picture_too_much_work"
