"""Colours of hair and eyes, as they are read off crops."""

from __future__ import annotations

import colorsys

import cv2
import numpy as np
import pytest

from core.train.attributes import COLOURS, estimated

SKIN = (255, 224, 200)
BLUE = (40, 60, 200)


def named(crop: np.ndarray) -> tuple[str, str]:
    hair, eyes = estimated(crop[None])[0]
    return COLOURS[hair], COLOURS[eyes]


def of_one_colour(*rgb: int) -> np.ndarray:
    return np.full((60, 60, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("degrees", "name"),
    [
        (0, "red"), (17, "red"), (19, "orange"), (41, "orange"), (43, "yellow"), (69, "yellow"),
        (71, "green"), (159, "green"), (161, "cyan"), (194, "cyan"), (196, "blue"), (254, "blue"),
        (256, "violet"), (294, "violet"), (296, "pink"), (344, "pink"), (346, "red"), (359, "red"),
    ],
)  # fmt: skip
def test_a_hue_has_the_name_that_people_give_it(degrees: float, name: str) -> None:
    rgb = colorsys.hsv_to_rgb(degrees / 360, 1.0, 1.0)
    assert named(of_one_colour(*(round(255 * value) for value in rgb))) == (name, name)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [((20, 20, 40), "black"), ((120, 118, 119), "grey"), ((230, 228, 229), "white"),
     ((110, 70, 30), "brown")],
)  # fmt: skip
def test_dark_and_pale_colours_have_names_of_their_own(
    rgb: tuple[int, int, int], name: str
) -> None:
    assert named(of_one_colour(*rgb)) == (name, name)


def test_skin_is_neither_hair_nor_eyes() -> None:
    """A high forehead under a little hair, and small eyes in a wide face."""
    face = of_one_colour(*SKIN)
    face[:16] = BLUE
    for x in (21, 39):
        cv2.circle(face, (x, 40), 2, (30, 160, 60), -1)
    assert named(face) == ("blue", "green")


def test_paper_is_neither_hair_nor_eyes() -> None:
    face = of_one_colour(255, 255, 255)
    face[:16] = BLUE
    for x in (21, 39):
        cv2.circle(face, (x, 40), 2, (30, 160, 60), -1)
    assert named(face) == ("blue", "green")


def test_where_there_is_nothing_else_hair_is_as_fair_as_skin() -> None:
    assert named(of_one_colour(*SKIN))[0] == "orange"
    assert named(of_one_colour(255, 255, 255)) == ("white", "white")
