"""The command list in the languages that there are texts in."""

from __future__ import annotations

import discord
from discord import app_commands
from discord.app_commands import locale_str

from core.texts import FALLBACK, closest_language, say


def text(key: str) -> locale_str:
    """The sentence `key` of `core.texts`, which Discord shows in each person's language."""
    return locale_str(say(key), key=key)


class CommandTexts(app_commands.Translator):
    """Looks descriptions up by the key that `text` gave them. Names stay English everywhere."""

    async def translate(
        self,
        string: locale_str,
        locale: discord.Locale,
        context: app_commands.TranslationContextTypes,
    ) -> str | None:
        """The sentence in `locale`; None where it is the English one."""
        language = closest_language(str(locale))
        if language == FALLBACK or "key" not in string.extras:
            return None
        return say(string.extras["key"], language)
