"""An answer in words: the names to the numbers of the collage."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from pathlib import PurePosixPath
from typing import Final

from core.search import Answer, Match
from core.texts import FALLBACK, say

LONGEST: Final = 2000
"""Where no platform says less."""
_LONGEST_NAME: Final = 60
_BREAKING: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TURNING: Final = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
_UNSEEN: Final = frozenset({"Cf", "Zs"})


def utf16_length(text: str) -> int:
    """UTF-16 code units, which is what Telegram counts and never less than Discord does."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def caption(
    answer: Answer,
    language: str = FALLBACK,
    limit: int = LONGEST,
    length: Callable[[str], int] = utf16_length,
) -> str:
    """The numbered names with their similarity in per cent, one line each.

    Numbers run on over the rows, as in the collage. Whatever does not fit is left out at the end,
    and the last line says how many those are. Above matches of which none reaches the extractor's
    threshold stands that nobody is surely the same.

    Args:
        answer: What is told.
        language: An ISO 639-1 code.
        limit: The most that it may be long.
        length: How long a text is, on its way to where it is shown.
    """
    head: list[str] = []
    if answer.fell_back:
        head.append(say("caption_no_face", language))
    if answer.face_count > len(answer.rows) > 0 and not answer.fell_back:
        shown = len(answer.rows)
        head.append(say("caption_more_faces", language, count=answer.face_count, shown=shown))
    all_unknown = bool(answer.rows) and all(row.unknown for row in answer.rows)
    if all_unknown:
        head.append(say("caption_unknown", language))
    lines: list[tuple[str, bool]] = [(line, False) for line in head]
    number = 0
    for place, row in enumerate(answer.rows, start=1):
        if len(answer.rows) > 1 and row.matches:
            lines.append((say("caption_face", language, number=place), False))
        if row.unknown and not all_unknown:
            lines.append((say("caption_unknown", language), False))
        for match in row.matches:
            number += 1
            lines.append((_line(match, number, language), True))
    if not number:
        lines.append((say("caption_nothing_alike", language), False))
    return _fitting(lines, language, limit, length)


def name(match: Match) -> str:
    """What a match is called: its character, or its file where the gallery is flat.

    Whatever breaks a line or turns the direction of writing becomes a space. A name in which there
    is nothing to see is a question mark.
    """
    called = match.character or PurePosixPath(match.path).stem
    visible = "".join(
        " " if letter in _TURNING or unicodedata.category(letter) in _BREAKING else letter
        for letter in called
    )
    visible = re.sub(r"\s+", " ", visible).strip()
    if all(unicodedata.category(letter) in _UNSEEN for letter in visible):
        return "?"
    if len(visible) > _LONGEST_NAME:
        visible = visible[: _LONGEST_NAME - 1].rstrip() + "…"
    return visible


def percent(similarity: float) -> int:
    """A cosine as people read it: per cent of the greatest possible, never below 0."""
    return round(100 * min(1.0, max(0.0, similarity)))


def _line(match: Match, number: int, language: str) -> str:
    per_cent = percent(match.similarity)
    return say("caption_match", language, number=number, name=name(match), percent=per_cent)


def _fitting(
    lines: list[tuple[str, bool]], language: str, limit: int, length: Callable[[str], int]
) -> str:
    """Join lines, of which some are matches, dropping the last until they fit."""
    kept = len(lines)
    while kept >= 0:
        dropped = sum(is_match for _, is_match in lines[kept:])
        shown = [text for text, _ in lines[:kept]]
        if dropped:
            shown.append(say("caption_cut", language, count=dropped))
        text = "\n".join(shown)
        if length(text) <= limit:
            return text
        kept -= 1
    return ""
