"""What goes wrong and can be said to a person in one sentence."""

from __future__ import annotations

from typing import ClassVar

from core.texts import FALLBACK, say


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
        """The sentence in `language`."""
        return say(self.key, language, **self.values)

    def __str__(self) -> str:
        return self.sentence()
