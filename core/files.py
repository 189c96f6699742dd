"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` once it is whole and on disk.

    Where the block fails, `path` stays as it was. Whoever may read other new files may read it,
    also where it was written for its owner alone, as safetensors writes.

    Raises:
        OSError: It cannot be written or put in its place.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.touch()
        mode = partial.stat().st_mode
        yield partial
        partial.chmod(mode)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a file of UTF-8, so that a reader never finds half of it."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
