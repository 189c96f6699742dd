"""All settings, from the environment and from `.env`; each is explained in `.env.example`."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from dotenv.parser import parse_stream
from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from core.picture import DEFAULT_LIMITS, Limits
from core.problem import Problem

ENV_FILE: Final = ".env"
"""In the working folder."""


class SettingsProblem(Problem):
    """A setting has a value that cannot be used."""


def _config(prefix: str) -> SettingsConfigDict:
    return SettingsConfigDict(
        env_prefix=prefix, env_file=ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True
    )


AdminIds = Annotated[frozenset[int], NoDecode]


def _admin_ids(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return frozenset(int(part) for part in value.split(",") if part.strip())
        except ValueError:
            # Python's own text repeats the value, which may be a token in the wrong line.
            raise ValueError("user ids are whole numbers, separated by commas") from None
    return value


def _token(value: SecretStr | None) -> SecretStr | None:
    """A token without the white space that a copied one may have around it; None: nothing else."""
    stripped = "" if value is None else value.get_secret_value().strip()
    return SecretStr(stripped) if stripped else None


def _scheme(value: str) -> str:
    try:
        return urlsplit(value).scheme
    except ValueError:
        raise ValueError("this is no address") from None


def _api_address(value: str | None) -> str | None:
    if value is None:
        return None
    if _scheme(value) not in {"http", "https"}:
        raise ValueError("an API's address begins with http:// or https://")
    return value.rstrip("/")


def _gateway_address(value: str | None) -> str | None:
    if value is None:
        return None
    if _scheme(value) not in {"http", "https", "ws", "wss"}:
        raise ValueError("a gateway's address begins with http://, https://, ws:// or wss://")
    return value.rstrip("/")


def _folder(value: Path) -> Path:
    """A folder with ``~`` at its beginning written out, as a shell does; `.env` is read by none."""
    try:
        return value.expanduser()
    except RuntimeError:
        raise ValueError("there is no such home folder; write the whole path") from None


class QueueSettings(BaseSettings):
    """Where jobs and uploads wait.

    Attributes:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``; None: `familiar up` starts its own.
    """

    model_config = _config("")

    redis_url: str | None = None


class GallerySettings(BaseSettings):
    """The community's pictures and what is made from them.

    Attributes:
        gallery: Folder of ``<character>/<picture>``, only ever read. ``~`` at the beginning of
            either is the user's home.
        data: Folder for the catalogue, the index versions, thumbnails and the terminal's answers.
    """

    model_config = _config("FAMILIAR_")

    gallery: Path = Path("gallery")
    data: Path = Path("data")

    _folders = field_validator("gallery", "data")(_folder)


class ModelSettings(BaseSettings):
    """Which models are used, and how.

    Attributes:
        detector: A name that `core.models.load_detector` knows, such as ``familiar-face`` or
            ``saved-model:/path/to/folder``.
        extractor: A name that `core.models.load_extractor` knows, such as ``familiar-character``
            or ``ir-se50:/path/to/file.pth``.
        device: A torch device for the extractor: ``cpu``, ``cuda``; ``auto`` takes a GPU that can
            compute, if any.
        threads: CPU threads for each model; 0 leaves the choice to the libraries.
        precision: What convolutions compute in. ``auto`` is ``int8`` on the processor. An
            extractor of this project on a GPU, or without networks in ``int8``, takes
            ``bfloat16`` where the device has its own instructions for it. All else, such as
            detectors without networks in ``int8`` and other people's models, is ``float32``.
    """

    model_config = _config("FAMILIAR_MODEL_")

    detector: str = "familiar-face"
    extractor: str = "familiar-character"
    device: str = "auto"
    threads: int = Field(default=0, ge=0)
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"


class LimitSettings(BaseSettings):
    """What a person may ask, and for how long it is kept.

    Attributes:
        upload_mib: Largest picture accepted, in MiB. A gallery has limits of its own.
        megapixels: Most pixels in a picture, in millions.
        requests_per_minute: For each person.
        upload_minutes: An uploaded picture is forgotten after so many minutes.
        answer_minutes: A request not answered within so many minutes is given up.
    """

    model_config = _config("FAMILIAR_LIMIT_")

    upload_mib: int = Field(default=20, ge=1, le=100)
    megapixels: int = Field(default=50, ge=1, le=80)
    requests_per_minute: int = Field(default=10, ge=1)
    upload_minutes: int = Field(default=30, ge=1)
    answer_minutes: int = Field(default=10, ge=1, le=14)

    @property
    def picture(self) -> Limits:
        """The same limits as `core.picture` takes them."""
        return Limits(
            file_bytes=self.upload_mib * 2**20,
            pixels=self.megapixels * 1_000_000,
            side=DEFAULT_LIMITS.side,
        )


class DiscordSettings(BaseSettings):
    """The Discord bot.

    Attributes:
        token: The bot's token; None: there is no Discord bot.
        admins: User ids that may `/reindex`; empty: nobody.
        api_url: Another server that speaks Discord's REST API, up to and including ``/api/v10``.
        gateway_url: Another server's gateway (websocket).
    """

    model_config = _config("FAMILIAR_DISCORD_")

    token: SecretStr | None = None
    admins: AdminIds = frozenset()
    api_url: str | None = None
    gateway_url: str | None = None

    _bare = field_validator("token")(_token)
    _ids = field_validator("admins", mode="before")(_admin_ids)
    _api = field_validator("api_url")(_api_address)
    _gateway = field_validator("gateway_url")(_gateway_address)


class TelegramSettings(BaseSettings):
    """The Telegram bot.

    Attributes:
        token: The bot's token; None: there is no Telegram bot.
        admins: User ids that may `/reindex`; empty: nobody.
        api_url: Another Bot API server's root, such as ``http://localhost:8081``.
    """

    model_config = _config("FAMILIAR_TELEGRAM_")

    token: SecretStr | None = None
    admins: AdminIds = frozenset()
    api_url: str | None = None

    _bare = field_validator("token")(_token)
    _ids = field_validator("admins", mode="before")(_admin_ids)
    _api = field_validator("api_url")(_api_address)


class LogSettings(BaseSettings):
    """How much is logged: ``DEBUG``, ``INFO``, ``WARNING`` or ``ERROR``."""

    model_config = _config("FAMILIAR_LOG_")

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


class Settings(BaseModel):
    """Every section, read once at start."""

    queue: QueueSettings
    gallery: GallerySettings
    model: ModelSettings
    limit: LimitSettings
    discord: DiscordSettings
    telegram: TelegramSettings
    log: LogSettings


def load_settings() -> Settings:
    """Read every section from the environment and `.env`.

    Raises:
        SettingsProblem: A value cannot be used; names the variable, never its value. Or `.env` is
            not UTF-8, or has a line that is no setting.
    """
    _set_in_file()
    sections: dict[str, BaseSettings] = {}
    for name, section in _sections().items():
        try:
            sections[name] = section()
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            variable = _variable(section, *first["loc"])
            raise SettingsProblem(
                "setting_invalid",
                variable=variable,
                reason=first["msg"].removeprefix("Value error, "),
            ) from None
    return Settings(**sections)  # type: ignore[arg-type]


def misspelled() -> dict[str, str | None]:
    """Names that are none of a setting, though they look like one, and the setting that each is
    most like, if any is: in `.env` those that begin as ours do, and in the environment, where other
    programs' names are too, those of them that are nearly one of ours.

    Raises:
        SettingsProblem: `.env` cannot be read, as in `load_settings`.
    """
    known = [
        _variable(section, field)
        for section in _sections().values()
        for field in section.model_fields
    ]
    found: dict[str, str | None] = {}
    in_file = _set_in_file()
    for name in sorted({*in_file, *os.environ}):
        if name.upper() in known or not name.upper().startswith("FAMILIAR_"):
            continue
        [*alike] = get_close_matches(name.upper(), known, 1, _ALIKE)
        if alike or name in in_file:
            found[name] = alike[0] if alike else None
    return found


_ALIKE: Final = 0.85
"""Share of letters in common from which one name is taken for another misspelled."""


def _sections() -> dict[str, type[BaseSettings]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings)
    }


def _variable(section: type[BaseSettings], *place: object) -> str:
    """The name of a setting in the environment."""
    prefix = section.model_config.get("env_prefix", "")
    return (prefix + "_".join(str(part) for part in place)).upper()


def _set_in_file() -> set[str]:
    """The names that `.env` sets.

    Raises:
        SettingsProblem: It is not UTF-8, or one of its lines is no setting.
    """
    if not os.path.isfile(ENV_FILE):
        return set()
    names = set()
    try:
        with open(ENV_FILE, encoding="utf-8") as file:
            for line in parse_stream(file):
                if line.error:
                    raise SettingsProblem(
                        "setting_invalid",
                        variable=ENV_FILE,
                        reason=f"line {line.original.line} is not of the form NAME=value",
                    )
                if line.key is not None:
                    names.add(line.key)
    except UnicodeDecodeError:
        raise SettingsProblem(
            "setting_invalid",
            variable=ENV_FILE,
            reason="the file is not UTF-8; save it as UTF-8",
        ) from None
    return names
