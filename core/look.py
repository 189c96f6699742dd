"""What a question asks for: in which way similar, and how many."""

from __future__ import annotations

from collections.abc import Iterable
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

_LOOKS: Final = frozenset(look.value for look in Look)


def asked_for(words: Iterable[str]) -> tuple[Look, int, bool]:
    """A look and a count among words in lower case, in any order, such as ``character 6``; what
    else is said does not matter.

    Returns:
        The look, the count (1..9), and whether a number was none that a count may be, which is
        passed over.
    """
    look, count, out_of_range = Look.BOTH, DEFAULT_COUNT, False
    for word in words:
        if word in _LOOKS:
            look = Look(word)
        elif word.isascii() and word.isdigit():
            # Python does not read numbers of any length.
            number = int(word.lstrip("0")[:9] or "0")
            if 1 <= number <= MAX_COUNT:
                count = number
            else:
                out_of_range = True
    return look, count, out_of_range
