"""Changes that a drawing may undergo and still show the same character.

Framing, turn, mirror, light, palette, blur, compression, things in front, loss of colour. The
hue moves only a little: hair and eyes are most of who a drawn character is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.face import Pixels


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far each change goes; probabilities are for each picture.

    Attributes:
        zoom: The seen square's side as a share of the stored one, smallest and largest.
        shift: Largest move of the centre, as a share of the side.
        mirror: Probability of a mirrored picture.
        turn: Standard deviation of the rotation in degrees.
        stretch: Largest change of the ratio of width to height.
        light: Largest relative change of brightness and of contrast.
        palette: Largest relative change of each colour channel.
        saturation: Largest relative change of the saturation.
        hue: Largest turn of the hue in degrees.
        grey: Probability of a picture without colour.
        soft: Probability of lost detail (shown small, or out of focus).
        compressed: Probability of strong JPEG compression.
        noisy: Probability of noise.
        covered: Probability of a rectangle over a part.
        backdrop: Probability that a near-white border region becomes another colour.
    """

    zoom: tuple[float, float] = (0.78, 1.1)
    shift: float = 0.06
    mirror: float = 0.5
    turn: float = 7.0
    stretch: float = 0.1
    light: float = 0.18
    palette: float = 0.08
    saturation: float = 0.3
    hue: float = 7.0
    grey: float = 0.02
    soft: float = 0.2
    compressed: float = 0.15
    noisy: float = 0.08
    covered: float = 0.2
    backdrop: float = 0.5


STRONG = Augmentation(
    zoom=(0.68, 1.15),
    shift=0.09,
    turn=9.0,
    stretch=0.14,
    light=0.25,
    palette=0.12,
    saturation=0.4,
    hue=9.0,
    grey=0.05,
    soft=0.3,
    compressed=0.2,
    noisy=0.1,
    covered=0.4,
)
"""Every change larger or more frequent than by default: a network learns its characters less by
heart, and needs longer."""


VIEWS = replace(
    STRONG,
    zoom=(0.45, 1.1),
    shift=0.12,
    turn=12.0,
    light=0.35,
    palette=0.2,
    saturation=0.6,
    hue=25.0,
    grey=0.15,
)
"""Changes that two views of one picture are told from others by; see `core.train.pretraining`."""


def stronger(change: Augmentation) -> Augmentation:
    """`STRONG`, with as many grounds as `change` fills, and its zooms at least."""
    (low, high), (lower, higher) = STRONG.zoom, change.zoom
    return replace(STRONG, zoom=(min(low, lower), max(high, higher)), backdrop=change.backdrop)


def _framed(pixels: Pixels, side: int, change: Augmentation, rng: np.random.Generator) -> Pixels:
    stored = pixels.shape[0]
    low, high = change.zoom
    zoom = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    ratio = float(np.exp(rng.uniform(-change.stretch, change.stretch) / 2))
    angle = np.deg2rad(np.clip(rng.normal(0, change.turn), -30, 30)) if change.turn else 0.0
    mirrored = -1.0 if rng.random() < change.mirror else 1.0
    centre = stored / 2 + rng.uniform(-change.shift, change.shift, 2) * stored
    scale = stored * zoom / side
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([scale * ratio * mirrored, scale / ratio])
    # From a pixel of the result to the stored picture, pixel centres at .5.
    offset = (
        centre - linear @ np.array([side / 2, side / 2]) + (linear @ np.array([0.5, 0.5])) - 0.5
    )
    matrix = np.concatenate([linear, offset[:, None]], 1)
    framed = cv2.warpAffine(
        pixels,
        matrix,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(framed, dtype=np.uint8)


def _with_backdrop(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Fill the near-white region that touches the upper corners with a colour or a gradient."""
    side = pixels.shape[0]
    seen = np.ascontiguousarray(pixels)
    mask = np.zeros((side + 2, side + 2), np.uint8)
    how = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 1 << 8
    for x, y in ((0, 0), (side - 1, 0)):
        if seen[y, x].min() >= 236 and not mask[y + 1, x + 1]:
            cv2.floodFill(seen, mask, (x, y), 0, (6, 6, 6), (6, 6, 6), how)
    region = mask[1:-1, 1:-1].astype(bool)
    # A region larger than that has run into light hair or skin.
    if not 0.01 <= region.mean() <= 0.5:
        return pixels
    first, second = rng.integers(0, 256, (2, 3))
    along = np.linspace(0, 1, side)[:, None, None]
    if rng.random() < 0.5:
        along = along.transpose(1, 0, 2)
    blend = np.broadcast_to(first * (1 - along) + second * along, pixels.shape)
    changed = pixels.copy()
    changed[region] = blend[region].astype(np.uint8)
    return changed


def _softened(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    side = pixels.shape[0]
    if rng.random() < 0.6:
        small = int(rng.integers(max(8, side // 3), max(9, side * 3 // 4)))
        less = cv2.resize(pixels, (small, small), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(less, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.5, 1.6))), np.uint8)


def _compressed(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    quality = int(rng.integers(15, 65))
    written, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(pixels[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not written:
        raise ValueError("OpenCV could not compress a picture.")
    again = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if again is None:
        raise ValueError("OpenCV could not read what it had compressed.")
    return np.asarray(again[:, :, ::-1], np.uint8)


def _covered(pixels: Pixels, rng: np.random.Generator) -> None:
    side = pixels.shape[0]
    height, width = (rng.uniform(0.15, 0.45, 2) * side).astype(int)
    top, left = int(rng.integers(0, side - height + 1)), int(rng.integers(0, side - width + 1))
    pixels[top : top + height, left : left + width] = rng.integers(0, 256, 3)


_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], np.float32
)
_FROM_YIQ = np.linalg.inv(_TO_YIQ).astype(np.float32)


def colour_matrix(change: Augmentation, rng: np.random.Generator) -> NDArray[np.float32]:
    """A ``(3, 4)`` map of RGB in 0..1: hue and saturation, channel gains, contrast, brightness."""
    saturation = 1 + rng.uniform(-change.saturation, change.saturation)
    angle = np.deg2rad(rng.uniform(-change.hue, change.hue))
    if rng.random() < change.grey:
        saturation = 0.0
    turn = np.eye(3, dtype=np.float32)
    turn[1:, 1:] = saturation * np.array(
        [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    gains = 1 + rng.uniform(-change.palette, change.palette, 3)
    contrast = 1 + rng.uniform(-change.light, change.light)
    brightness = rng.uniform(-change.light, change.light) / 2
    linear = contrast * (np.diag(gains) @ _FROM_YIQ @ turn @ _TO_YIQ)
    constant = np.full((3, 1), 0.5 - 0.5 * contrast + brightness)
    return np.concatenate([linear, constant], 1).astype(np.float32)


def augmented(
    pictures: Pixels, side: int, change: Augmentation, rng: np.random.Generator
) -> Tensor:
    """Changed pictures, ready for a network.

    Args:
        pictures: ``(n, stored, stored, 3)``.
        side: Of what the network sees.
        change: How far each change goes.
        rng: Where chance comes from.

    Returns:
        ``(n, 3, side, side)`` float32 in -1..1, channels last in memory.
    """
    frames = np.empty((len(pictures), side, side, 3), np.uint8)
    for row, pixels in enumerate(pictures):
        recoloured = change.backdrop and rng.random() < change.backdrop
        frame = _framed(_with_backdrop(pixels, rng) if recoloured else pixels, side, change, rng)
        if change.covered and rng.random() < change.covered:
            _covered(frame, rng)
        if change.soft and rng.random() < change.soft:
            frame = _softened(frame, rng)
        if change.compressed and rng.random() < change.compressed:
            frame = _compressed(frame, rng)
        frames[row] = frame
    values = torch.from_numpy(frames).float().div_(255)
    matrices = torch.from_numpy(np.stack([colour_matrix(change, rng) for _ in pictures]))
    values = torch.einsum("nhwc,ndc->nhwd", values, matrices[:, :, :3])
    values += matrices[:, None, None, :, 3]
    if change.noisy:
        strength = np.where(
            rng.random(len(pictures)) < change.noisy, rng.uniform(0.01, 0.06, len(pictures)), 0
        ).astype(np.float32)
        for row in np.flatnonzero(strength).tolist():
            grain = rng.standard_normal((side, side, 1), dtype=np.float32) * strength[row]
            values[row] += torch.from_numpy(grain)
    return values.clamp_(0, 1).mul_(2).sub_(1).permute(0, 3, 1, 2)
