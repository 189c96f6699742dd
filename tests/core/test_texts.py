"""Every language says the same, with the same names in it."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from core.texts import FALLBACK, _table, closest_language, languages, say

OTHERS = sorted(languages() - {FALLBACK})
NAMES = re.compile(
    r"`[^`]+`|(?<![\w/:`])/[a-z]+(?: (?:character|feel|both)(?: 6)?)?|[A-Z]{2,}_[A-Z_]+"
    r"|@BotFather|\.env\.example|Find similar|JPEG|PNG|WebP|GIF|BMP|redis{1,2}://"
)
"""What people type, click or look for, which is called the same in every language."""


def placeholders(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name is not None}


def test_there_are_several_languages() -> None:
    assert set(OTHERS) >= {"de", "es", "ja"}


@pytest.mark.parametrize("language", OTHERS)
class TestAgainstEnglish:
    def test_the_same_sentences(self, language: str) -> None:
        assert set(_table(language)) == set(_table(FALLBACK))

    def test_the_same_placeholders(self, language: str) -> None:
        for key, sentence in _table(FALLBACK).items():
            assert placeholders(_table(language)[key]) == placeholders(sentence), key

    def test_the_same_names_of_commands_settings_and_formats(self, language: str) -> None:
        for key, sentence in _table(FALLBACK).items():
            assert set(NAMES.findall(_table(language)[key])) == set(NAMES.findall(sentence)), key

    def test_every_sentence_is_translated(self, language: str) -> None:
        same = {key for key, text in _table(FALLBACK).items() if _table(language)[key] == text}
        # Nothing but placeholders.
        assert same <= {"caption_match"}

    def test_the_same_marks_at_the_ends(self, language: str) -> None:
        """A question stays one, and a sentence ends like one."""
        marks = {"。": ".", "？": "?", "：": ":", "…": "...", "！": "!"}
        for key, sentence in _table(FALLBACK).items():
            if sentence[-1] in ".:" and not sentence.endswith("..."):
                last = _table(language)[key][-1]
                assert marks.get(last, last) == sentence[-1], key


def test_a_sentence_in_the_language_of_a_platforms_tag() -> None:
    assert say("not_admin", "de-AT") == _table("de")["not_admin"]
    assert say("not_admin", "ja") == _table("ja")["not_admin"]
    assert say("not_admin", "tlh") == _table("en")["not_admin"]


@pytest.mark.parametrize(
    ("tag", "language"),
    [("de", "de"), ("es-ES", "es"), ("es_419", "es"), ("JA", "ja"), ("xx", "en"), (None, "en")],
)
def test_the_closest_language(tag: str | None, language: str) -> None:
    assert closest_language(tag) == language
