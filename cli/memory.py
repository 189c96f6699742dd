"""What is said where there is not enough memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cli.terminal import Failure

_EXHAUSTED = ("out of memory", "DefaultCPUAllocator: can't allocate")


@contextmanager
def enough_memory(helps: str, *of_library: type[Exception]) -> Iterator[None]:
    """Say in a sentence that memory does not suffice.

    Args:
        helps: What is to be done, for the sentence.
        of_library: What is raised by a library that says so with a type of its own.

    Raises:
        Failure: It does not.
    """
    try:
        yield
    except Exception as error:
        # PyTorch's types for it differ by device and version, its texts hardly.
        of_torch = isinstance(error, RuntimeError) and any(
            text in str(error) for text in _EXHAUSTED
        )
        if not of_torch and not isinstance(error, (MemoryError, *of_library)):
            raise
        raise Failure(f"There is not enough memory; {helps}.") from error
