"""Settings come from the environment, and a bad one is named without its value."""

import pytest

from core.settings import SettingsProblem, load_settings


@pytest.fixture(autouse=True)
def _no_dotenv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "FAMILIAR_DISCORD_TOKEN", "FAMILIAR_DISCORD_ADMINS"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_set_means_no_bots_and_no_admins():
    settings = load_settings()
    assert settings.queue.redis_url is None
    assert settings.discord.token is None
    assert settings.telegram.token is None
    assert settings.discord.admins == frozenset()


def test_the_names_of_the_contract(monkeypatch, tmp_path):
    for name, value in {
        "REDIS_URL": "redis://localhost:1/0",
        "FAMILIAR_GALLERY": str(tmp_path / "art"),
        "FAMILIAR_DATA": str(tmp_path / "state"),
        "FAMILIAR_DISCORD_TOKEN": "d-token",
        "FAMILIAR_TELEGRAM_TOKEN": "t-token",
        "FAMILIAR_DISCORD_ADMINS": "1, 22,",
        "FAMILIAR_TELEGRAM_ADMINS": "333",
        "FAMILIAR_DISCORD_API_URL": "http://localhost:1/api/v10/",
        "FAMILIAR_DISCORD_GATEWAY_URL": "ws://localhost:1/gateway",
        "FAMILIAR_TELEGRAM_API_URL": "http://localhost:2",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.queue.redis_url == "redis://localhost:1/0"
    assert settings.gallery.gallery == tmp_path / "art"
    assert settings.gallery.data == tmp_path / "state"
    assert settings.discord.admins == {1, 22}
    assert settings.telegram.admins == {333}
    assert settings.discord.api_url == "http://localhost:1/api/v10"
    assert settings.discord.token is not None
    assert settings.discord.token.get_secret_value() == "d-token"
    assert "d-token" not in repr(settings)
    assert "t-token" not in settings.model_dump_json()


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("FAMILIAR_DISCORD_TOKEN", "")
    assert load_settings().discord.token is None


def test_dotenv_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("FAMILIAR_DISCORD_ADMINS=7\nREDIS_URL=redis://from-file/0\n")
    monkeypatch.setenv("REDIS_URL", "redis://from-environment/0")
    settings = load_settings()
    assert settings.discord.admins == {7}
    assert settings.queue.redis_url == "redis://from-environment/0"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAMILIAR_DISCORD_ADMINS", "somebody"),
        ("FAMILIAR_TELEGRAM_API_URL", "ftp://host"),
        ("FAMILIAR_LIMIT_UPLOAD_MIB", "0"),
        ("FAMILIAR_MODEL_THREADS", "many"),
        ("FAMILIAR_MODEL_PRECISION", "float16"),
    ],
)
def test_a_bad_value_is_named_and_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsProblem) as caught:
        load_settings()
    assert name in str(caught.value)
