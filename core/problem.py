"""What goes wrong and can be said to a person in one sentence."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import ClassVar

from core.texts import FALLBACK, say


class Refusal(Exception):
    """What was given cannot be used; the message is a sentence that says why and what to do.

    It ends a command with that sentence, whoever raised it. What a chat is told is a `Problem`.
    """


class Problem(Exception):
    """Something a person can act on. Its sentence stands in `core.texts` under `key`.

    Attributes:
        key: Which sentence.
        values: What fills the sentence's placeholders.
        passing: It may be gone later without anybody doing anything, so trying again is of use.
    """

    passing: ClassVar[bool] = False

    def __init__(self, key: str, **values: object) -> None:
        super().__init__(key, values)
        self.key = key
        self.values = values

    def sentence(self, language: str = FALLBACK) -> str:
        """The sentence in `language`, for a chat: of a path it has the last part alone, because
        where a folder lies on the server is nothing for everybody there to read."""
        values = {name: _in_public(value) for name, value in self.values.items()}
        return say(self.key, language, **values)

    def __str__(self) -> str:
        """The sentence for the terminal and for the log, with whole paths."""
        return say(self.key, **{name: _named(value) for name, value in self.values.items()})


def _named(value: object) -> object:
    """A path that ends in a dot, and with it a sentence in two, by the name that its folder has."""
    if isinstance(value, PurePath) and value.name in {"", ".."}:
        return Path(value).resolve()
    return value


def _in_public(value: object) -> object:
    if isinstance(value, PurePath):
        return value.name or value
    if isinstance(value, OSError):
        # Its own text names the file.
        return value.strerror or type(value).__name__
    return value
