"""The pictures that a command is asked about."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cli.terminal import Failure

if TYPE_CHECKING:
    from core.picture import Limits, Picture


def read_asked(path: Path, limits: Limits) -> Picture:
    """Decode a picture that was named on the command line.

    Raises:
        Failure: It is none that can be used; names it and says why.
        core.picture.UnreadablePicture: The file cannot be opened.
    """
    from core.folder import reason
    from core.picture import UnreadablePicture, read

    try:
        return read(path, limits)
    except UnreadablePicture as problem:
        if problem.key == "picture_file_unreadable":  # its own sentence names the file
            raise
        raise Failure(f"{path}: {reason(problem)}.") from problem
