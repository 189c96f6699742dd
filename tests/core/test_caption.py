"""Given an answer, what a person reads below the collage."""

from __future__ import annotations

import numpy as np
import pytest

from core.caption import caption, name, percent
from core.face import Face
from core.look import Look
from core.picture import Picture
from core.search import Answer, Match, Row
from worker.delivery.discord import CONTENT_CHARACTERS
from worker.delivery.telegram import CAPTION_UNITS

PICTURE = Picture(np.zeros((48, 64, 3), np.uint8), "0" * 64)
FACE = Face((10.0, 10.0, 30.0, 30.0), 0.9)


def matches(*names: str | None) -> tuple[Match, ...]:
    return tuple(
        Match(f"{it or 'flat'}/{place}.png", it, 0.9 - 0.1 * place, None)
        for place, it in enumerate(names)
    )


def answer(*rows: Row, face_count: int = 1, look: Look = Look.BOTH) -> Answer:
    return Answer(PICTURE, look, face_count, rows)


def test_names_are_numbered_with_their_similarity() -> None:
    told = caption(answer(Row(FACE, matches("Rem", "Ram"))))
    assert told == "1. Rem · 90%\n2. Ram · 80%"


def test_numbers_run_on_over_the_faces() -> None:
    rows = (Row(FACE, matches("Rem", "Ram")), Row(FACE, matches("Emilia")))
    assert caption(answer(*rows, face_count=2)).split("\n") == [
        "Face 1",
        "1. Rem · 90%",
        "2. Ram · 80%",
        "Face 2",
        "3. Emilia · 90%",
    ]


def test_more_faces_than_rows_are_owned_up_to() -> None:
    rows = (Row(FACE, matches("a")),) * 3
    assert caption(answer(*rows, face_count=8)).startswith("8 faces found; the 3 largest")


def test_no_face_is_said_where_faces_were_asked_for() -> None:
    row = Row(None, matches("Rem"))
    for look in (Look.BOTH, Look.CHARACTER):
        first, second = caption(answer(row, face_count=0, look=look)).split("\n")
        assert "No face found" in first
        assert second == "1. Rem · 90%"
    assert caption(answer(row, face_count=0, look=Look.FEEL)) == "1. Rem · 90%"


def judged(*same: bool | None) -> tuple[Match, ...]:
    return tuple(
        Match(f"Rem/{place}.png", "Rem", 0.9, None, verdict) for place, verdict in enumerate(same)
    )


UNKNOWN = "Nobody here is surely the same character:"


def test_a_stranger_is_not_named_with_confidence() -> None:
    told = caption(answer(Row(FACE, judged(False, False))))
    assert told == f"{UNKNOWN}\n1. Rem · 90%\n2. Rem · 90%"


@pytest.mark.parametrize("same", [(True, False), (False, True), (None, None)])
def test_who_is_surely_the_same_or_never_judged_is_named_as_ever(
    same: tuple[bool | None, ...],
) -> None:
    assert UNKNOWN not in caption(answer(Row(FACE, judged(*same))))


def test_a_stranger_among_several_faces_is_told_beside_its_number() -> None:
    rows = (Row(FACE, judged(True)), Row(FACE, judged(False)))
    assert caption(answer(*rows, face_count=2)).split("\n") == [
        "Face 1",
        "1. Rem · 90%",
        "Face 2",
        UNKNOWN,
        "2. Rem · 90%",
    ]


def test_several_strangers_are_told_once() -> None:
    rows = (Row(FACE, judged(False)), Row(FACE, judged(False)))
    assert caption(answer(*rows, face_count=2)).split("\n")[:2] == [UNKNOWN, "Face 1"]


def test_an_answer_without_matches_says_so() -> None:
    assert "nothing in the gallery" in caption(answer(Row(FACE, ())))


def test_a_flat_gallery_names_files() -> None:
    assert name(Match("sub folder.png", None, 0.5, None)) == "sub folder"


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        ("初音ミク", "初音ミク"),
        ("می‌نا", "می‌نا"),  # joiners belong to the spelling
        ("two\nlines\tand  more", "two lines and more"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u061cgnp.exe", "gnp.exe"),
        ("\n", "?"),
        ("\u200b", "?"),  # a space of no width
        ("\u2060\u200b \ufeff", "?"),
        ("\u200b" * 70, "?"),
        ("\u200bRem", "\u200bRem"),
        ("x" * 61, "x" * 59 + "…"),
    ],
)
def test_names_keep_their_script_and_lose_what_breaks_a_line(folder: str, shown: str) -> None:
    assert name(Match("a.png", folder, 0.5, None)) == shown


@pytest.mark.parametrize(
    ("similarity", "shown"), [(-0.3, 0), (0.0, 0), (0.126, 13), (1.0, 100), (1.0000001, 100)]
)
def test_a_cosine_is_read_as_per_cent(similarity: float, shown: int) -> None:
    assert percent(similarity) == shown


@pytest.mark.parametrize("limit", [CAPTION_UNITS, CONTENT_CHARACTERS, 60])
@pytest.mark.parametrize("letter", ["x", "字", "🦊"])
def test_a_caption_never_passes_the_limit_and_says_what_it_left_out(
    limit: int, letter: str
) -> None:
    row = Row(FACE, matches(*[letter * 70] * 9))
    told = caption(answer(row, row, row, face_count=3), limit=limit)
    assert len(told.encode("utf-16-le")) // 2 <= limit
    shown = sum(letter in line for line in told.split("\n"))
    if shown < 27:
        assert told.split("\n")[-1] == f"… and {27 - shown} more"


def test_all_that_fits_is_told() -> None:
    row = Row(FACE, matches(*["Rem"] * 9))
    assert len(caption(answer(row, row, row, face_count=3)).split("\n")) == 30
