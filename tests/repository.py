"""The files of the repository, and the settings that several of them name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Final

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from core.settings import Settings

REPOSITORY = Path(__file__).parents[1]

OWN_VALUES: Final = {
    ("worker", "FAMILIAR_MODEL_DEVICE"): "cpu",
    ("worker-gpu", "FAMILIAR_MODEL_DEVICE"): "${FAMILIAR_MODEL_DEVICE:-cuda}",
} | dict.fromkeys(
    itertools.product(["worker", "worker-gpu", "discord", "telegram"], ["REDIS_URL"]),
    "redis://redis:6379/0",
)
"""What a service is given otherwise than `.env` has it."""


def text(name: str) -> str:
    """A file of the repository."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def known_settings() -> dict[str, FieldInfo]:
    """Every environment variable that is a setting."""
    known = {}
    for section in Settings.model_fields.values():
        assert isinstance(section.annotation, type)
        assert issubclass(section.annotation, BaseSettings)
        prefix = section.annotation.model_config.get("env_prefix", "")
        for name, field in section.annotation.model_fields.items():
            known[(prefix + name).upper()] = field
    return known
