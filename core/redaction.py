"""Keeps tokens and passwords out of everything that is logged, whoever logs it."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any, Final
from urllib.parse import urlsplit

from core.settings import Settings

HIDDEN: Final = "[hidden]"

# Addresses hold secrets in these places, and libraries log addresses.
_PATTERNS: Final = (
    # Discord: /webhooks/{application}/{token}, /interactions/{id}/{token}/callback
    re.compile(r"(?<=/)((?:webhooks|interactions)/\d+/)[^/\s\"'?]+"),
    # Telegram: /bot{token}/method, /file/bot{token}/path
    re.compile(r"(?<=/)(bot)\d+:[\w-]+"),
    # scheme://user:password@host
    re.compile(r"(?<=://)([^/\s:@]*:)[^/\s@]+(?=@)"),
    re.compile(r"((?:Bot|Bearer)\s+)[\w.:-]{20,}"),
    # "token": "..." in logged JSON or dictionaries
    re.compile(r"([\"']\w*token[\"']\s*:\s*[\"'])[^\"']+"),
)


def redact(text: str, secrets: frozenset[str] = frozenset()) -> str:
    """`text` with every secret of `secrets`, and whatever looks like one, replaced."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{HIDDEN}", text)
    return text


def secrets_of(settings: Settings) -> frozenset[str]:
    """The tokens and the password that the settings hold."""
    tokens = (settings.discord.token, settings.telegram.token)
    found = {token.get_secret_value() for token in tokens if token is not None}
    try:
        found.add(urlsplit(settings.queue.redis_url or "").password or "")
    except ValueError:
        found.add(settings.queue.redis_url or "")
    return frozenset(found - {""})


def hide_secrets(settings: Settings) -> None:
    """From now on, nothing that this process logs shows a token or a password.

    It works where records are made, so it holds for every logger and every handler, of ours and
    of the libraries, whenever they were set up.
    """
    secrets = secrets_of(settings)
    make = logging.getLogRecordFactory()

    def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - whoever logs goes on, as with Python's own records
            # A library's message and its arguments do not fit.
            message = str(record.msg)
        record.msg, record.args = redact(message, secrets), None
        if record.exc_info and record.exc_info[0] is not None:
            # Formatters take the text of an exception from here where it is set.
            lines = traceback.format_exception(*record.exc_info)
            record.exc_text = redact("".join(lines).rstrip("\n"), secrets)
        return record

    logging.setLogRecordFactory(make_redacted)
