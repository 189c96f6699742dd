"""Given words, which look and how many matches they ask for."""

from __future__ import annotations

import pytest

from core.look import Look, asked_for


@pytest.mark.parametrize(
    ("words", "look", "count"),
    [
        ((), Look.BOTH, 4),
        (("character", "6"), Look.CHARACTER, 6),
        (("6", "character"), Look.CHARACTER, 6),
        (("feel",), Look.FEEL, 4),
        (("both", "1"), Look.BOTH, 1),
        (("0" * 20 + "6",), Look.BOTH, 6),
        (("9", "please,", "my", "feel"), Look.FEEL, 9),
        # Numbers of other scripts, negative and broken ones are words.
        (("٣", "-2", "4.5", "²"), Look.BOTH, 4),
    ],
)
def test_look_and_count_in_any_order(words: tuple[str, ...], look: Look, count: int) -> None:
    assert asked_for(words) == (look, count, False)


@pytest.mark.parametrize("number", ["0", "10", "0000000012", "0" * 5000, "9" * 5000])
def test_a_number_that_is_no_count_is_passed_over_and_told(number: str) -> None:
    assert asked_for((number,)) == (Look.BOTH, 4, True)
    assert asked_for((number, "6")) == asked_for(("6", number)) == (Look.BOTH, 6, True)
