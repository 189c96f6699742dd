"""A training of the extractor's network that takes seconds, and pictures for it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from core.models.backbones import NetworkShape
from core.train.augment import Augmentation
from core.train.extractor_options import ExtractorTraining

TINY = ExtractorTraining(
    shape=NetworkShape((8, 16), (1, 1), 8, colour_channels=4, colour_cells=2),
    sides=((0.6, 24), (1.0, 32)),
    stored_side=32,
    epochs=3,
    identities=4,
    pictures=2,
    unlabelled_in_batch=2,
    memory=32,
    held_out=2,
    seed=11,
    bfloat16=False,
)


STILL = Augmentation(
    zoom=(1.0, 1.0),
    shift=0,
    mirror=0,
    turn=0,
    stretch=0,
    light=0,
    palette=0,
    saturation=0,
    hue=0,
    grey=0,
    soft=0,
    compressed=0,
    noisy=0,
    covered=0,
    backdrop=0,
)
"""No change at all."""


def draw_folder(
    folder: Path, characters: int = 8, pictures: int = 6, name: str = "c", seed: int = 5
) -> Path:
    rng = np.random.default_rng(seed)
    for character in range(characters):
        hair = rng.integers(0, 256, 3)
        for number in range(pictures):
            pixels = rng.integers(120, 255, (40, 36, 3)).astype(np.uint8)
            x, y = rng.integers(14, 22, 2)
            cv2.circle(pixels, (int(x), int(y)), 12, hair.tolist(), -1)
            path = folder / f"{name}{character}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(path), pixels)
    return folder


def same_weights(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def saved_again(pictures: Path, to: Path, name: str) -> None:
    """Put the pictures of a folder into another, half as large again and as JPEG."""
    for path in pictures.iterdir():
        with Image.open(path) as picture:
            picture.resize((54, 60)).save(to / f"{name}-{path.stem}.jpg", quality=92)
