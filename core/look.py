"""What a question asks for: in which way similar, and how many."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Look(StrEnum):
    """What *similar* means."""

    BOTH = "both"
    CHARACTER = "character"
    FEEL = "feel"


DEFAULT_COUNT: Final = 4
"""Matches for each face where the question names no number."""

MAX_COUNT: Final = 9
"""The most matches for each face."""
