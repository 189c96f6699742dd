"""Files and folders that are there whole or not at all."""

import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final

_FULL: Final = 2**20
"""Bytes free on a disk that is as good as full."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` once it is whole and on disk.

    Where the block fails, `path` stays as it was. Whoever may read other new files may read it,
    also where it was written for its owner alone, as safetensors writes.

    Raises:
        OSError: It cannot be written or put in its place; with the name of `path`, also where a
            library says in words of its own that the disk is full.
    """
    # Of several that write the same file at once, each has its own, and the last one stays.
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        if error.filename is None or os.fspath(error.filename) == str(partial):
            error.filename = str(path)
        raise
    except Exception as error:
        if shutil.disk_usage(path.parent).free > _FULL:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    finally:
        with suppress(OSError):  # where it could not be made, it cannot be removed either
            partial.unlink(missing_ok=True)


def remove_left_over(folder: Path, names: str) -> None:
    """Remove what processes that were killed within `replacing` left in a folder.

    Args:
        folder: It may be missing.
        names: A pattern of the files that they were writing, such as ``*.safetensors``; nobody may
            be writing one of these now.
    """
    for partial in folder.glob(f".{names}.{'[0-9a-f]' * 8}.partial"):
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8, so that a reader never finds half of it."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def partial_folder(place: Path) -> Iterator[Path]:
    """An empty folder beside `place`, to write in what is moved there once it is whole.

    It is gone at the end, with all that was not moved out of it. What a killed process left is
    gone at the next beginning.

    Args:
        place: What is written; it may be missing, and so may the folders above it.

    Raises:
        BlockingIOError: Another process is writing it.
        OSError: Nothing can be written beside it.
    """
    partial = place.with_name(f".{place.name}.partial")
    partial.parent.mkdir(parents=True, exist_ok=True)
    with _held(partial.with_name(f"{partial.name}.lock"), place):
        shutil.rmtree(partial, ignore_errors=True)
        try:
            partial.mkdir()
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def alone(place: Path) -> Iterator[None]:
    """Keep every other process that asks for the same from writing `place` meanwhile.

    Raises:
        BlockingIOError: Another one is at it.
        OSError: Nothing can be written beside `place`.
    """
    place = place.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    with _held(place.with_name(f".{place.name}.lock"), place):
        yield


@contextmanager
def _held(lock: Path, place: Path) -> Iterator[None]:
    """Hold the one right to write `place`; a killed process loses it by itself."""
    while True:
        with lock.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise BlockingIOError(
                    error.errno, "another command is writing this at the moment", str(place)
                ) from error
            if not _is_still(file, lock):
                continue  # whoever held it removed it between the two lines above
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_still(file: IO[str], path: Path) -> bool:
    """Whether an open file is the one that lies there."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
