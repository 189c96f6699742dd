"""The command list, in every language that there are texts in."""

from __future__ import annotations

import discord
import pytest
from discord import app_commands

from bot.discord.texts import CommandTexts, text
from core.look import MAX_COUNT
from core.texts import FALLBACK, languages, say

DESCRIPTIONS = [
    *("discord_similar", "discord_reindex", "discord_help"),
    *("discord_similar_picture", "discord_similar_look"),
    *("discord_similar_count", "discord_similar_private"),
    *("discord_look_both", "discord_look_character", "discord_look_feel"),
]


@pytest.mark.parametrize("language", sorted(languages()))
@pytest.mark.parametrize("key", DESCRIPTIONS)
def test_descriptions_are_as_short_as_discord_wants_them(key: str, language: str) -> None:
    assert 1 <= len(say(key, language)) <= 100


@pytest.mark.parametrize("language", sorted(languages()))
def test_the_help_fits_into_a_message(language: str) -> None:
    help_text = say(
        "discord_help_text",
        language,
        count=MAX_COUNT,
        pictures=4,
        size=100,
        minutes=1000,
        mention="<@12345678901234567890>",
    )
    assert len(help_text) <= 2000


async def translated(locale: discord.Locale) -> str | None:
    place = app_commands.TranslationContext(
        app_commands.TranslationContextLocation.command_description, data=None
    )
    return await CommandTexts().translate(text("discord_help"), locale, place)


@pytest.mark.parametrize("locale", list(discord.Locale))
async def test_each_of_discords_languages_gets_its_own_text_or_the_english_one(
    locale: discord.Locale,
) -> None:
    language = str(locale).split("-")[0]
    if language == FALLBACK or language not in languages():
        assert await translated(locale) is None
    else:
        assert await translated(locale) == say("discord_help", language)
