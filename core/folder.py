"""A folder of pictures: which files count, and reading them ahead of the models."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeVar

from core.picture import FORMATS, OTHER_SUFFIXES, OWN_LIMITS, SUFFIXES, UnreadablePicture
from core.problem import Problem
from core.texts import FALLBACK, say

READERS: Final = max(2, min(4, os.cpu_count() or 2))
"""Threads that read and decode. Decoding is a small part of the work, so few keep up."""

_AHEAD: Final = 48
_PIXELS_AHEAD: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A file that is named like a picture. The state is from before it is read, so that a file
    which changes meanwhile looks changed the next time.

    Attributes:
        path: Within its folder, ``/``-separated.
        location: Where to open it.
        size: In bytes.
        mtime_ns: When its content was written, in nanoseconds since the epoch.
        ctime_ns: When anything about it changed, which copying with preserved times cannot hide.
    """

    path: str
    location: Path
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def character(self) -> str | None:
        """The first folder on its path; None where it lies in no folder."""
        first, _, rest = self.path.partition("/")
        return first if rest else None


@dataclass(frozen=True, slots=True)
class Folder:
    """What a folder holds.

    Attributes:
        pictures: Sorted by path.
        unreadable: Paths of folders and files that cannot be opened or named, of pictures of
            kinds that are not read, and of links that lead out of the folder, and why.
    """

    pictures: tuple[PictureFile, ...]
    unreadable: tuple[tuple[str, Problem], ...]


def scan(root: Path) -> Folder:
    """Find the pictures below `root`, by name and at any depth.

    Left out are files that are not named like a picture, hidden files and folders, whatever is no
    regular file, links to folders inside of `root` (what they lead to is found where it lies), and
    links that lead out of it, which are named.

    Raises:
        Problem: `root` is not a folder, or cannot be listed.
    """
    if not os.path.isdir(root):  # `Path.is_dir` raises where a folder above may not be entered
        raise Problem("folder_missing", path=root)
    resolved = root.resolve()
    pictures: list[PictureFile] = []
    unreadable: list[tuple[str, Problem]] = []
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(resolved / prefix) as entries:
                listed = list(entries)
        except OSError as error:
            if not prefix:
                raise Problem("folder_missing", path=root) from error
            path = printable(prefix.rstrip("/"))
            unreadable.append((path, UnreadablePicture("picture_file_unreadable", name=path)))
            continue
        for entry in listed:
            if entry.name.startswith("."):
                continue
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append(path + "/")
            elif _suffix(entry.name) in SUFFIXES | OTHER_SUFFIXES or _is_linked_folder(entry):
                _add_file(resolved, path, pictures, unreadable)
    return Folder(
        tuple(sorted(pictures, key=lambda file: file.path)),
        tuple(sorted(unreadable, key=lambda item: item[0])),
    )


def reason(problem: Problem, language: str = FALLBACK) -> str:
    """Why a file cannot be used, in the few words that fit beside its name in a list."""
    return say(f"gallery_{problem.key}", language, **problem.values)


def _is_linked_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and os.path.isdir(entry.path)


def printable(path: str) -> str:
    """A path as it can be written down: what is not UTF-8 in it as numbers, such as ``\\xff``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _suffix(name: str) -> str:
    return Path(name).suffix.lower()


def _add_file(
    root: Path,
    path: str,
    pictures: list[PictureFile],
    unreadable: list[tuple[str, Problem]],
) -> None:
    location = root / path
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        unreadable.append((printable(path), UnreadablePicture("picture_name_not_utf8")))
        return
    try:
        leads_to = Path(os.path.realpath(location))  # `Path.resolve` raises where links go round
        if location.is_symlink() and not leads_to.is_relative_to(root):
            unreadable.append((path, UnreadablePicture("picture_link_outside")))
            return
        status = location.stat()
    except OSError:
        problem = UnreadablePicture("picture_file_unreadable", name=location.name)
        unreadable.append((path, problem))
        return
    if not stat.S_ISREG(status.st_mode):
        return
    if _suffix(path) in OTHER_SUFFIXES:
        problem = UnreadablePicture("picture_wrong_type", formats=", ".join(FORMATS))
        unreadable.append((path, problem))
        return
    pictures.append(
        PictureFile(path, location, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    )


class HoldsPixels(Protocol):
    """What `read_ahead` has to know of a result to bound the memory of those not yet taken."""

    @property
    def pixel_count(self) -> int:
        """Pixels held; 0 where none."""
        ...


_Result = TypeVar("_Result", bound=HoldsPixels)


def read_ahead(
    files: Iterable[PictureFile], read: Callable[[PictureFile], _Result]
) -> Iterator[_Result]:
    """Call `read` on every file in threads, a few files ahead of the taker, and keep the order.

    What waits to be taken is bounded in number and in pixels: a gallery of 50-megapixel scans
    must not fill the memory.
    """
    remaining = iter(files)
    waiting: deque[tuple[PictureFile, Future[_Result]]] = deque()
    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        try:
            while True:
                while len(waiting) < _AHEAD and _room_for_more(waiting):
                    file = next(remaining, None)
                    if file is None:
                        break
                    waiting.append((file, pool.submit(read, file)))
                if not waiting:
                    return
                yield waiting.popleft()[1].result()
        finally:
            for _, future in waiting:
                future.cancel()


def in_batches(results: Iterable[_Result], size: int) -> Iterator[list[_Result]]:
    """Lists of `size` results; shorter ones where the pictures are so large that they would not
    fit into memory together."""
    batch: list[_Result] = []
    pixels = 0
    for result in results:
        batch.append(result)
        pixels += result.pixel_count
        if len(batch) == size or pixels >= _PIXELS_AHEAD:
            yield batch
            batch, pixels = [], 0
    if batch:
        yield batch


def _room_for_more(waiting: Iterable[tuple[PictureFile, Future[_Result]]]) -> bool:
    return sum(_pixels(file, future) for file, future in waiting) < _PIXELS_AHEAD


def _pixels(file: PictureFile, future: Future[_Result]) -> int:
    """What a result holds, or may come to hold: a compressed pixel seldom takes less than a bit."""
    if not future.done():
        return min(8 * file.size, OWN_LIMITS.pixels)
    return 0 if future.exception() else future.result().pixel_count
