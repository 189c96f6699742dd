"""Nothing that looks like a token or a password is logged."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from core.redaction import HIDDEN, hide_secrets, redact, secrets_of
from core.settings import DiscordSettings, QueueSettings, Settings, load_settings

SECRET = "aVeryLong-Secret_Token.0123456789"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f"PATCH https://discord.com/api/v10/webhooks/123/{SECRET}/messages/@original",
            f"PATCH https://discord.com/api/v10/webhooks/123/{HIDDEN}/messages/@original",
        ),
        (
            f"POST /api/v10/interactions/456/{SECRET}/callback?x=1",
            f"POST /api/v10/interactions/456/{HIDDEN}/callback?x=1",
        ),
        (
            "https://api.telegram.org/bot123456:AAH-x_y/getMe",
            f"https://api.telegram.org/bot{HIDDEN}/getMe",
        ),
        (
            "https://api.telegram.org/file/bot123456:AAH-x_y/photos/1.jpg",
            f"https://api.telegram.org/file/bot{HIDDEN}/photos/1.jpg",
        ),
        ("redis://:hunter2@redis:6379/0", f"redis://:{HIDDEN}@redis:6379/0"),
        ("redis://user:hunter2@redis:6379/0", f"redis://user:{HIDDEN}@redis:6379/0"),
        (f"Authorization: Bot {SECRET}", f"Authorization: Bot {HIDDEN}"),
        (f"{{'token': '{SECRET}', 'id': '1'}}", f"{{'token': '{HIDDEN}', 'id': '1'}}"),
        (f'{{"interaction_token": "{SECRET}"}}', f'{{"interaction_token": "{HIDDEN}"}}'),
        ("redis://localhost:6379/0 and unix:///run/redis.sock",) * 2,
        ("Bot ready, the bot answers in /channels/123/messages",) * 2,
    ],
)
def test_secrets_are_known_by_where_they_stand(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_secrets_of_the_settings_are_known_anywhere() -> None:
    assert redact("it is hunter2.", frozenset({"hunter2"})) == f"it is {HIDDEN}."


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("FAMILIAR_DISCORD_TOKEN", "discord-secret")
    monkeypatch.setenv("FAMILIAR_TELEGRAM_TOKEN", "telegram-secret")
    monkeypatch.setenv("REDIS_URL", "redis://:redis-secret@localhost:6379/0")
    return load_settings()


def test_the_settings_tokens_and_password_are_secrets(settings: Settings) -> None:
    assert secrets_of(settings) == {"discord-secret", "telegram-secret", "redis-secret"}


def test_no_token_means_no_secret(settings: Settings) -> None:
    bare = settings.model_copy(
        update={
            "discord": DiscordSettings.model_construct(token=None),
            "telegram": DiscordSettings.model_construct(token=None),
            "queue": QueueSettings.model_construct(redis_url="unix:///run/redis.sock"),
        }
    )
    assert secrets_of(bare) == frozenset()


class TestLogs:
    @pytest.fixture
    def written(self, settings: Settings) -> Iterator[io.StringIO]:
        """What a logger writes that was there before secrets were hidden."""
        factory = logging.getLogRecordFactory()
        stream = io.StringIO()
        handler = logging.StreamHandler(stream)
        logger = logging.getLogger("redaction")
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        hide_secrets(settings)
        try:
            yield stream
        finally:
            logging.setLogRecordFactory(factory)
            logger.removeHandler(handler)

    def test_a_message_and_its_arguments(self, written: io.StringIO) -> None:
        logging.getLogger("redaction").info("%s and %d", {"key": "discord-secret"}, 5)
        assert written.getvalue() == f"{{'key': '{HIDDEN}'}} and 5\n"

    def test_an_exception(self, written: io.StringIO) -> None:
        try:
            raise RuntimeError("refused: redis-secret")
        except RuntimeError:
            logging.getLogger("redaction").exception("it failed")
        assert "redis-secret" not in written.getvalue()
        assert f"RuntimeError: refused: {HIDDEN}" in written.getvalue()
        assert "Traceback" in written.getvalue()

    def test_a_message_that_does_not_fit_its_arguments_is_written_all_the_same(
        self, written: io.StringIO
    ) -> None:
        logging.getLogger("redaction").info("100% done", "telegram-secret")
        assert written.getvalue() == "100% done\n"

    def test_whoever_logs_what_cannot_be_written_goes_on(self, written: io.StringIO) -> None:
        class Unwritable:
            def __str__(self) -> str:
                raise RuntimeError("telegram-secret")

        logging.getLogger("redaction").info("%(name)s", {"key": "telegram-secret"})
        logging.getLogger("redaction").info("it is %s", Unwritable())
        assert written.getvalue() == "%(name)s\nit is %s\n"
