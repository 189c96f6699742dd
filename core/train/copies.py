"""Copies of a picture, scaled, re-encoded, mirrored or recoloured a bit: what must not be on both
sides of a measurement. Trainings mirror what they see, so that a mirror image is the same to them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from core.face import Pixels
from core.files import replacing
from core.folder import READERS, PictureFile, scan
from core.picture import OWN_LIMITS, UnreadablePicture, read

NEAR: Final = 4
"""Bits of 64 by which the difference hashes of near duplicates differ at most. Among 7,747 crops
of 95 characters, 343 pairs of one character are that near, and 10 of the 30 million others."""

ALIKE: Final = 8.0
"""By how much the colours of a copy differ at most, in the mean of 64 cells, of 255. Of 7 million
pairs of full pictures that had two sources, 13 are near by their hashes: the nine copies among them
differ by 0.6 to 6.1, the others, single figures on white, by 13 and more."""

SHARE_ALIKE: Final = 0.26
"""The same as a share of how much the cells of either picture vary. Nearly empty pictures, such as
line drawings on white and logos on black, are all alike: of 32 pairs of boxed and of full pictures
that are near and alike, the 20 copies differ by a quarter of that at most, the others by 0.27 and
more."""

_LEAST_ALIKE = 1.0
"""Of 255, what encoding anew changes even where nothing varies."""

_CELLS = 8
_AT_ONCE = 1_024


def difference_hash(pixels: Pixels) -> int:
    """64 bits that stay nearly the same when a picture is scaled, re-encoded or recoloured a bit.

    The picture is shrunk to 9 x 8 grey pixels; a bit says whether a pixel is darker than the one
    to its right (Krawetz 2013, "Kind of Like That", hackerfactor.com).
    """
    grey = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = np.packbits(small[:, :-1] < small[:, 1:])
    return int.from_bytes(bits.tobytes(), "big")


def both_hashes(pixels: Pixels) -> tuple[int, int]:
    """The difference hashes of a picture and of its mirror image."""
    return difference_hash(pixels), difference_hash(pixels[:, ::-1])


def groups_of_duplicates(
    hashes: Sequence[int], mirrored: Sequence[int], near: int = NEAR
) -> NDArray[np.int64]:
    """Number the groups of pictures that are duplicates of each other, by any chain.

    Args:
        hashes: Of each picture, 64 bits.
        mirrored: Of the mirror image of each.
        near: Bits by which two duplicates, or one and the other's mirror image, differ at most.

    Returns:
        ``(n,)``, the group of each picture, numbered in the order of their first pictures.
    """
    bits, turned = np.array(hashes, np.uint64), np.array(mirrored, np.uint64)
    leader = np.arange(len(bits))

    def first(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = int(leader[place])
        return place

    for place, (own, its_mirror) in enumerate(zip(bits[:-1], turned[:-1], strict=True)):
        others = bits[place + 1 :]
        differing = np.minimum(
            np.bitwise_count(others ^ own), np.bitwise_count(others ^ its_mirror)
        )
        for other in np.flatnonzero(differing <= near) + place + 1:
            one, two = sorted((first(place), first(int(other))))
            leader[two] = one
    return np.unique([first(place) for place in range(len(bits))], return_inverse=True)[1].astype(
        np.int64
    )


class Prints(NamedTuple):
    """What pictures are known again by.

    Attributes:
        hashes: ``(n,)``, see `difference_hash`.
        colours: ``(n, 192)``, means of 8 x 8 cells, 0..255.
        mirrored: ``(n,)``, the hashes of their mirror images.
    """

    hashes: NDArray[np.uint64]
    colours: NDArray[np.float32]
    mirrored: NDArray[np.uint64]


def prints_of(pictures: Iterable[Pixels]) -> Prints:
    """Of pictures, each ``(height, width, 3)``, of any size."""
    return _together(map(_print_of, pictures))


def prints_in(folder: Path, without: Collection[str] = ()) -> tuple[tuple[str, ...], Prints]:
    """Of a folder's pictures, with their paths within it; what cannot be trained on is passed over.

    Args:
        folder: Searched at any depth.
        without: Folders in it that are not searched.

    Raises:
        core.problem.Problem: `folder` is not a folder.
    """

    def look(file: PictureFile) -> tuple[str, _Print] | None:
        try:
            return file.path, _print_of(read(file.location, OWN_LIMITS).pixels)
        except UnreadablePicture:
            return None

    files = [file for file in scan(folder).pictures if file.character not in without]
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        found = [each for each in pool.map(look, files) if each is not None]
    return tuple(path for path, _ in found), _together(each for _, each in found)


def joined(prints: Sequence[Prints]) -> Prints:
    """Of all pictures of several, in order."""
    return Prints(*map(np.concatenate, zip(prints_of([]), *prints, strict=True)))


def write_prints(prints: Prints, path: Path) -> None:
    """Keep prints in a file, 208 bytes a picture."""
    kept = prints._replace(colours=prints.colours.astype(np.uint8))
    with replacing(path) as partial:
        save_file(kept._asdict(), partial)


def read_prints(path: Path) -> Prints:
    """What `write_prints` kept.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is damaged, or holds no prints.
    """
    try:
        kept = load_file(path)
        return Prints(kept["hashes"], kept["colours"].astype(np.float32), kept["mirrored"])
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"{path} holds no prints of pictures.") from error


_Print: TypeAlias = tuple[int, int, Pixels]


def _print_of(pixels: Pixels) -> _Print:
    cells = cv2.resize(pixels, (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return *both_hashes(pixels), np.asarray(cells, np.uint8)


def _together(prints: Iterable[_Print]) -> Prints:
    each = list(prints)
    colours = np.array([cells for _, _, cells in each], np.float32)
    return Prints(
        np.array([own for own, _, _ in each], np.uint64),
        colours.reshape(len(each), 3 * _CELLS * _CELLS),
        np.array([mirrored for _, mirrored, _ in each], np.uint64),
    )


def copied(pictures: Prints, known: Prints) -> NDArray[np.bool_]:
    """Which pictures have a copy among others, or are the mirror image of one: ``(n,)``."""
    found = np.zeros(len(pictures.hashes), bool)
    cells = pictures.colours.reshape(-1, _CELLS, _CELLS, 3)
    mirror_images = cells[:, :, ::-1].reshape(pictures.colours.shape)
    for hashes, colours in (
        (pictures.hashes, pictures.colours),
        (pictures.mirrored, mirror_images),
    ):
        for start in range(0, len(found), _AT_ONCE):
            asking = hashes[start : start + _AT_ONCE, None]
            rows, others = np.nonzero(np.bitwise_count(asking ^ known.hashes) <= NEAR)
            own, their = colours[start + rows], known.colours[others]
            most = SHARE_ALIKE * np.minimum(_variation(own), _variation(their))
            alike = np.abs(own - their).mean(1) <= np.clip(most, _LEAST_ALIKE, ALIKE)
            found[start + rows[alike]] = True
    return found


def copies_among(pictures: Pixels, known: Sequence[Prints]) -> int:
    """How many of ``(n, height, width, 3)`` have a copy in at least one of several sets."""
    asking = prints_of(pictures)
    return int(np.logical_or.reduce([copied(asking, each) for each in known]).sum())


def _variation(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    """By how much cells differ from the mean of all, ``(n,)``."""
    cells = colours.reshape(len(colours), _CELLS * _CELLS, 3)
    return np.asarray(np.abs(cells - cells.mean(1, keepdims=True)).mean((1, 2)), np.float32)
