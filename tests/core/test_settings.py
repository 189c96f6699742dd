"""Settings come from the environment, and a bad one is named without its value."""

import traceback

import pytest

from core.redaction import secrets_of
from core.settings import SettingsProblem, load_settings, misspelled


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


def test_a_tilde_is_the_home_folder_also_where_no_shell_has_read_it(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FAMILIAR_DATA", "~")
    (tmp_path / ".env").write_text("FAMILIAR_GALLERY=~/gallery\n", encoding="utf-8")
    settings = load_settings().gallery
    assert settings.gallery == tmp_path / "home" / "gallery"
    assert settings.data == tmp_path / "home"


def test_a_home_folder_that_there_is_not_is_named(monkeypatch):
    monkeypatch.setenv("FAMILIAR_GALLERY", "~nobody-of-that-name/gallery")
    with pytest.raises(SettingsProblem, match=r"FAMILIAR_GALLERY .* write the whole path"):
        load_settings()


def test_every_setting_has_its_documented_name(monkeypatch, tmp_path):
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
        "FAMILIAR_MODEL_DETECTOR": "cascade:faces.xml",
        "FAMILIAR_MODEL_EXTRACTOR": "resnet101",
        "FAMILIAR_MODEL_DEVICE": "cuda:1",
        "FAMILIAR_MODEL_THREADS": "3",
        "FAMILIAR_MODEL_PRECISION": "int8",
        "FAMILIAR_LIMIT_UPLOAD_MIB": "4",
        "FAMILIAR_LIMIT_MEGAPIXELS": "5",
        "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "6",
        "FAMILIAR_LIMIT_UPLOAD_MINUTES": "7",
        "FAMILIAR_LIMIT_ANSWER_MINUTES": "8",
        "FAMILIAR_LOG_LEVEL": "DEBUG",
    }.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert settings.queue.redis_url == "redis://localhost:1/0"
    assert settings.gallery.gallery == tmp_path / "art"
    assert settings.gallery.data == tmp_path / "state"
    assert settings.discord.admins == {1, 22}
    assert settings.telegram.admins == {333}
    assert settings.discord.api_url == "http://localhost:1/api/v10"
    assert settings.discord.gateway_url == "ws://localhost:1/gateway"
    assert settings.telegram.api_url == "http://localhost:2"
    assert settings.discord.token is not None
    assert settings.discord.token.get_secret_value() == "d-token"
    assert settings.telegram.token is not None
    assert settings.telegram.token.get_secret_value() == "t-token"
    model, limit = settings.model, settings.limit
    assert (model.detector, model.extractor) == ("cascade:faces.xml", "resnet101")
    assert (model.device, model.threads, model.precision) == ("cuda:1", 3, "int8")
    assert (limit.upload_mib, limit.megapixels, limit.requests_per_minute) == (4, 5, 6)
    assert (limit.upload_minutes, limit.answer_minutes) == (7, 8)
    assert settings.log.level == "DEBUG"
    assert "d-token" not in repr(settings)
    assert "t-token" not in settings.model_dump_json()


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("FAMILIAR_DISCORD_TOKEN", "")
    assert load_settings().discord.token is None


@pytest.mark.parametrize("platform", ["discord", "telegram"])
def test_white_space_around_a_token_is_none_of_it(monkeypatch, platform):
    monkeypatch.setenv(f"FAMILIAR_{platform.upper()}_TOKEN", "\t 1:s3cret \r\n")
    settings = load_settings()
    assert getattr(settings, platform).token.get_secret_value() == "1:s3cret"
    assert secrets_of(settings) == {"1:s3cret"}, "what is sent is what is kept out of logs"


@pytest.mark.parametrize("platform", ["discord", "telegram"])
def test_a_token_of_white_space_is_an_unset_one(monkeypatch, platform):
    monkeypatch.setenv(f"FAMILIAR_{platform.upper()}_TOKEN", " \t")
    assert getattr(load_settings(), platform).token is None


def test_dotenv_is_read_and_the_environment_wins(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("FAMILIAR_DISCORD_ADMINS=7\nREDIS_URL=redis://from-file/0\n")
    monkeypatch.setenv("REDIS_URL", "redis://from-environment/0")
    settings = load_settings()
    assert settings.discord.admins == {7}
    assert settings.queue.redis_url == "redis://from-environment/0"


def test_a_dotenv_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / ".env").write_bytes(b"# schl\xfcssel\nA=1\n")
    with pytest.raises(SettingsProblem, match=r"\.env cannot be used: the file is not UTF-8; save"):
        load_settings()


@pytest.mark.parametrize("line", ["FAMILIAR_DISCORD_TOKEN: s3cret", 'REDIS_URL="s3cret', "s3 cret"])
def test_a_line_of_dotenv_that_is_no_setting_is_named_by_its_number(tmp_path, caplog, line):
    (tmp_path / ".env").write_text(f"# ours\nFAMILIAR_LOG_LEVEL=DEBUG\n{line}\nA=1\n")
    with pytest.raises(SettingsProblem, match=r"\.env cannot be used: line 3 is not") as caught:
        load_settings()
    assert "cret" not in str(caught.value)
    assert not caplog.records


def test_names_that_are_nearly_a_setting_are_found(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text(
        "FAMILIAR_GALERY=x\nFAMILIAR_RESNET101_WEIGHTS=y\nfamiliar_data=z\nOTHER=1\n"
    )
    monkeypatch.setenv("FAMILIAR_TELEGRAM_TOCKEN", "t")
    # Of the tests and of other programs.
    monkeypatch.setenv("FAMILIAR_TEST_DATA", "d")
    monkeypatch.setenv("FAMILIAR_WINDOW_COLOUR", "d")
    assert misspelled() == {
        "FAMILIAR_GALERY": "FAMILIAR_GALLERY",
        "FAMILIAR_RESNET101_WEIGHTS": None,
        "FAMILIAR_TELEGRAM_TOCKEN": "FAMILIAR_TELEGRAM_TOKEN",
    }


def test_no_setting_is_taken_for_a_misspelled_one(monkeypatch):
    for name in SET_AMISS:
        monkeypatch.setenv(name, "x")
    assert misspelled() == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FAMILIAR_DISCORD_ADMINS", "somebody"),
        ("FAMILIAR_TELEGRAM_API_URL", "ftp://host"),
        # The bots' library would take it, and the worker's would not.
        ("FAMILIAR_TELEGRAM_API_URL", "ws://host"),
        ("FAMILIAR_DISCORD_API_URL", "wss://host/api/v10"),
        ("FAMILIAR_DISCORD_GATEWAY_URL", "ftp://host"),
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


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_a_gateway_is_reached_by_either_kind_of_address(monkeypatch, scheme):
    monkeypatch.setenv("FAMILIAR_DISCORD_GATEWAY_URL", f"{scheme}://host/gateway/")
    assert load_settings().discord.gateway_url == f"{scheme}://host/gateway"


@pytest.mark.parametrize("name", ["FAMILIAR_DISCORD_ADMINS", "FAMILIAR_TELEGRAM_ADMINS"])
def test_a_token_in_the_line_of_the_admins_is_not_repeated(monkeypatch, name):
    monkeypatch.setenv(name, "7,MTIzNDU2Nzg5.secret")
    with pytest.raises(SettingsProblem) as caught:
        load_settings()
    assert str(caught.value).startswith(
        f"The setting {name} cannot be used: user ids are whole numbers, separated by commas."
    )
    assert "secret" not in "".join(traceback.format_exception(caught.value))


SET_AMISS = {
    "FAMILIAR_DISCORD_ADMINS": "sec-ret",
    "FAMILIAR_TELEGRAM_ADMINS": "sec-ret",
    # Python's own words about these two repeat a part of them.
    "FAMILIAR_DISCORD_API_URL": "https://sec-ret\u2100/",
    "FAMILIAR_TELEGRAM_API_URL": "https://sec-ret\u2100/",
    "FAMILIAR_DISCORD_GATEWAY_URL": "sec-ret://host",
    "FAMILIAR_LIMIT_UPLOAD_MIB": "sec-ret",
    "FAMILIAR_LIMIT_MEGAPIXELS": "sec-ret",
    "FAMILIAR_LIMIT_REQUESTS_PER_MINUTE": "sec-ret",
    "FAMILIAR_LIMIT_UPLOAD_MINUTES": "sec-ret",
    "FAMILIAR_LIMIT_ANSWER_MINUTES": "sec-ret",
    "FAMILIAR_LOG_LEVEL": "sec-ret",
    "FAMILIAR_MODEL_PRECISION": "sec-ret",
    "FAMILIAR_MODEL_THREADS": "sec-ret",
}


@pytest.mark.parametrize(("name", "value"), SET_AMISS.items())
def test_no_setting_repeats_its_value_and_none_speaks_of_a_value_error(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsProblem) as caught:
        load_settings()
    assert name in str(caught.value)
    assert "sec-ret" not in "".join(traceback.format_exception(caught.value))
    assert "Value error" not in str(caught.value)
