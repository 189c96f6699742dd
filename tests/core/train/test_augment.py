from __future__ import annotations

import numpy as np
import pytest

from core.models.extractor import as_values
from core.train.augment import STRONG, Augmentation, augmented, colour_matrix, stronger
from tests.core.train.small_training import STILL


def drawing(side: int = 64) -> np.ndarray:
    """A red disc left of the middle, on a white ground."""
    rows, columns = np.mgrid[:side, :side]
    pixels = np.full((side, side, 3), 250, np.uint8)
    pixels[(rows - side // 2) ** 2 + (columns - side // 3) ** 2 < (side // 6) ** 2] = (200, 30, 40)
    return pixels


def as_pixels(values: object) -> np.ndarray:
    return np.rint((values.permute(0, 2, 3, 1).numpy() + 1) * 127.5).astype(int)  # type: ignore[attr-defined]


def test_without_changes_a_picture_stays_as_it_is() -> None:
    pixels = drawing()[None]
    result = as_pixels(augmented(pixels, 64, STILL, np.random.default_rng(0)))
    assert np.abs(result - pixels.astype(int)).max() <= 1
    assert np.abs(result - as_pixels(as_values(pixels))).max() <= 1


def test_a_mirrored_picture_shows_the_disc_on_the_other_side() -> None:
    mirrored = Augmentation(**{**vars_of(STILL), "mirror": 1.0})
    result = as_pixels(augmented(drawing()[None], 64, mirrored, np.random.default_rng(0)))[0]
    assert np.abs(result - drawing()[:, ::-1].astype(int)).max() <= 1


def vars_of(change: Augmentation) -> dict[str, object]:
    return {name: getattr(change, name) for name in change.__slots__}


@pytest.mark.parametrize(
    "name",
    ["shift", "turn", "stretch", "light", "palette", "saturation", "hue", "grey", "soft",
     "compressed", "noisy", "covered"],
)  # fmt: skip
def test_each_change_changes_something_and_stays_in_range(name: str) -> None:
    amount = {"turn": 20.0, "hue": 25.0}.get(name, 0.4 if name in {"shift", "light"} else 1.0)
    change = Augmentation(**{**vars_of(STILL), name: amount})
    pixels = np.stack([drawing()] * 4)
    values = augmented(pixels, 64, change, np.random.default_rng(1))
    assert values.shape == (4, 3, 64, 64)
    assert float(values.min()) >= -1.0
    assert float(values.max()) <= 1.0
    assert np.abs(as_pixels(values) - pixels.astype(int)).max() > 10


def test_zooming_in_enlarges_what_is_in_the_middle() -> None:
    change = Augmentation(**{**vars_of(STILL), "zoom": (0.6, 0.6)})
    result = as_pixels(augmented(drawing()[None], 64, change, np.random.default_rng(0)))[0]
    red = (result[:, :, 1] < 128).sum()
    assert 2.2 < red / (drawing()[:, :, 1] < 128).sum() < 3.2  # 1 / 0.6 squared is 2.8


def extents(change: Augmentation, times: int) -> np.ndarray:
    """Width and height, ``(times, 2)``, of a disc that is 64 pixels wide before each change."""
    rows, columns = np.mgrid[:192, :192] - 95.5
    picture = np.full((192, 192, 3), 250, np.uint8)
    picture[rows**2 + columns**2 < 32**2] = 20
    frames = as_pixels(
        augmented(np.stack([picture] * times), 192, change, np.random.default_rng(2))
    )
    covered = (250 - frames[..., 0]) / 230
    return np.stack([covered[:, 96].sum(1), covered[:, :, 96].sum(1)], 1)


def test_zooms_are_drawn_from_all_of_their_range_and_as_often_inwards_as_outwards() -> None:
    found = extents(Augmentation(**{**vars_of(STILL), "zoom": (0.625, 1.6)}), 400)
    assert found[:, 0] == pytest.approx(found[:, 1], abs=0.5)
    zooms = 64 / found[:, 0]
    assert zooms.min() == pytest.approx(0.625, rel=0.02)
    assert zooms.max() == pytest.approx(1.6, rel=0.02)
    assert np.median(zooms) == pytest.approx(1.0, rel=0.06)


def test_stretching_makes_pictures_wider_or_higher_and_no_larger() -> None:
    found = extents(Augmentation(**{**vars_of(STILL), "stretch": 0.4}), 200)
    ratios = np.log(found[:, 0] / found[:, 1])
    assert ratios.min() == pytest.approx(-0.4, abs=0.03)
    assert ratios.max() == pytest.approx(0.4, abs=0.03)
    assert found.prod(1) == pytest.approx(np.full(200, 64**2), rel=0.02)


def test_the_hue_stays_near_its_own() -> None:
    """Hair and eye colour are most of who a character is: red must not become green."""
    pixels = np.full((64, 32, 32, 3), (200, 40, 40), np.uint8)
    change = Augmentation(grey=0.0, covered=0.0, noisy=0.0)
    result = as_pixels(augmented(pixels, 32, change, np.random.default_rng(3)))
    means = result.mean((1, 2))
    assert (means[:, 0] > means[:, 1]).all()
    assert (means[:, 0] > means[:, 2]).all()


def test_a_backdrop_spares_the_figure() -> None:
    change = Augmentation(**{**vars_of(STILL), "backdrop": 1.0})
    picture = drawing()
    picture[32:, :] = (90, 120, 60)  # less than half of it is ground
    result = as_pixels(augmented(picture[None], 64, change, np.random.default_rng(4)))[0]
    kept = picture[:, :, 1] < 200
    assert np.abs(result - picture.astype(int))[kept].max() <= 1
    assert np.abs(result - picture.astype(int))[~kept].max() > 20


def test_the_same_chance_gives_the_same_pictures() -> None:
    pixels = np.stack([drawing()] * 3)
    once = augmented(pixels, 48, Augmentation(), np.random.default_rng([1, 2]))
    again = augmented(pixels, 48, Augmentation(), np.random.default_rng([1, 2]))
    assert (once == again).all()


def test_light_makes_pictures_brighter_and_darker_and_turns_contrast_around_grey() -> None:
    change = Augmentation(**{**vars_of(STILL), "light": 0.2})
    for value, darkest, brightest in ((0, 0, 51), (128, 102, 153), (255, 204, 255)):
        pictures = np.full((2000, 1, 1, 3), value, np.uint8)
        changed = augmented(pictures, 1, change, np.random.default_rng(3))
        shown = as_pixels(changed)[:, 0, 0].mean(-1)
        assert shown.min() == pytest.approx(darkest, abs=2)
        assert shown.max() == pytest.approx(brightest, abs=2)


def test_a_colour_matrix_keeps_grey_in_the_middle_but_for_brightness() -> None:
    rng = np.random.default_rng(1)
    change = Augmentation(**{**vars_of(STILL), "light": 0.3, "hue": 9.0, "saturation": 0.4})
    for _ in range(20):
        matrix = colour_matrix(change, rng)
        moved = matrix[:, :3] @ np.full(3, 0.5, np.float32) + matrix[:, 3] - 0.5
        assert moved == pytest.approx(np.full(3, moved[0]), abs=1e-5)
        assert abs(moved[0]) <= 0.15 + 1e-6


@pytest.mark.parametrize("change", [Augmentation(), Augmentation(zoom=(0.65, 1.05), backdrop=0.2)])
def test_stronger_changes_go_at_least_as_far(change: Augmentation) -> None:
    found = stronger(change)
    assert found.zoom[0] <= change.zoom[0]
    assert found.zoom[1] >= change.zoom[1]
    assert found.backdrop == change.backdrop
    for name in ("shift", "turn", "stretch", "light", "palette", "saturation", "hue", "covered"):
        assert getattr(found, name) == getattr(STRONG, name) > getattr(change, name)
