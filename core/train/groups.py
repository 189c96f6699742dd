"""Heads that nobody named, sorted by whom they seem to show: further identities to train on.

An extractor that is trained already knows most characters of a series apart. Pictures that it is
sure of are then learned as identities of their own (Yang et al. 2019, "Learning to Cluster Faces on
an Affinity Graph", arXiv:1904.02749, has what that gains); the rest is left out.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.face import Pixels, Vectors
from core.folder import scan
from core.models import Extractor
from core.picture import UnreadablePicture, read
from core.problem import Problem
from core.train.dataset import DatasetError

LIKE = 0.8
"""Mean cosine of two groups from which they are taken for one, as a share of the cosine from which
the extractor says that two faces surely show one character."""

APART = 0.8
"""Below this share of that mean cosine two groups are taken for two characters."""

SMALLEST = 6
"""Pictures of a group that is worth learning from."""

_BATCH = 64
_NEVER = -9.0


@dataclass(frozen=True, slots=True)
class GroupsWritten:
    """What came of a folder.

    Attributes:
        pictures: How many were looked at.
        groups: How many were found.
        grouped: Pictures in them.
        unreadable: Paths of the pictures that could not be read, and why.
    """

    pictures: int
    groups: int
    grouped: int
    unreadable: tuple[tuple[str, Problem], ...]


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
    members = [[row] for row in range(count)]
    while True:
        one, other = divmod(int(alike.argmax()), count)
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
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GroupsWritten:
    """Copy heads into ``<out>/<series>_<n>/``, one folder for each character they seem to show.

    Args:
        folder: ``<series>/<head>``; groups are sought within each series.
        out: The new folder.
        extractor: Compares faces; each picture is taken for a face crop.
        like: See `groups_of`; None: as the extractor's own threshold has it.
        smallest: See `groups_of`.
        progress: Called after each picture with how many are done, and of how many.

    Raises:
        DatasetError: `out` is there already, no group was found, or there is no threshold.
        Problem: `folder` is not a folder, or cannot be listed.
    """
    if out.exists():
        raise DatasetError(f"{out} is there already; name a new folder.")
    if like is None:
        if extractor.same_threshold is None:
            raise DatasetError(
                f"The extractor {extractor.name} has no threshold of its own; name the likeness of"
                " one character with --like."
            )
        like = LIKE * extractor.same_threshold
    found = scan(folder)
    unreadable = list(found.unreadable)
    squares: dict[str, list[Pixels]] = {}
    paths: dict[str, list[Path]] = {}
    for done, picture in enumerate(found.pictures, start=1):
        try:
            pixels = read(picture.location).pixels
        except UnreadablePicture as problem:
            unreadable.append((picture.path, problem))
            continue
        series = Path(picture.path).parts[0] if "/" in picture.path else folder.name
        squares.setdefault(series, []).append(extractor.prepare_face(pixels, None))
        paths.setdefault(series, []).append(picture.location)
        progress(done, len(found.pictures))
    groups = grouped = 0
    for series, seen in squares.items():
        rows = range(0, len(seen), _BATCH)
        parts = [extractor.embed_faces(np.stack(seen[at : at + _BATCH])) for at in rows]
        vectors = np.concatenate(parts)
        here = groups_of(vectors, like=like, apart=APART * like, smallest=smallest)
        for number, group in enumerate(here):
            target = out / f"{series}_{number}"
            target.mkdir(parents=True)
            for row in group.tolist():
                shutil.copyfile(paths[series][row], target / paths[series][row].name)
            groups += 1
            grouped += len(group)
    if not groups:
        raise DatasetError(f"No {smallest} pictures in {folder} seem to show one character.")
    return GroupsWritten(len(found.pictures), groups, grouped, tuple(unreadable))
