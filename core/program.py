"""What the program is called where it names itself, and which version of it runs."""

from __future__ import annotations

from importlib import metadata
from typing import Final

NAME: Final = "familiar-faces"


def version() -> str:
    """The installed version."""
    return metadata.version(NAME)
