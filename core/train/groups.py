"""Heads that nobody named, sorted by whom they seem to show: further identities to train on.

An extractor that is trained already knows most characters of a series apart. Pictures that it is
sure of are then learned as identities of their own (Yang et al. 2019, "Learning to Cluster Faces on
an Affinity Graph", arXiv:1904.02749, has what that gains); the rest is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.embed import embed_folder
from core.face import Vectors
from core.models import Extractor
from core.progress import Progress
from core.train.dataset import TRAIN, DatasetError, new_folder, refuse_sides

LIKE = 0.8
"""Mean cosine of two groups from which they are taken for one, as a share of the cosine from which
the extractor says that two faces surely show one character."""

APART = 0.8
"""Below this share of that mean cosine two groups are taken for two characters."""

SMALLEST = 6
"""Pictures of a group that is worth learning from."""

_NEVER = -9.0


@dataclass(frozen=True, slots=True)
class GroupsWritten:
    """What came of a folder.

    Attributes:
        pictures: How many could be read.
        groups: How many were found.
        grouped: Pictures in them.
        unreadable: Path and reason of each file left out.
    """

    pictures: int
    groups: int
    grouped: int
    unreadable: tuple[tuple[str, str], ...]


def groups_of(
    vectors: Vectors, *, like: float, apart: float, smallest: int = SMALLEST
) -> list[NDArray[np.int64]]:
    """Rows that seem to show one character each, the largest group first.

    Groups are joined as long as the mean cosine of the nearest two reaches `like` (average
    linkage). Of two groups between which it is at least `apart` only the larger is kept: they may
    show one character, and would be learned as two.

    Args:
        vectors: ``(n, d)`` of unit length.
        like: -1..1.
        apart: -1..1.
        smallest: Smaller groups are left out.
    """
    count = len(vectors)
    if not count:
        return []
    alike = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(alike, _NEVER)
    # The nearest of each is kept, and sought again only where it was one of the two that are
    # joined: a mean is never above the greater of what it is a mean of.
    nearest = alike.argmax(1)
    members = [[row] for row in range(count)]
    while True:
        one = int(alike[np.arange(count), nearest].argmax())
        other = int(nearest[one])
        if alike[one, other] < like:
            break
        shares = np.array([len(members[one]), len(members[other])], np.float64)
        mean = shares @ alike[[one, other]] / shares.sum()
        mean[alike[one] == _NEVER] = _NEVER
        mean[other] = _NEVER
        alike[one], alike[:, one] = mean, mean
        alike[other], alike[:, other] = _NEVER, _NEVER
        members[one] += members[other]
        members[other] = []
        again = np.flatnonzero((nearest == one) | (nearest == other))
        again = np.union1d(again, [one, other])
        nearest[again] = alike[again].argmax(1)
    kept: list[int] = []
    for number in sorted(range(count), key=lambda each: -len(members[each])):
        large = len(members[number]) >= max(1, smallest)
        if large and all(alike[number, other] < apart for other in kept):
            kept.append(number)
    return [np.sort(np.array(members[number], np.int64)) for number in kept]


def write_groups(
    folder: Path,
    out: Path,
    extractor: Extractor,
    *,
    like: float | None = None,
    smallest: int = SMALLEST,
    without: Collection[str] = (),
    progress: Progress | None = None,
) -> GroupsWritten:
    """Copy heads into ``<out>/<series>_<n>/``, one folder for each character they seem to show.

    Args:
        folder: ``<series>/<head>``; groups are sought within each series.
        out: The new folder; missing or empty.
        extractor: Compares faces; each picture is taken for a face crop.
        like: See `groups_of`; None: as the extractor's own threshold has it.
        smallest: See `groups_of`.
        without: Series that are left out.
        progress: Called with the pictures done and the pictures in all.

    Raises:
        DatasetError: `folder` is a split, whose sides are no series; `out` is taken or lies in the
            folder, one of `without` is no series there, no group was found, there is no threshold,
            or two pictures of a group would get one name.
        Problem: The folder is missing, or no picture in it can be read.
    """
    refuse_sides(folder, TRAIN)
    if like is None:
        if extractor.same_threshold is None:
            raise DatasetError(
                f"The extractor {extractor.name} has no threshold of its own; name the likeness of"
                " one character with --like."
            )
        like = LIKE * extractor.same_threshold
    with new_folder(folder, out) as partial:
        seen = embed_folder(folder, None, extractor, progress)
        rows_of: dict[str, list[int]] = {}
        names = []
        for row, path in enumerate(seen.paths):
            first, _, rest = path.partition("/")
            series, name = (first, rest) if rest else (folder.resolve().name, first)
            rows_of.setdefault(series, []).append(row)
            names.append(name.replace("/", "_"))
        if unknown := sorted(set(without).difference(rows_of)):
            raise DatasetError(f"{folder} has no series {unknown[0]}, which is to be left out.")
        groups = [
            (series, number, [rows[place] for place in group])
            for series, rows in rows_of.items()
            if series not in without
            for number, group in enumerate(
                groups_of(seen.character[rows], like=like, apart=APART * like, smallest=smallest)
            )
        ]
        if not groups:
            raise DatasetError(f"No {smallest} pictures in {folder} seem to show one character.")
        for series, _, rows in groups:
            if len({names[row] for row in rows}) < len(rows):
                raise DatasetError(
                    f"Below {series} two pictures would get one name in one folder; rename one."
                )
        for series, number, rows in groups:
            target = partial / f"{series}_{number}"
            target.mkdir(parents=True)
            for row in rows:
                shutil.copyfile(folder / seen.paths[row], target / names[row])
    grouped = sum(len(rows) for _, _, rows in groups)
    return GroupsWritten(len(seen.paths), len(groups), grouped, seen.unreadable)
