"""Every sentence that a person reads, one TOML file a language."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

FALLBACK = "en"


@cache
def _table(language: str) -> dict[str, str]:
    text = files(__name__).joinpath(f"{language}.toml").read_text(encoding="utf-8")
    return {key: str(value) for key, value in tomllib.loads(text).items()}


@cache
def languages() -> frozenset[str]:
    """The languages there are texts in, as ISO 639-1 codes."""
    return frozenset(
        entry.name.removesuffix(".toml")
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".toml")
    )


def closest_language(tag: str | None) -> str:
    """The language to answer in, for a platform's tag such as ``de``, ``pt-BR`` or None."""
    primary = (tag or FALLBACK).replace("_", "-").split("-")[0].lower()
    return primary if primary in languages() else FALLBACK


def say(key: str, language: str = FALLBACK, /, **values: object) -> str:
    """The sentence `key` in `language`, its ``{placeholders}`` filled from `values`.

    Raises:
        KeyError: There is no such sentence, or one of its placeholders has no value.
    """
    table = _table(closest_language(language))
    return (table.get(key) or _table(FALLBACK)[key]).format(**values)
