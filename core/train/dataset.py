"""Folders of pictures made ready for training: split without leaks, then balanced.

Both write copies of files and never links, so that what is done to one side cannot reach the
other, and both leave the folder that they read as it was.
"""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np
from numpy.typing import NDArray

from core.files import partial_folder
from core.folder import PictureFile, read_ahead, scan
from core.picture import OWN_LIMITS, UnreadablePicture, read
from core.problem import Problem, Refusal
from core.progress import Progress
from core.train.copies import NEAR, both_hashes, groups_of_duplicates

TRAIN: Final = "train"
VALIDATION: Final = "val"

WhyLeftOut = Callable[[str, Problem], None]
"""Called with the path of each file that cannot be read and so is left out, and why."""


class DatasetError(Refusal):
    """A folder cannot be cut, split or balanced; the message says why."""


class Unit(StrEnum):
    """What a split keeps together."""

    PICTURE = "picture"
    CHARACTER = "character"


@dataclass(frozen=True, slots=True)
class Split:
    """What a split made.

    Attributes:
        train: Paths of the pictures to train on, within their side.
        validation: Paths of those to measure on.
        duplicates: Pictures that have a duplicate.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    duplicates: int


def split_folder(
    folder: Path,
    out: Path,
    unit: Unit,
    *,
    validation: float = 0.2,
    near: int = NEAR,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    left_out: WhyLeftOut = lambda path, why: None,
) -> Split:
    """Copy a folder into ``out/train`` and ``out/val``, duplicates always on one side.

    Mirror images are duplicates, too: trainings mirror what they see.

    Args:
        folder: ``<character>/<picture>``; flat for a split by picture.
        out: The new folder.
        unit: By picture, every character gives its share to either side; by character, all
            pictures of a character are on one side, and two characters that share a duplicate
            stay together.
        validation: The share, of a character's pictures or of the characters, to measure on.
        near: Bits by which the difference hashes of duplicates differ at most.
        seed: The same seed gives the same split.
        progress: Called as the pictures are read.
        left_out: Told of each file that cannot be read, also where the folder is refused then.

    Raises:
        DatasetError: The folder is split already, has no characters where they are needed, or is
            too small for two sides; or `out` is taken or lies in the folder.
        Problem: `folder` is not a folder, or no picture in it can be read.
    """
    _refuse_split(folder)
    with new_folder(folder, out) as partial:
        readable = _readable(folder, progress, left_out)
        hashes, mirrored = zip(*(each.hashes for each in readable), strict=True)
        groups = groups_of_duplicates(hashes, mirrored, near)
        files = [each.file for each in readable]
        characters = [file.character for file in files]
        if unit is Unit.CHARACTER and None in characters:
            raise DatasetError(
                f"{folder} holds pictures outside of any folder; a split by character needs one"
                " folder for each."
            )
        held_out = _held_out(characters, groups, unit, validation, seed)
        if held_out.all() or not held_out.any():
            raise DatasetError(
                f"{folder} is too small to be split by {unit.value} with a share of"
                f" {validation:g}; duplicates are kept together."
            )
        sides: dict[bool, list[str]] = {False: [], True: []}
        for file, out_of_training in zip(files, held_out, strict=True):
            sides[bool(out_of_training)].append(file.path)
            side = VALIDATION if out_of_training else TRAIN
            _copy(file.location, partial / side / file.path)
    in_group = Counter(groups.tolist())
    return Split(
        tuple(sides[False]),
        tuple(sides[True]),
        sum(count for count in in_group.values() if count > 1),
    )


@dataclass(frozen=True, slots=True)
class _Hashed:
    """A file's difference hash and that of its mirror image, or why it has none."""

    file: PictureFile
    hashes: tuple[int, int] = (0, 0)
    problem: Problem | None = None

    @property
    def pixel_count(self) -> int:
        return 0  # the pixels are let go of where they were read


def _hashed(file: PictureFile) -> _Hashed:
    try:
        return _Hashed(file, both_hashes(read(file.location, OWN_LIMITS).pixels))
    except UnreadablePicture as problem:
        return _Hashed(file, problem=problem)


def _readable(folder: Path, progress: Progress, left_out: WhyLeftOut) -> list[_Hashed]:
    """The pictures of a folder that can be decoded; `left_out` is told of each file that cannot.

    Raises:
        Problem: `folder` is not a folder, or no picture in it can be decoded.
    """
    found = scan(folder)
    readable: list[_Hashed] = []
    for path, why in found.unreadable:
        left_out(path, why)
    total = len(found.pictures) + len(found.unreadable)
    for done, hashed in enumerate(read_ahead(found.pictures, _hashed), len(found.unreadable) + 1):
        if hashed.problem is not None:
            left_out(hashed.file.path, hashed.problem)
        else:
            readable.append(hashed)
        progress(done, total)
    if not readable:
        raise Problem("folder_without_pictures", path=folder)
    return readable


def _held_out(
    characters: Sequence[str | None],
    groups: NDArray[np.int64],
    unit: Unit,
    validation: float,
    seed: int,
) -> NDArray[np.bool_]:
    """Which files are measured on: whole groups, as many as there is room for."""
    if unit is Unit.CHARACTER:
        groups = _joined_by_character(groups, characters)
    members: dict[int, list[int]] = defaultdict(list)
    for place, group in enumerate(groups.tolist()):
        members[group].append(place)

    def weight(group: int) -> Counter[str | None]:
        """How much of each character a group takes away from training."""
        held = Counter(characters[place] for place in members[group])
        return Counter({None: len(held)}) if unit is Unit.CHARACTER else held

    totals: Counter[str | None] = Counter()
    for group in members:
        totals.update(weight(group))
    room = {character: round(count * validation) for character, count in totals.items()}
    held_out = np.zeros(len(characters), bool)
    for group in np.random.default_rng(seed).permutation(sorted(members)).tolist():
        wanted = weight(group)
        if all(room[character] >= count for character, count in wanted.items()):
            for character, count in wanted.items():
                room[character] -= count
            held_out[members[group]] = True
    return held_out


def _joined_by_character(
    groups: NDArray[np.int64], characters: Sequence[str | None]
) -> NDArray[np.int64]:
    """Groups that hold all pictures of their characters."""
    while True:
        of_character: dict[str | None, int] = {}
        for group, character in zip(groups.tolist(), characters, strict=True):
            of_character[character] = min(of_character.get(character, group), group)
        lowered = np.array([of_character[character] for character in characters], np.int64)
        of_group: dict[int, int] = {}
        for group, low in zip(groups.tolist(), lowered.tolist(), strict=True):
            of_group[group] = min(of_group.get(group, low), low)
        joined = np.array([of_group[group] for group in groups.tolist()], np.int64)
        joined = np.minimum(joined, lowered)
        if np.array_equal(joined, groups):
            return groups
        groups = joined


@dataclass(frozen=True, slots=True)
class Balance:
    """What balancing made.

    Attributes:
        characters: How many.
        copies: Files that are copies of a picture beside them.
        left_out: Pictures of characters that had more than enough.
    """

    characters: int
    copies: int
    left_out: int


def balance_folder(
    folder: Path,
    out: Path,
    per_character: int,
    *,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
    left_out: WhyLeftOut = lambda path, why: None,
) -> Balance:
    """Copy a folder so that every character has the same number of pictures.

    Of a character with more, some are drawn by chance; of one with fewer, all are taken, and
    copies of them, called ``<name>_copy<n>``, until there are enough.

    Args:
        folder: ``<character>/<picture>``: the side to train on, after the split.
        out: The new folder.
        per_character: Files of each.
        seed: The same seed gives the same choice.
        progress: Called as the pictures are read.
        left_out: Told of each file that cannot be read, also where the folder is refused then.

    Raises:
        DatasetError: The folder holds both sides of a split, so that what is balanced would be
            measured on; or it has no characters; or `out` is taken or lies in the folder.
        Problem: `folder` is not a folder, or no picture in it can be read.
    """
    _refuse_split(folder)
    by_character: dict[str, list[PictureFile]] = defaultdict(list)
    random = np.random.default_rng(seed)
    copies = surplus = 0
    with new_folder(folder, out) as partial:
        readable = _readable(folder, progress, left_out)
        for file in (each.file for each in readable):
            if file.character is None:
                raise DatasetError(
                    f"{folder} holds pictures outside of any folder; there has to be one folder"
                    " for each character."
                )
            by_character[file.character].append(file)
        for _, files in sorted(by_character.items()):
            order = [files[place] for place in random.permutation(len(files))]
            surplus += max(0, len(files) - per_character)
            taken = {file.path for file in files}
            for number in range(per_character):
                file = order[number % len(order)]
                path = file.path
                if number >= len(order):
                    path = _name_of_copy(path, number // len(order), taken)
                    copies += 1
                _copy(file.location, partial / path)
    return Balance(len(by_character), copies, surplus)


def _name_of_copy(path: str, number: int, taken: set[str]) -> str:
    while True:
        whole = PurePosixPath(path)
        name = str(whole.with_name(f"{whole.stem}_copy{number}{whole.suffix}"))
        if name not in taken:
            taken.add(name)
            return name
        number += 1


def _refuse_split(folder: Path) -> None:
    if all((folder / side).is_dir() for side in (TRAIN, VALIDATION)):
        raise _both_sides(folder, TRAIN)


def refuse_sides(folder: Path, side: str) -> None:
    """Refuse a split where characters are expected, which its two sides would be taken for.

    Only where it is certain to be one: there are no other folders, and there are folders in both.

    Args:
        folder: It may be missing.
        side: The one to name instead, `TRAIN` or `VALIDATION`.

    Raises:
        DatasetError: `folder` is a split.
    """
    sides = _folders_in(folder)
    if {each.name for each in sides} == {TRAIN, VALIDATION} and all(map(_folders_in, sides)):
        raise _both_sides(folder, side)


def _folders_in(folder: Path) -> list[Path]:
    """Those that `core.folder.scan` looks into; none where it cannot."""
    try:
        entries = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    return [path for path in entries if path.is_dir() and not path.is_symlink()]


def _both_sides(folder: Path, side: str) -> DatasetError:
    return DatasetError(
        f"{folder} holds both sides of a split, {TRAIN} and {VALIDATION}; name {folder / side}."
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def refuse_inside(folder: Path, out: Path) -> None:
    """Refuse to write into a folder that is only read.

    Raises:
        DatasetError: `out` is `folder` or lies in it.
    """
    if out.resolve().is_relative_to(folder.resolve()):
        raise DatasetError(f"{out} lies in {folder}, which is only read; name another folder.")


def _refuse_filled(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DatasetError(f"{out} is there already; name a new folder.")


@contextmanager
def new_folder(folder: Path, out: Path) -> Iterator[Path]:
    """A folder that becomes `out` once it is whole, and never where it is not.

    Into an empty folder that is there already, each thing in it is moved.

    Raises:
        DatasetError: `out` is there and not empty, perhaps only since the work began, or lies in
            `folder`, which is only read.
        BlockingIOError: Another process is writing `out`.
    """
    refuse_inside(folder, out)
    place = out.resolve()
    with partial_folder(place) as partial:
        _refuse_filled(out)
        yield partial
        _refuse_filled(out)
        if not place.exists():
            partial.rename(place)
            return
        # An empty folder stays the one that it is: somebody may be in it.
        for whole in partial.iterdir():
            shutil.move(whole, place)
