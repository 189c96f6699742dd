"""Who lives in the demo's gallery: ten invented characters and what they look like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from cli.demo.canvas import Colour, colour

Hair: TypeAlias = Literal[
    "twin tails", "spiky", "princess", "messy", "wavy", "bob", "buns", "ponytail", "straight"
]
Outfit: TypeAlias = Literal[
    "sailor", "hoodie", "kimono", "coat", "cloak", "cardigan", "striped", "jacket", "scarf", "fur"
]
Ornament: TypeAlias = Literal[
    "ribbons", "plaster", "flower", "earring", "circlet", "glasses", "cat ears", "hoops",
    "scar", "snowflake", "bell", "elf ears",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Character:
    """What stays the same in every picture of somebody.

    Attributes:
        name: Also the name of the folder.
        skin: Base tone.
        hair: Cut.
        hair_tone: Base tone.
        eyes: Tone of the iris.
        eye_height: 1 is as tall as wide; lower is a narrower, sharper eye.
        outfit: Clothes.
        cloth: Their tone.
        trim: The tone of collars, stripes and bows.
        ornaments: What else is worn.
    """

    name: str
    skin: Colour
    hair: Hair
    hair_tone: Colour
    eyes: Colour
    eye_height: float
    outfit: Outfit
    cloth: Colour
    trim: Colour
    ornaments: tuple[Ornament, ...] = ()


PALE: Final = colour("ffe9dc")
LIGHT: Final = colour("fcd9c0")
TAN: Final = colour("eab68c")
BROWN: Final = colour("b97850")
DEEP: Final = colour("8a5638")

CHARACTERS: Final = (
    Character("Akari", LIGHT, "twin tails", colour("f27ba6"), colour("3fae5c"), 1.05,
              "sailor", colour("f7f6fb"), colour("3b58a8"), ("ribbons",)),
    Character("Borin", TAN, "spiky", colour("f08a2c"), colour("a8541c"), 0.84,
              "hoodie", colour("4c9a5b"), colour("f4e6c2"), ("plaster",)),
    Character("Chiyo", PALE, "princess", colour("2e2a52"), colour("8a4fc4"), 0.95,
              "kimono", colour("b32743"), colour("f6d36b"), ("flower",)),
    Character("Dario", DEEP, "messy", colour("d5d9e6"), colour("3f8fe0"), 0.82,
              "coat", colour("2b2f45"), colour("c9a24a"), ("earring",)),
    Character("Elowen", PALE, "wavy", colour("f1d484"), colour("1f9c94"), 0.95,
              "cloak", colour("3d7a4a"), colour("d9c27a"), ("elf ears", "circlet")),
    Character("Fumi", LIGHT, "bob", colour("80502f"), colour("9a5a2a"), 1.0,
              "cardigan", colour("f0c24c"), colour("c23b3b"), ("glasses",)),
    Character("Kito", LIGHT, "bob", colour("33a9b4"), colour("e0ac1c"), 1.0,
              "striped", colour("f5f3ee"), colour("2f4260"), ("cat ears", "bell")),
    Character("Mirela", BROWN, "buns", colour("7c2136"), colour("c93f86"), 1.0,
              "jacket", colour("eef0f4"), colour("e0517c"), ("hoops",)),
    Character("Ryota", TAN, "ponytail", colour("2f4a86"), colour("7d8796"), 0.76,
              "scarf", colour("33323a"), colour("cf2f2f"), ("scar",)),
    Character("Yuki", PALE, "straight", colour("c3def2"), colour("4a7fd8"), 1.02,
              "fur", colour("5b6fb0"), colour("fbfcff"), ("snowflake",)),
)  # fmt: skip
