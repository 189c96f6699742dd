"""Given an answer, what the collage shows, and where."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from core import collage
from core.collage import (
    TILE,
    Layout,
    _corner_mask,
    _round_corners,
    _view,
    draw,
    layout,
)
from core.face import Face, Pixels
from core.folder import READERS
from core.look import Look
from core.picture import DEFAULT_LIMITS, Limits, Picture, Reduced, read_reduced
from core.search import Answer, Match, Row
from tests.core.fakes import HAIR, SKIN, drawn_scene, save

COLOURS = [(200, 30, 30), (30, 180, 40), (40, 60, 210), (220, 200, 40), (180, 40, 190)]
COLOURS += [(40, 190, 190), (240, 130, 20), (120, 120, 120), (90, 50, 20)]


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    for number, colour in enumerate(COLOURS):
        pixels = np.full((200, 260, 3), colour, np.uint8)
        save(pixels, tmp_path / "plain" / f"{number}.png")
    return tmp_path


def plain(*numbers: int) -> tuple[Match, ...]:
    return tuple(
        Match(f"plain/{number}.png", "plain", 0.9 - 0.1 * place, None)
        for place, number in enumerate(numbers)
    )


def asked(width: int = 300, height: int = 240) -> Picture:
    """A picture that is different everywhere."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Picture(np.stack([x, y, 255 - x], 2).astype(np.uint8), "0" * 64)


def answer(*rows: Row, picture: Picture | None = None, look: Look = Look.BOTH) -> Answer:
    faces = sum(row.face is not None for row in rows)
    return Answer(picture or asked(), look, faces, rows)


def opened(data: bytes) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def inside(image: Pixels, where: tuple[int, int, int, int], edge: int = 24) -> Pixels:
    x0, y0, x1, y1 = where
    return image[y0 + edge : y1 - edge, x0 + edge : x1 - edge]


def rectangles(place: Layout) -> list[tuple[int, int, int, int]]:
    return [it for row in place.rows for it in (row.seed, *row.tiles)]


def test_neighbours_stand_beside_the_picture_in_order(gallery: Path) -> None:
    it = answer(Row(None, plain(3, 0, 2, 1)))
    place, image = layout(it), opened(draw(it, gallery))
    assert image.shape == (place.height, place.width, 3)
    [row] = place.rows
    assert row.seed[2] < row.tiles[0][0]
    assert [tile[0] for tile in row.tiles] == sorted(tile[0] for tile in row.tiles)
    for tile, number in zip(row.tiles, (3, 0, 2, 1), strict=True):
        middle = inside(image, tile, 60).reshape(-1, 3).mean(0)
        assert middle == pytest.approx(COLOURS[number], abs=6)


@pytest.mark.parametrize("size", [(300, 240), (240, 300), (40, 30), (2000, 1500), (900, 100)])
def test_the_picture_keeps_its_pixels_and_its_aspect(gallery: Path, size: tuple[int, int]) -> None:
    it = answer(Row(None, plain(0, 1)), picture=asked(*size))
    image = opened(draw(it, gallery))
    x0, y0, x1, y1 = layout(it).rows[0].seed
    assert (x1 - x0) / (y1 - y0) == pytest.approx(size[0] / size[1], rel=0.03)
    expected = Image.fromarray(it.picture.pixels).resize((x1 - x0, y1 - y0))
    shown = image[y0:y1, x0:x1].astype(int)
    difference = np.abs(shown - np.asarray(expected, int))[12:-12, 12:-12]
    assert difference.mean() < 4


@pytest.mark.parametrize("count", range(10))
@pytest.mark.parametrize("rows", [1, 2, 3])
@pytest.mark.parametrize("size", [(300, 240), (60, 6000), (6000, 60), (1, 1)])
def test_nothing_overlaps_and_everything_is_inside(
    count: int, rows: int, size: tuple[int, int]
) -> None:
    picture = Picture(np.zeros((size[1], size[0], 3), np.uint8), "0" * 64)
    row = Row(Face((0.0, 0.0, 1.0, 1.0), 0.9), plain(*range(count)))
    place = layout(answer(*[row] * rows, picture=picture))
    everything = rectangles(place)
    assert len(everything) == rows * (1 + count)
    for number, (x0, y0, x1, y1) in enumerate(everything):
        assert 0 < x0 < x1 < place.width
        assert 0 < y0 < y1 < place.height
        for other in everything[number + 1 :]:
            assert x1 <= other[0] or other[2] <= x0 or y1 <= other[1] or other[3] <= y0
    assert all(x1 - x0 == y1 - y0 == TILE for r in place.rows for x0, y0, x1, y1 in r.tiles)
    # What Telegram takes as a photo.
    assert place.width + place.height <= 10_000
    assert max(place.width, place.height) <= 20 * min(place.width, place.height)


def test_each_row_boxes_its_own_face(gallery: Path) -> None:
    faces = (Face((30.0, 30.0, 130.0, 130.0), 0.9), Face((180.0, 90.0, 270.0, 200.0), 0.8))
    grey = Picture(np.full((240, 300, 3), 128, np.uint8), "0" * 64)
    it = answer(*(Row(face, plain(0)) for face in faces), picture=grey)
    image = opened(draw(it, gallery))
    for face, row in zip(faces, layout(it).rows, strict=True):
        x0, y0, x1, y1 = row.seed
        scale = (x1 - x0) / 300
        shown = np.abs(image[y0:y1, x0:x1].astype(int) - 128).max(2) > 60
        shown[:14], shown[-14:], shown[:, :14], shown[:, -14:] = False, False, False, False
        ys, xs = np.nonzero(shown)
        extent = [xs.min(), ys.min(), xs.max(), ys.max()]
        assert extent == pytest.approx([value * scale for value in face.box], abs=4)
        middle = inside(shown, (extent[0], extent[1], extent[2], extent[3]), 12)
        assert not middle.any()


def test_without_a_face_nothing_is_boxed(gallery: Path) -> None:
    grey = Picture(np.full((240, 300, 3), 128, np.uint8), "0" * 64)
    it = answer(Row(None, plain(0)), picture=grey)
    image = opened(draw(it, gallery))
    assert inside(image, layout(it).rows[0].seed).std() < 2


def test_a_box_over_the_edge_of_the_picture_is_drawn_along_it(gallery: Path) -> None:
    for box in ((-50.0, -40.0, 90.0, 80.0), (250.0, 200.0, 900.0, 900.0), (299.0, 239.0, 300, 240)):
        it = answer(Row(Face(box, 0.9), plain(0)))
        assert opened(draw(it, gallery)).shape[0] == layout(it).height


def test_the_matching_face_is_in_view(tmp_path: Path) -> None:
    """A figure in a corner of a wide picture, and one of two in a high one."""
    save(
        drawn_scene([("blue", 1000, 80, 40), ("amber", 80, 500, 60)], (1080, 600)),
        tmp_path / "wide.png",
    )
    save(
        drawn_scene([("coral", 100, 90, 30), ("emerald", 200, 900, 40)], (300, 1000)),
        tmp_path / "high.png",
    )
    it = answer(
        Row(
            None,
            (
                Match("wide.png", None, 0.9, (960.0, 40.0, 1040.0, 120.0)),
                Match("high.png", None, 0.8, (160.0, 860.0, 240.0, 940.0)),
            ),
        )
    )
    image = opened(draw(it, tmp_path))
    for tile, hair, other in zip(
        layout(it).rows[0].tiles, ("blue", "emerald"), ("amber", "coral"), strict=True
    ):
        shown = inside(image, tile, 0).astype(int)
        for colour, least in ((SKIN, 3000), (HAIR[hair], 1500)):
            assert (np.abs(shown - colour).max(2) < 25).sum() > least
        assert (np.abs(shown - HAIR[other]).max(2) < 25).sum() < 200


def test_the_face_is_in_view_though_the_picture_is_decoded_smaller(tmp_path: Path) -> None:
    """JPEG is read at a fraction of its size, and the box was found in all of it."""
    heads = [("blue", 2400, 300, 150), ("amber", 400, 1300, 150)]
    Image.fromarray(drawn_scene(heads, (2800, 1700))).save(tmp_path / "large.jpg", quality=92)
    assert read_reduced(tmp_path / "large.jpg", 2 * TILE).scale == 0.5
    it = answer(Row(None, (Match("large.jpg", None, 0.9, (2250.0, 150.0, 2550.0, 450.0)),)))
    shown = inside(opened(draw(it, tmp_path)), layout(it).rows[0].tiles[0], 0).astype(int)
    assert (np.abs(shown - SKIN).max(2) < 25).sum() > 3000
    assert (np.abs(shown - HAIR["blue"]).max(2) < 30).sum() > 1500
    assert (np.abs(shown - HAIR["amber"]).max(2) < 30).sum() < 200


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (100, 900), (33, 33)])
@pytest.mark.parametrize("where", [(0.0, 0.0), (0.5, 0.3), (0.99, 0.99)])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_a_tile_shows_a_square_within_the_picture_that_holds_the_face(
    size: tuple[int, int], where: tuple[float, float], share: float
) -> None:
    side = max(1.0, share * min(size))
    x, y = (size[0] - side) * where[0], (size[1] - side) * where[1]
    x0, y0, x1, y1 = _view(size, (x, y, x + side, y + side))
    assert x1 - x0 == pytest.approx(y1 - y0)
    for low, high, length, start in ((x0, x1, size[0], x), (y0, y1, size[1], y)):
        assert low >= 0
        assert high <= length + 1e-6
        assert low <= start + 1e-6
        assert start + side <= high + 1e-6


def test_a_picture_that_is_gone_or_damaged_since_is_an_empty_tile_with_its_number(
    gallery: Path,
) -> None:
    complete = opened(draw(answer(Row(None, plain(0, 1, 2))), gallery))
    (gallery / "plain" / "1.png").unlink()
    (gallery / "plain" / "2.png").write_bytes(b"damaged")
    it = answer(Row(None, plain(0, 1, 2)))
    image = opened(draw(it, gallery))
    first, gone, damaged = layout(it).rows[0].tiles
    assert np.array_equal(inside(image, first), inside(complete, first))
    for tile in (gone, damaged):
        x0, y0, x1, y1 = tile
        assert image[y0 + 60 : y1 - 20, x0 + 60 : x1 - 20].std((0, 1)).max() < 2
        badge = image[y0 + 10 : y0 + 44, x0 + 10 : x0 + 44]
        assert (badge.min(2) > 200).sum() > 20


def test_a_picture_that_matches_in_several_rows_is_decoded_once(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[tuple[str, int]] = []

    def noting(path: Path, side: int, limits: Limits) -> Reduced:
        decoded.append((path.name, side))
        return read_reduced(path, side, limits)

    monkeypatch.setattr(collage, "read_reduced", noting)
    with_face = Match("plain/1.png", None, 0.9, (60.0, 40.0, 140.0, 120.0))
    it = answer(Row(None, plain(0, 1)), Row(None, (with_face, *plain(2, 0))))
    image = opened(draw(it, gallery))
    assert sorted(decoded) == [("0.png", TILE), ("1.png", 2 * TILE), ("2.png", TILE)]
    tiles = [tile for row in layout(it).rows for tile in row.tiles]
    for tile, number in zip(tiles, (0, 1, 1, 2, 0), strict=True):
        assert inside(image, tile, 60).reshape(-1, 3).mean(0) == pytest.approx(
            COLOURS[number], abs=6
        )


def test_pictures_are_decoded_side_by_side_and_few_at_a_time(
    gallery: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many answers are drawn: large ones would not fit into memory together."""
    counting = threading.Lock()
    at_once: list[int] = []
    now = 0
    two = threading.Barrier(2)

    def counted(path: Path, side: int, limits: Limits) -> Reduced:
        nonlocal now
        with counting:
            now += 1
            at_once.append(now)
        if path.name in {"0.png", "1.png"}:
            two.wait(30)
        reduced = read_reduced(path, side, limits)
        with counting:
            now -= 1
        return reduced

    monkeypatch.setattr(collage, "read_reduced", counted)
    draw(answer(Row(None, plain(0, 1))), gallery)
    it = answer(Row(None, plain(*range(2, 9))))
    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(lambda _: draw(it, gallery), range(8)))
    assert len(set(drawn)) == 1
    assert 2 <= max(at_once) <= READERS


def test_the_bar_is_as_long_as_the_similarity(gallery: Path) -> None:
    similar = (1.0, 0.5, 0.0, -0.2)
    it = answer(Row(None, tuple(Match("plain/0.png", "p", value, None) for value in similar)))
    image = opened(draw(it, gallery)).astype(int)
    for value, (x0, _, x1, y1) in zip(similar, layout(it).rows[0].tiles, strict=True):
        line = image[y1 + 10, x0:x1]
        assert (line.max(1) > 150).sum() / TILE == pytest.approx(max(0.0, value), abs=0.03)


@pytest.mark.parametrize("max_bytes", [10 * 2**20, 60_000, 20_000, 4_000])
def test_the_file_fits_into_the_limit(gallery: Path, max_bytes: int) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)
    save(noise, gallery / "plain" / "0.png")
    it = answer(Row(None, plain(0, 0, 0, 0)), picture=Picture(noise, "0" * 64))
    data = draw(it, gallery, max_bytes)
    assert len(data) <= max_bytes
    assert opened(data).shape[1] > 50


def test_a_limit_that_nothing_fits_is_an_error(gallery: Path) -> None:
    with pytest.raises(ValueError, match="100 bytes"):
        draw(answer(Row(None, plain(0))), gallery, 100)


def test_what_goes_out_has_no_metadata(gallery: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    Image.new("RGB", (200, 200), "red").save(tmp_path / "plain" / "exif.jpg", exif=exif)
    it = answer(Row(None, (Match("plain/exif.jpg", None, 0.9, None),)))
    data = draw(it, gallery)
    assert b"where I live" not in data
    assert not Image.open(io.BytesIO(data)).getexif()


def test_a_picture_is_drawn_with_the_limits_that_it_was_indexed_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a gallery; what is beyond is an empty tile."""
    size = (7200, 7200)
    Image.new("L", size, 200).save(tmp_path / "large.jpg")
    it = answer(Row(None, (Match("large.jpg", None, 0.9, None),)))
    (tile,) = layout(it).rows[0].tiles
    shown = inside(opened(draw(it, tmp_path)), tile, 60)
    assert shown.mean() == pytest.approx(200, abs=4)
    for limits, grey in ((DEFAULT_LIMITS, 50), (Limits(pixels=80_000_000), 200)):
        monkeypatch.setattr(collage, "OWN_LIMITS", limits)
        shown = inside(opened(draw(it, tmp_path)), tile, 60)
        assert shown.mean() == pytest.approx(grey, abs=4)


def test_pictures_of_every_shape_share_their_corners() -> None:
    """A worker draws for months: what it keeps does not grow with the shapes it is asked about."""
    canvas = Image.new("RGB", (1700, 1100), "white")
    _round_corners(canvas, (10, 10, 330, 330))
    kept = _corner_mask.cache_info().currsize
    for width in range(400, 1600, 100):
        _round_corners(canvas, (10, 10, 10 + width, 1000))
    assert _corner_mask.cache_info().currsize == kept


@pytest.mark.parametrize("size", [(320, 320), (1200, 990), (320, 3), (1, 320), (23, 25), (1, 1)])
def test_corners_are_round_and_nothing_else_is_covered(size: tuple[int, int]) -> None:
    canvas = Image.new("RGB", (size[0] + 20, size[1] + 20), "white")
    _round_corners(canvas, (10, 10, 10 + size[0], 10 + size[1]))
    pixels = np.asarray(canvas).astype(int)
    expected = np.full_like(pixels, 255)
    finer = 4
    mask = Image.new("L", (size[0] * finer, size[1] * finer), 255)
    ImageDraw.Draw(mask).rounded_rectangle(
        (0, 0, mask.width - 1, mask.height - 1), 10 * finer, fill=0
    )
    covered = np.asarray(mask.resize(size, Image.Resampling.BOX), float)[..., None] / 255
    expected[10:-10, 10:-10] = np.round(255 * (1 - covered) + covered * (24, 25, 30))
    assert np.abs(pixels - expected).max() <= 1
    if min(size) > 20:
        assert pixels[10, 10].max() < 100
        assert pixels[10 + size[1] // 2, 10].min() == 255


@pytest.mark.parametrize("size", [(4, 1), (1, 4), (1, 1), (3, 2), (7, 900)])
def test_the_smallest_gallery_pictures_are_shown(tmp_path: Path, size: tuple[int, int]) -> None:
    save(np.full((size[1], size[0], 3), (200, 30, 30), np.uint8), tmp_path / "tiny.png")
    it = answer(Row(None, (Match("tiny.png", None, 0.9, None),)))
    shown = inside(opened(draw(it, tmp_path)), layout(it).rows[0].tiles[0], TILE // 2 - 1)
    assert shown.reshape(-1, 3).mean(0) == pytest.approx((200, 30, 30), abs=12)


@pytest.mark.parametrize("size", [(900, 300), (300, 900)])
def test_of_a_wide_or_high_picture_without_a_face_all_is_shown(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    pixels[:100, :100] = (200, 30, 30)
    pixels[-100:, -100:] = (30, 30, 200)
    save(pixels, tmp_path / "long.png")
    it = answer(Row(None, (Match("long.png", None, 0.9, None),)))
    shown = inside(opened(draw(it, tmp_path)), layout(it).rows[0].tiles[0], 0).astype(int)
    for colour in ((200, 30, 30), (30, 30, 200)):
        assert (np.abs(shown - colour).max(2) < 30).sum() > 700


def test_a_gallery_picture_is_shown_as_it_is_turned(tmp_path: Path) -> None:
    """Its face is in pixels after orientation: a camera held upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = drawn_scene([("blue", 100, 80, 40)], (240, 640))
    turned = Image.fromarray(upright).rotate(90, expand=True)
    turned.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    it = answer(Row(None, (Match("turned.jpg", None, 0.9, (60.0, 40.0, 140.0, 120.0)),)))
    shown = inside(opened(draw(it, tmp_path)), layout(it).rows[0].tiles[0], 0).astype(int)
    ys, _ = np.nonzero(np.abs(shown - SKIN).max(2) < 25)
    blue, _ = np.nonzero(np.abs(shown - HAIR["blue"]).max(2) < 40)
    assert len(ys) > 3000
    assert blue.mean() < ys.mean()  # hair is above the face


def test_more_than_four_neighbours_stand_in_lines_that_read_from_left_to_right() -> None:
    for count, lines in ((4, 1), (5, 2), (8, 2), (9, 3)):
        tiles = layout(answer(Row(None, plain(*range(count))))).rows[0].tiles
        assert len({top for _, top, _, _ in tiles}) == lines
        assert list(tiles) == sorted(tiles, key=lambda tile: (tile[1], tile[0]))
